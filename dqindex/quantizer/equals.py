"""Codewords that are the same: which of them a code names must not be left to rounding.

A codebook of more codewords than its training vectors had values holds copies. Their distances
from a vector are equal, but a matrix product may give each another last digit.
"""

from __future__ import annotations

import numpy as np

from dqindex._types import Float32, Int64


def first_equals(codewords: Float32) -> Int64:
    """For each codeword, (K, d), the position of the first that equals it."""
    # Adding 0 makes -0 and 0 the same, as they are.
    content, width = (codewords + np.float32(0)).tobytes(), codewords.shape[1] * 4
    firsts: dict[bytes, int] = {}
    return np.array(
        [
            firsts.setdefault(content[at * width : (at + 1) * width], at)
            for at in range(len(codewords))
        ],
        dtype=np.int64,
    )


def distinct(codewords: Float32) -> tuple[Float32, Int64 | None]:
    """The codewords without copies, and the position of each in `codewords`.

    None for the positions where there are no copies.
    """
    kept = np.unique(first_equals(codewords))
    if len(kept) == len(codewords):
        return codewords, None
    return np.ascontiguousarray(codewords[kept]), kept
