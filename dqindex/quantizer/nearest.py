"""The nearest centroid of every row, along the fast one of the paths there are.

`faiss.knn` is slow for few rows (`dqindex.parallel.pieces` says why); a small piece is filled up
where that pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import faiss
import numpy as np
import numpy.typing as npt

from dqindex._types import Float32
from dqindex.parallel.pieces import FAST_VALUES, pieces
from dqindex.parallel.threads import parallel_map
from dqindex.vectors.extent import check_labels

# Gain of the fast path: in proportion to the number of centroids, up to this.
LARGEST_GAIN = 12.0
CENTROIDS_A_GAIN = 20.0


def nearest(
    rows: npt.NDArray[np.floating], centroids: Float32, *, inner_product: bool = False
) -> tuple[npt.NDArray[np.int64], Float32]:
    """Position of the nearest centroid of every row, and its squared distance; on this thread.

    With `inner_product`, the centroid of the largest product, and minus that product.
    """
    n, d = rows.shape
    k = len(centroids)
    if d == 1 and not inner_product:
        return _nearest_number(rows[:, 0], centroids[:, 0])
    least = -(-FAST_VALUES // d)
    if n < least and n * min(LARGEST_GAIN, k / CENTROIDS_A_GAIN) > least:
        filled = np.zeros((least, d), dtype=np.float32)
        filled[:n] = rows
    else:
        filled = np.ascontiguousarray(rows, dtype=np.float32)
    metric = faiss.METRIC_INNER_PRODUCT if inner_product else faiss.METRIC_L2
    distances, labels = faiss.knn(filled, centroids, 1, metric=metric)
    labels, found = check_labels(labels[:n, 0]), distances[:n, 0]
    return labels, -found if inner_product else found


def _nearest_number(
    values: npt.NDArray[np.floating], centroids: Float32
) -> tuple[npt.NDArray[np.int64], Float32]:
    """`nearest` in one dimension: between which midpoints each value lies."""
    order = np.argsort(centroids, kind="stable")
    ordered = centroids[order].astype(np.float64)
    labels = order[np.searchsorted((ordered[1:] + ordered[:-1]) / 2, values)]
    return labels, ((values - centroids[labels]) ** 2).astype(np.float32)


def nearest_in_pieces(
    X: npt.NDArray[np.floating],
    centroids: Float32,
    *,
    inner_product: bool = False,
    parallel: bool = True,
) -> tuple[npt.NDArray[np.int64], Float32]:
    """`nearest` for many rows; on all threads, or on this one if not `parallel`."""
    labels = np.empty(len(X), dtype=np.int64)
    distances = np.empty(len(X), dtype=np.float32)

    def piece(part: slice) -> None:
        labels[part], distances[part] = nearest(X[part], centroids, inner_product=inner_product)

    run: Callable[..., Iterable[None]] = parallel_map if parallel else map
    for _ in run(piece, pieces(len(X), X.shape[1])):
        pass
    return labels, distances
