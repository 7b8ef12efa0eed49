"""HDF5 as ann-benchmarks lays it out: one data set a split (``train``, ``test``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex.errors import FileFormatError, InputError, MissingDependencyError
from dqindex.vectors.source import VectorSource


class Hdf5Vectors(VectorSource):
    """One 2-d data set of an HDF5 file; ``train`` where no other is named."""

    def __init__(self, path: Path, dataset: str | None) -> None:
        try:
            import h5py
        except ImportError:
            raise MissingDependencyError(
                f"{path}: HDF5 needs the package h5py; install dqindex[hdf5]"
            ) from None
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise FileFormatError(f"{path}: not a readable HDF5 file ({error})") from None
        dataset = dataset or "train"
        found = self._file.get(dataset)
        if not isinstance(found, h5py.Dataset):
            raise InputError(f"{path}: no data set {dataset!r}; it has {', '.join(self._file)}")
        if found.ndim != 2:
            raise FileFormatError(f"{path}:{dataset}: has shape {found.shape}; vectors are 2-d")
        self._dataset = found
        super().__init__(f"{path}:{dataset}", found.shape, found.dtype)

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._dataset[start:stop])
        except OSError as error:
            raise FileFormatError(
                f"{self.name}: rows {start} to {stop} cannot be read ({error}); "
                "the file is truncated or damaged"
            ) from None
