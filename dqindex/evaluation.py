"""Exact neighbours, recall and distortion."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from dqindex._parameters import checked, one_of, unbounded
from dqindex._types import METRICS, Float64, Int64
from dqindex.errors import InputError
from dqindex.vectors import open_vectors
from dqindex.vectors.extent import check_labels
from dqindex.vectors.matrix import as_floats, check_matrix
from dqindex.vectors.queries import check_queries
from dqindex.vectors.rescaled import RescaledVectors


@checked(k=unbounded(1), metric=one_of(*METRICS))
def exact_neighbors(
    vectors: Any, queries: Any, k: int = 10, *, metric: str = "l2"
) -> tuple[Int64, npt.NDArray[np.float32]]:
    """The `k` true nearest neighbours by exhaustive search, in blocks.

    Parameters
    ----------
    vectors : array (n, d), path, or VectorSource
    queries : (n_queries, d) array
    k : int
    metric : {"l2", "ip", "cosine"}

    Returns
    -------
    positions : (n_queries, k) int64
        The nearest first.
    distances : (n_queries, k) float32
        Squared L2, inner product, or squared L2 of unit vectors.

    Raises
    ------
    InputError, NonFiniteError, RangeError
        If there are fewer vectors than `k`, or an argument can't be used. ``cosine`` accepts all
        finite vectors; the other metrics accept those that float32 can square
        (`dqindex.vectors.extent`).

    Examples
    --------
    >>> import numpy as np
    >>> exact_neighbors(np.eye(3), np.eye(3)[:2], k=1)[0].tolist()
    [[0], [1]]
    """
    source = open_vectors(vectors)
    if k > source.n:
        raise InputError(f"{source.name}: {k} neighbours of {source.n} vectors; ask for fewer")
    wanted = check_queries(queries, "queries", width=source.d, metric=metric)
    kind = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
    heap = faiss.ResultHeap(len(wanted), k, keep_max=metric == "ip")
    if metric == "cosine":
        source = RescaledVectors(source)
        wanted = wanted.copy()
        faiss.normalize_L2(wanted)
    start = 0
    for block in source.blocks():
        if metric == "cosine":
            block = block.copy()
            faiss.normalize_L2(block)
        distances, positions = faiss.knn(wanted, block, min(k, len(block)), metric=kind)
        heap.add_result(distances, positions + start)
        start += len(block)
    heap.finalize()
    check_labels(heap.I)
    return heap.I, heap.D


def without_self(found: Int64, rows: Int64) -> Int64:
    """`found` less one column: each row of the answers without its own row, or without its last."""
    order = np.argsort(found == rows[:, None], axis=1, kind="stable")
    return np.asarray(np.take_along_axis(found, order, axis=1)[:, :-1])


def recall_at(found: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """Share of the true neighbours that were found: k-recall@k' for (n, k') and (n, k) positions.

    Raises
    ------
    InputError
        If the arguments are not matrices of numbers with one row for each query.

    Examples
    --------
    >>> recall_at([[1, 2, 3]], [[3, 4]])
    0.5
    """
    return float(_hits(found, true).mean())


def recall_of_each(found: npt.ArrayLike, true: npt.ArrayLike) -> Float64:
    """`recall_at` of each query, (n,).

    Raises
    ------
    InputError
        As in `recall_at`.
    """
    return np.asarray(_hits(found, true).mean(axis=1), dtype=np.float64)


def _hits(found: npt.ArrayLike, true: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which of the true neighbours were found."""
    found_array, true_array = as_floats(found, "found"), as_floats(true, "true")
    if found_array.ndim != 2 or true_array.ndim != 2 or len(found_array) != len(true_array):
        raise InputError(
            f"recall of shapes {found_array.shape} and {true_array.shape}; give (n, k') and (n, k)"
        )
    return np.asarray((found_array[:, :, None] == true_array[:, None, :]).any(axis=1))


def distortion(vectors: Any, reconstructed: Any) -> float:
    """Mean squared error a vector: E‖ẑ - z‖².

    Raises
    ------
    InputError, NonFiniteError, RangeError
        If the arguments are not finite matrices of the same shape.
    """
    left, right = check_matrix(vectors, "vectors"), check_matrix(reconstructed, "reconstructed")
    if left.shape != right.shape:
        raise InputError(f"distortion of shapes {left.shape} and {right.shape}; give one shape")
    difference = left.astype(np.float64) - right
    return float((difference**2).sum(axis=1).mean())
