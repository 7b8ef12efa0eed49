"""Vectors that are already in memory, or behind something that is sliced as an array is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex.errors import DQIndexError, InputError
from dqindex.vectors.source import VectorSource

GIVE = "give a 2-d array (n, d), a table, a file, or blocks of vectors"


# How a thing offers an array; a sequence is asked for its items, of which it knows the number.
OFFERS = ("__array__", "__array_interface__", "__array_struct__", "__dlpack__")


class ArrayVectors(VectorSource):
    """A 2-d numpy array of any numeric dtype, order and stride."""

    def __init__(self, array: npt.ArrayLike, name: str = "array") -> None:
        self._array = np.asarray(array)
        if self._array.ndim == 0:
            raise InputError(f"{name}: is not a set of vectors; {GIVE}")
        if self._array.ndim != 2:
            raise InputError(f"{name}: has shape {self._array.shape}; give a 2-d array (n, d)")
        super().__init__(name, self._array.shape, self._array.dtype)

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        return self._array[start:stop]


class SlicedVectors(VectorSource):
    """What numpy can copy a slice of: JAX, zarr, h5py, dask; only the slice is copied."""

    def __init__(self, array: Any, name: str) -> None:
        self._array = array
        super().__init__(name, tuple(int(length) for length in array.shape), np.dtype(array.dtype))

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        window = np.asarray(self._array[start:stop])
        if window.shape != (stop - start, self.d):
            raise InputError(
                f"{self.name}: rows {start} to {stop} have shape {window.shape}; {GIVE}"
            )
        return window


class TorchVectors(VectorSource):
    """A torch tensor on any device; a slice is brought over at a time. bfloat16 is exact."""

    def __init__(self, tensor: Any, name: str) -> None:
        self._tensor = tensor.detach()
        if tensor.ndim != 2:
            raise InputError(f"{name}: has shape {tuple(tensor.shape)}; give a 2-d tensor (n, d)")
        super().__init__(name, tuple(tensor.shape), self._numpy(self._tensor[:0]).dtype)

    @staticmethod
    def _numpy(tensor: Any) -> npt.NDArray[Any]:
        tensor = tensor.cpu()
        # numpy has no bfloat16.
        return np.asarray(tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor)

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        return self._numpy(self._tensor[start:stop])


def is_stream(source: Any) -> bool:
    """Whether it only gives its items in turn: numpy would take it for one, or ask without end.

    A data set of torch may have no last item: its ``__getitem__`` answers any number.
    """
    gives = hasattr(source, "__iter__") or hasattr(source, "__getitem__")
    if not gives or isinstance(source, Sequence) or any(hasattr(source, one) for one in OFFERS):
        return False
    try:
        memoryview(source)
    except TypeError:
        return True
    return False


def open_array(source: Any) -> VectorSource:
    """Wrap whatever numpy or DLPack can make an array of, without a copy where they need none.

    Raises
    ------
    InputError
        If it is not a set of vectors.
    """
    name = "array" if isinstance(source, np.ndarray | list | tuple) else type(source).__name__
    if hasattr(source, "tocsr") or getattr(source, "is_sparse", False):
        raise InputError(f"{name}: sparse input is not supported; give a dense array")
    if isinstance(source, np.ma.MaskedArray) and np.ma.is_masked(source):
        raise InputError(f"{name}: has masked values; fill them, or remove their rows")
    try:
        return _opened(source, name)
    except DQIndexError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError, BufferError) as error:
        words = " ".join(str(error).split())[:300]
        raise InputError(f"{name}: is not a set of vectors ({words}); {GIVE}") from None


def _opened(source: Any, name: str) -> VectorSource:
    if isinstance(source, memoryview):
        return ArrayVectors(np.asarray(source), name)
    if hasattr(source, "detach") and hasattr(source, "cpu"):
        return TorchVectors(source, name)
    if isinstance(source, np.ndarray):
        return ArrayVectors(source)
    shape = getattr(source, "shape", None)
    if isinstance(shape, tuple) and len(shape) == 2 and hasattr(source, "__getitem__"):
        return SlicedVectors(source, name)
    if hasattr(source, "__dlpack__") and not hasattr(source, "__array__"):
        return ArrayVectors(np.from_dlpack(source), name)
    if is_stream(source):
        raise InputError(f"{name}: is not a set of vectors; {GIVE}")
    return ArrayVectors(source, name)
