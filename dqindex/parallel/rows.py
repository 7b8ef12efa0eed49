"""A function of rows, spread over the threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dqindex._types import Matrix
from dqindex.parallel.pieces import pieces
from dqindex.parallel.threads import parallel_map, single_blas_thread


def map_rows(array: Matrix, width: int, function: Callable[[Matrix], Matrix]) -> Matrix:
    """`function` of the rows, (n, width), in pieces that do not depend on the number of threads.

    Its rounding may depend on how many rows it is given.
    """
    out = np.empty((len(array), width), dtype=array.dtype)

    def piece(part: slice) -> None:
        out[part] = function(array[part])

    cut = list(pieces(len(array), array.shape[1]))
    if len(cut) == 1:
        with single_blas_thread():
            piece(cut[0])
    else:
        for _ in parallel_map(piece, cut):
            pass
    return out
