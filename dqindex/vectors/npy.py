"""``.npy``: memory-mapped, one window at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex.errors import FileFormatError
from dqindex.vectors.source import VectorSource


class NpyVectors(VectorSource):
    """A 2-d ``.npy`` file. Each window is mapped anew, so resident memory stays small."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            try:
                version = np.lib.format.read_magic(file)
                if version == (1, 0):
                    header = np.lib.format.read_array_header_1_0(file)
                else:
                    header = np.lib.format.read_array_header_2_0(file)
            except (ValueError, EOFError) as error:
                raise FileFormatError(f"{path}: not a .npy file ({error})") from None
            self._offset = file.tell()
        self._shape, fortran, dtype = header
        self._path, self._order = path, "F" if fortran else "C"
        if len(self._shape) != 2:
            raise FileFormatError(
                f"{path}: has shape {self._shape}; vectors need a 2-d array (n, d)"
            )
        n, d = self._shape
        expected, actual = self._offset + n * d * dtype.itemsize, path.stat().st_size
        if actual != expected and not dtype.hasobject:
            raise FileFormatError(
                f"{path}: is {actual} bytes where its header ({n} x {d} {dtype}) needs {expected}; "
                "the file is truncated or damaged, write it again"
            )
        super().__init__(str(path), (n, d), dtype)

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        mapped = np.memmap(
            self._path,
            dtype=self.dtype,
            mode="r",
            offset=self._offset,
            shape=self._shape,
            order=self._order,  # type: ignore[call-overload]
        )
        return np.asarray(mapped[start:stop])
