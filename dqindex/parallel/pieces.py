"""How rows are cut into pieces: by their number and width, whatever the thread count.

Nearest centroids of a piece are found by `faiss.knn` with k = 1, which is up to twelve times
faster when it is handed at least about 2**17 values (rows times width); below, its result handler
scans the distances one by one. Measured on one thread with 256 centroids of width 4: 0.71 µs a row
below, 0.06 µs above. So pieces have at least that size.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from dqindex._types import Float32

FAST_VALUES = 2**17

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


def cut(blocks: Iterable[Float32], width: int) -> Iterator[Float32]:
    """The rows of all blocks in `pieces`, one after another."""
    return (block[part] for block in blocks for part in pieces(len(block), width))
