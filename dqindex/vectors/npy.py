"""``.npy``: memory-mapped, one window at a time."""

from __future__ import annotations

import math
import tokenize
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dqindex.errors import FileFormatError, InputError
from dqindex.vectors.files import damage
from dqindex.vectors.source import VectorSource


class NpyHeader(NamedTuple):
    """What stands before the values."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int


def read_npy_header(path: Path) -> NpyHeader:
    """The header of a ``.npy`` file, held against the size of the file.

    Raises
    ------
    FileFormatError
        If it is no header, or the file is longer or shorter than it says.
    InputError
        If the values are Python objects: they would be unpickled.
    """
    # The parser of numpy evaluates text: bytes that are no header can raise nearly anything.
    with (
        damage(f"{path}: not a .npy file"),
        path.open("rb") as file,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            else:
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        except (tokenize.TokenError, SyntaxError) as error:
            raise ValueError(str(error)) from None
        offset = file.tell()
        size = path.stat().st_size
        if dtype.hasobject:
            raise InputError(f"{path}: dtype {dtype} holds Python objects; store numbers")
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise FileFormatError(f"{path}: has shape {shape}; the header is damaged, write it again")
    expected = offset + math.prod(shape) * dtype.itemsize
    if size != expected:
        raise FileFormatError(
            f"{path}: is {size} bytes where its header ({' x '.join(map(str, shape))} {dtype}) "
            f"needs {expected}; the file is truncated or damaged, write it again"
        )
    return NpyHeader(tuple(shape), fortran, dtype, offset)


def read_npy_values(path: Path) -> npt.NDArray[Any]:
    """The whole array of a ``.npy`` file.

    Raises
    ------
    FileFormatError, InputError
    """
    header = read_npy_header(path)
    with damage(f"{path}: not a readable .npy file"):
        values = np.fromfile(path, header.dtype, offset=header.offset)
        return values.reshape(header.shape, order="F" if header.fortran else "C")


class NpyVectors(VectorSource):
    """A 2-d ``.npy`` file. Each window is mapped anew, so resident memory stays small."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._header = read_npy_header(path)
        shape = self._header.shape
        if len(shape) != 2:
            raise FileFormatError(f"{path}: has shape {shape}; vectors need a 2-d array (n, d)")
        super().__init__(str(path), shape, self._header.dtype)

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        mapped = np.memmap(
            self._path,
            dtype=self.dtype,
            mode="r",
            offset=self._header.offset,
            shape=self._header.shape,
            order="F" if self._header.fortran else "C",
        )
        return np.asarray(mapped[start:stop])
