"""The raw binary formats of ANN benchmarks: ``.fvecs`` and kin, ``.fbin`` and kin."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex.errors import FileFormatError
from dqindex.places.content import open_content
from dqindex.places.place import Place
from dqindex.vectors.flat import FlatVectors

VECS_DTYPES = {".fvecs": "<f4", ".bvecs": "u1", ".ivecs": "<i4"}
BIN_DTYPES = {".fbin": "<f4", ".u8bin": "u1", ".i8bin": "i1", ".ibin": "<i4"}
# What big-ann-benchmarks calls the first rows of a file: base.1B.fbin.crop_nb_10000000.
CROPPED = re.compile(r".*(\.(?:fbin|u8bin|i8bin|ibin))\.crop_nb_([0-9]{1,18})", re.IGNORECASE)


def bin_suffix(name: str) -> tuple[str, int | None]:
    """The suffix that tells the format of a file of that name, and its rows if it was cropped.

    Examples
    --------
    >>> bin_suffix("base.1B.fbin.crop_nb_10000000")
    ('.fbin', 10000000)
    """
    found = CROPPED.fullmatch(name)
    if found is None:
        return PurePosixPath(name).suffix.lower(), None
    return found[1].lower(), int(found[2])


class VecsVectors(FlatVectors):
    """TEXMEX: each row is its width (int32, little-endian), then its values."""

    def __init__(self, path: Place) -> None:
        dtype = np.dtype(VECS_DTYPES[path.suffix.lower()])
        content = open_content(path)
        size, head = content.size, content.read(0, 4)
        if len(head) < 4:
            raise FileFormatError(f"{path}: is {size} bytes, too short for one row; write it again")
        d = int(np.frombuffer(head, dtype="<i4")[0])
        row_bytes = 4 + d * dtype.itemsize
        if d < 1 or size % row_bytes:
            raise FileFormatError(
                f"{path}: {size} bytes are not whole rows of width {d} ({row_bytes} bytes each), "
                "as its first row says; the file is truncated or not in this format"
            )
        self._record = np.dtype([("d", "<i4"), ("values", dtype, (d,))])
        super().__init__(str(path), content, (size // row_bytes, d), dtype)

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        records = self._content.rows(self._record, (self.n,), start, stop)
        # A row of another width makes nonsense of those behind it.
        other = np.flatnonzero(records["d"] != self.d)
        if other.size:
            row = int(other[0])
            raise FileFormatError(
                f"{self.name}: row {start + row} has width {int(records['d'][row])} where the "
                f"first has {self.d}; all rows must have one width"
            )
        return np.asarray(records["values"])


class BinVectors(FlatVectors):
    """big-ann-benchmarks: n and d (uint32, little-endian), then the values row by row."""

    def __init__(self, path: Place) -> None:
        suffix, rows = bin_suffix(path.name)
        dtype = np.dtype(BIN_DTYPES[suffix])
        content = open_content(path)
        size, head = content.size, content.read(0, 8)
        if len(head) < 8:
            raise FileFormatError(f"{path}: is {size} bytes, too short for its header")
        n, d = (int(value) for value in np.frombuffer(head, dtype="<u4"))
        if rows is not None and rows < n and size == 8 + rows * d * dtype.itemsize:
            # Cut off, and its header left as it was.
            n = rows
        if rows is not None and rows != n:
            raise FileFormatError(
                f"{path}: its name says {rows} rows, and its header {n} in {size} bytes; the file "
                "is truncated, or has the name of another file"
            )
        if suffix == ".ibin" and size == 8 + 2 * n * d * dtype.itemsize:
            raise FileFormatError(
                f"{path}: holds the {d} neighbours of {n} queries and their distances, not "
                "vectors; 'dqindex bench run --truth' takes it"
            )
        if size != 8 + n * d * dtype.itemsize:
            raise FileFormatError(
                f"{path}: is {size} bytes where its header ({n} x {d} {dtype}) needs "
                f"{8 + n * d * dtype.itemsize}; the file is truncated or not in this format"
            )
        super().__init__(str(path), content, (n, d), dtype, 8)
