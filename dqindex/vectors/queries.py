"""Queries that come in as arguments: of the width that is asked for, and with an answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqindex._types import Float32
from dqindex.errors import RangeError
from dqindex.vectors.extent import LARGEST_NORM, LEAST_NORM, rescaled, row_norms
from dqindex.vectors.matrix import check_matrix


def check_queries(queries: Any, owner: str, *, width: int, metric: str) -> Float32:
    """`queries` as a C-contiguous float32 matrix that can be searched for under `metric`.

    For ``cosine`` all finite queries can: those that float32 can't square are scaled, which
    changes no angle. For ``ip`` short ones can't either, as their products would be zero.

    Raises
    ------
    InputError, NonFiniteError
        As `dqindex.vectors.matrix.check_matrix` says.
    RangeError
        If a query is longer than float32 can square, or too short for ``ip``.
    """
    array = check_matrix(queries, owner, width=width, any_norm=metric == "cosine")
    if metric == "cosine":
        array = rescaled(array)
    elif metric == "ip":
        norms = row_norms(array)
        short = np.flatnonzero((norms > 0) & (norms < LEAST_NORM))
        if short.size:
            raise RangeError(
                f"{owner}: query {short[0]} has the norm {norms[short[0]]:.3g}; inner products "
                f"are supported for norms from {LEAST_NORM:g} to {LARGEST_NORM:g}. Rescale the "
                f"query, "
                "which changes no ranking"
            )
    return np.ascontiguousarray(array, dtype=np.float32)
