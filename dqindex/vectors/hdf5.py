"""HDF5 as ann-benchmarks lays it out: one data set a split (``train``, ``test``).

A data set whose values lie in other files (external storage, external links, virtual sources) is
refused: a file from a stranger shall not decide which other files are read. So is one whose values
were never written, however many rows it claims.
"""

from __future__ import annotations

import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex.errors import FileFormatError, InputError, MissingDependencyError
from dqindex.places.content import RemoteContent, fetched, open_content
from dqindex.places.place import Place
from dqindex.vectors.files import damage
from dqindex.vectors.source import VectorSource

# A chunk is read whole, whatever is wanted of it.
LARGEST_CHUNK = 2**30


class Hdf5Vectors(VectorSource):
    """One 2-d data set of an HDF5 file; ``train`` where no other is named."""

    def __init__(self, path: Place, dataset: str | None) -> None:
        try:
            import h5py
        except ImportError:
            raise MissingDependencyError(
                f"{path}: HDF5 needs the package h5py; install dqindex[hdf5]"
            ) from None
        with damage(f"{path}: not a readable HDF5 file"):
            content = open_content(path)
            # Its library jumps about in a file: of one behind a network it gets a copy.
            file = fetched(content) if isinstance(content, RemoteContent) else path
            self._file = h5py.File(file, "r")
            if not isinstance(file, Path):
                weakref.finalize(self, _close, self._file, file)
            found, dataset = _find(h5py, self._file, path, dataset or "train"), dataset or "train"
            shape, dtype = found.shape, found.dtype
            if shape is None or len(shape) != 2:
                raise FileFormatError(f"{path}:{dataset}: has shape {shape}; vectors are 2-d")
            compact = found.id.get_create_plist().get_layout() == h5py.h5d.COMPACT
            if not compact:
                _check_storage(found, f"{path}:{dataset}", content.size)
        self._dataset = found
        super().__init__(f"{path}:{dataset}", shape, dtype)

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        with damage(
            f"{self.name}: rows {start} to {stop} cannot be read; the file is truncated or damaged"
        ):
            return np.asarray(self._dataset[start:stop])


def _close(*files: Any) -> None:
    for file in files:
        file.close()


def _find(h5py: Any, file: Any, path: Place, dataset: str) -> Any:
    """The data set of that name, each step of whose path is a link within the file."""
    group = file
    steps = [step for step in dataset.split("/") if step]
    for place, step in enumerate(steps):
        link = group.get(step, getlink=True) if step in list(group) else None
        if isinstance(link, h5py.SoftLink):
            # A soft link may lead to an external one: no need for it, so not followed.
            raise InputError(f"{path}:{dataset}: is a soft link; name {link.path!r} itself")
        if isinstance(link, h5py.ExternalLink):
            raise InputError(
                f"{path}:{dataset}: is a link to another file ({link.filename}); open that file"
            )
        found = None if link is None else group.get(step)
        last = place == len(steps) - 1
        if not isinstance(found, h5py.Dataset if last else h5py.Group):
            names = ", ".join(sorted(file.keys()))
            raise InputError(f"{path}: no data set {dataset!r}; it has {names}")
        group = found
    return group


def _check_storage(found: Any, name: str, file_bytes: int) -> None:
    """Refuse values that lie elsewhere or nowhere."""
    if found.is_virtual or found.external:
        kind = "virtual" if found.is_virtual else "external"
        raise InputError(
            f"{name}: its values lie in other files ({kind} storage), which are not read; copy "
            "them into one file"
        )
    n, d = found.shape
    size = n * d * found.dtype.itemsize
    if found.chunks is None:
        offset = found.id.get_offset()
        if offset is None or offset + size > file_bytes:
            raise FileFormatError(
                f"{name}: {n} x {d} {found.dtype} need {size} bytes, which the file does not hold; "
                "it was never written, or is truncated"
            )
        return
    if math.prod(found.chunks) * found.dtype.itemsize > LARGEST_CHUNK:
        raise FileFormatError(
            f"{name}: its chunks of {found.chunks} are larger than {LARGEST_CHUNK} bytes, "
            "and each is read whole; store smaller ones"
        )
    wanted = math.prod(
        -(-length // chunk) for length, chunk in zip(found.shape, found.chunks, strict=True)
    )
    # A million chunks of a file of ten kilobytes need not be counted.
    written = found.id.get_num_chunks() if wanted <= file_bytes else 0
    if written < wanted:
        raise FileFormatError(
            f"{name}: claims {n} x {d} vectors, but {wanted - written} of its {wanted} chunks were "
            "never written"
        )
