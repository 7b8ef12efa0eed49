"""``.npy``: memory-mapped, one window at a time."""

from __future__ import annotations

import math
import tokenize
import warnings
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dqindex.errors import FileFormatError, InputError
from dqindex.places.content import Content, open_content
from dqindex.places.place import Place
from dqindex.vectors.files import damage
from dqindex.vectors.flat import FlatVectors

# numpy refuses longer headers.
MOST_HEADER = 2**16


class NpyHeader(NamedTuple):
    """What stands before the values."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int


def read_npy_header(path: Place, content: Content) -> NpyHeader:
    """The header of a ``.npy`` file, held against the size of the file.

    Raises
    ------
    FileFormatError
        If it is no header, or the file is longer or shorter than it says.
    InputError
        If the values are Python objects: they would be unpickled.
    """
    # The parser of numpy evaluates text: bytes that are no header can raise nearly anything.
    with damage(f"{path}: not a .npy file"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = BytesIO(content.read(0, MOST_HEADER))
        try:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            else:
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        except (tokenize.TokenError, SyntaxError) as error:
            raise ValueError(str(error)) from None
        offset = file.tell()
        if dtype.hasobject:
            raise InputError(f"{path}: dtype {dtype} holds Python objects; store numbers")
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise FileFormatError(f"{path}: has shape {shape}; the header is damaged, write it again")
    expected = offset + math.prod(shape) * dtype.itemsize
    if content.size != expected:
        raise FileFormatError(
            f"{path}: is {content.size} bytes where its header "
            f"({' x '.join(map(str, shape))} {dtype}) needs {expected}; the file is truncated or "
            "damaged, write it again"
        )
    return NpyHeader(tuple(shape), fortran, dtype, offset)


def read_npy_values(path: Place) -> npt.NDArray[Any]:
    """The whole array of a ``.npy`` file.

    Raises
    ------
    FileFormatError, InputError
    """
    with damage(f"{path}: not a readable .npy file"):
        content = open_content(path)
        header = read_npy_header(path, content)
        length = math.prod(header.shape)
        values = np.empty(length, header.dtype)
        if length:
            values[:] = content.rows(header.dtype, (length,), 0, length, offset=header.offset)
        return values.reshape(header.shape, order="F" if header.fortran else "C")


class NpyVectors(FlatVectors):
    """A 2-d ``.npy`` file."""

    def __init__(self, path: Place) -> None:
        content = open_content(path)
        header = read_npy_header(path, content)
        if len(header.shape) != 2:
            raise FileFormatError(
                f"{path}: has shape {header.shape}; vectors need a 2-d array (n, d)"
            )
        super().__init__(str(path), content, header.shape, header.dtype, header.offset)
        self._fortran = header.fortran
