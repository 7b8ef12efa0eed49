"""Types that several packages share, each defined once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
# Vectors, float32 or float64.
Matrix = npt.NDArray[np.floating[Any]]
# Codes of the codebooks, in the smallest unsigned dtype that holds them.
Codes = npt.NDArray[np.unsignedinteger[Any]]
# Token tuples: codes, or int32.
Tokens = npt.NDArray[np.integer[Any]]
# How near two vectors are; "cosine" is L2 of unit vectors.
METRICS = ("l2", "ip", "cosine")
# What is being done, how much of it is done, and how much there is in all (0: not known).
Progress = Callable[[str, int, int], None]


def no_progress(what: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""
