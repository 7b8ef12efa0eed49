"""The nearest centroid of every row, along the fast one of the paths there are.

`faiss.knn` with k = 1 is up to twelve times faster when it is handed at least about 2**17 values
(rows times width); below, its result handler scans the distances one by one. Measured on one
thread with 256 centroids of width 4: 0.71 µs a row below, 0.06 µs above. So rows are handed over
in pieces of at least that size, and a smaller piece is filled up where that pays.

FAISS's ``ProductQuantizer.compute_codes`` has kernels of its own for a few widths, which are faster
for few centroids; `quantizer_is_faster` says where (benchmarks/encode.py has the table).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import faiss
import numpy as np
import numpy.typing as npt

from dqindex.threads import map_single_threaded
from dqindex.vectors.convert import Float32

FAST_VALUES = 2**17
# Gain of the fast path: in proportion to the number of centroids, up to this.
LARGEST_GAIN = 12.0
CENTROIDS_A_GAIN = 20.0
LEAST_ROWS, MOST_ROWS = 2048, 65536


def pieces(n: int, width: int) -> Iterator[slice]:
    """Cut n rows into equal pieces that take the fast path for centroids of `width`.

    The cut depends on nothing else, so that results are the same at any number of threads.
    """
    rows = min(max(FAST_VALUES // width, LEAST_ROWS), MOST_ROWS)
    return equal_slices(n, max(n // rows, min(2, -(-n // rows))))


def equal_slices(n: int, count: int) -> Iterator[slice]:
    """Cut n rows into `count` slices whose lengths differ by one at most; none of no rows."""
    edges = [n * piece // count for piece in range(count + 1)] if n else []
    return (slice(start, stop) for start, stop in itertools.pairwise(edges))


def quantizer_is_faster(width: int, bits: int) -> bool:
    """Whether ``compute_codes`` is at least as fast as `nearest` for 2**`bits` centroids.

    Measured on one thread, `nearest` over ``compute_codes``: 0.4 to 0.95 where this says so, 1.1
    to 13 elsewhere.
    """
    if width in (2, 4):
        return bits <= 8
    if width == 8:
        return bits <= 6
    return width >= 16 and bits <= 5


def cut(blocks: Iterable[Float32], width: int) -> Iterator[Float32]:
    """The rows of all blocks in `pieces`, one after another."""
    return (block[part] for block in blocks for part in pieces(len(block), width))


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
    found = distances[:n, 0]
    return labels[:n, 0], -found if inner_product else found


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

    run: Callable[..., Iterable[None]] = map_single_threaded if parallel else map
    for _ in run(piece, pieces(len(X), X.shape[1])):
        pass
    return labels, distances
