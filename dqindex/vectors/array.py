"""Vectors that are already in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex.errors import InputError
from dqindex.vectors.source import VectorSource


class ArrayVectors(VectorSource):
    """A 2-d numpy array of any numeric dtype, order and stride."""

    def __init__(self, array: npt.ArrayLike, name: str = "array") -> None:
        self._array = np.asarray(array)
        if self._array.ndim != 2:
            raise InputError(f"{name}: has shape {self._array.shape}; give a 2-d array (n, d)")
        super().__init__(name, self._array.shape, self._array.dtype)

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        return self._array[start:stop]
