"""Exact neighbours, recall and distortion."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from dqindex._types import Int64
from dqindex.errors import InputError
from dqindex.vectors import open_vectors
from dqindex.vectors.queries import check_queries
from dqindex.vectors.rescaled import RescaledVectors


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

    Examples
    --------
    >>> import numpy as np
    >>> exact_neighbors(np.eye(3), np.eye(3)[:2], k=1)[0].tolist()
    [[0], [1]]
    """
    source = open_vectors(vectors)
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
    return heap.I, heap.D


def without_self(found: Int64, rows: Int64) -> Int64:
    """`found` less one column: each row of the answers without its own row, or without its last."""
    order = np.argsort(found == rows[:, None], axis=1, kind="stable")
    return np.asarray(np.take_along_axis(found, order, axis=1)[:, :-1])


def recall_at(found: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """Share of the true neighbours that were found: k-recall@k' for (n, k') and (n, k) positions.

    Examples
    --------
    >>> recall_at([[1, 2, 3]], [[3, 4]])
    0.5
    """
    found_array, true_array = np.asarray(found), np.asarray(true)
    if found_array.ndim != 2 or true_array.ndim != 2 or len(found_array) != len(true_array):
        raise InputError(
            f"recall of shapes {found_array.shape} and {true_array.shape}; give (n, k') and (n, k)"
        )
    hits = (found_array[:, :, None] == true_array[:, None, :]).any(axis=1)
    return float(hits.mean())


def distortion(vectors: Any, reconstructed: Any) -> float:
    """Mean squared error a vector: E‖ẑ - z‖²."""
    difference = np.asarray(vectors, dtype=np.float64) - np.asarray(reconstructed)
    return float((difference**2).sum(axis=1).mean())
