"""Matrices on disk that go with the last who holds them."""

from __future__ import annotations

import numpy as np

from dqindex._types import Float32
from dqindex.places.scratch import scratch_file


def scratch_matrix(rows: int, width: int) -> Float32:
    """A float32 matrix on disk, zeros at first; the file goes with it.

    Raises
    ------
    StorageError
    """
    with scratch_file(4 * rows * width) as file:
        return np.memmap(file, dtype=np.float32, mode="r+", shape=(rows, width))
