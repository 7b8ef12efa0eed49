"""Where vectors come from: one small reader a format, all giving validated float32 blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dqindex.errors import FileFormatError, InputError, StorageError
from dqindex.vectors.array import ArrayVectors
from dqindex.vectors.ids import read_ids
from dqindex.vectors.source import VectorSource

__all__ = ["ArrayVectors", "VectorSource", "open_vectors", "read_ids"]

FORMATS = (
    ".npy, .fvecs, .bvecs, .ivecs, .fbin, .u8bin, .i8bin, .parquet (or a folder of them), "
    ".hdf5 or .h5 (FILE:DATASET), .safetensors (FILE:TENSOR)"
)
PARTED = (".hdf5", ".h5", ".safetensors")


def _split(path: str | Path) -> tuple[Path, str | None]:
    """``file.hdf5:train`` into the file and the part of it that is meant."""
    text = str(path)
    head, colon, part = text.rpartition(":")
    if colon and Path(head).suffix in PARTED and not Path(text).exists():
        return Path(head), part
    return Path(text), None


def open_vectors(
    path: str | Path | np.ndarray[Any, Any] | VectorSource,
    *,
    vector_column: str | None = None,
    id_column: str | None = None,
    ids: Any = None,
) -> VectorSource:
    """Open vectors of any supported format, or wrap an array.

    Parameters
    ----------
    path : path, array of shape (n, d), or VectorSource
        A file, a folder of Parquet files, ``file.hdf5:dataset``, ``file.safetensors:tensor``.
        An open source is returned as it is.
    vector_column : str, optional
        Parquet: the column with the vectors; needed where there are several list columns.
    id_column : str, optional
        Parquet: the column with the ids; by default ``item_id`` or ``id`` where there is one.
    ids : array-like of n integers or strings, optional
        The ids, for formats that hold none.

    Returns
    -------
    VectorSource

    Raises
    ------
    StorageError
        If the path does not exist or cannot be opened.
    FileFormatError
        If the file is malformed, truncated, or of no known format.
    InputError
        If a column is missing or the content is not a set of vectors.

    Examples
    --------
    >>> import numpy as np
    >>> source = open_vectors(np.eye(3, dtype=np.float16))
    >>> source.n, source.d, source.dtype
    (3, 3, dtype('float16'))
    >>> [block.shape for block in source.blocks(2)]
    [(2, 3), (1, 3)]
    """
    source = _open(path, vector_column, id_column)
    return source if ids is None else source.with_ids(ids)


def _open(path: Any, vector_column: str | None, id_column: str | None) -> VectorSource:
    if isinstance(path, VectorSource):
        return path
    if not isinstance(path, str | Path):
        return ArrayVectors(path)
    file, part = _split(path)
    suffix = ".parquet" if file.is_dir() else file.suffix.lower()
    if suffix != ".parquet" and (vector_column or id_column):
        raise InputError(
            f"{file}: a {suffix} file has no columns; leave out --vector-column and --id-column"
        )
    if not file.exists():
        raise StorageError(f"{file}: no such file; give one of {FORMATS}")
    try:
        if file.is_file() and file.stat().st_size == 0:
            raise FileFormatError(f"{file}: the file is empty (0 bytes); write it again")
        if suffix == ".npy":
            from dqindex.vectors.npy import NpyVectors

            return NpyVectors(file)
        if suffix in (".fvecs", ".bvecs", ".ivecs"):
            from dqindex.vectors.binary import VecsVectors

            return VecsVectors(file)
        if suffix in (".fbin", ".u8bin", ".i8bin"):
            from dqindex.vectors.binary import BinVectors

            return BinVectors(file)
        if suffix == ".parquet":
            from dqindex.vectors.parquet import ParquetVectors

            return ParquetVectors(file, vector_column, id_column)
        if suffix in (".hdf5", ".h5"):
            from dqindex.vectors.hdf5 import Hdf5Vectors

            return Hdf5Vectors(file, part)
        if suffix == ".safetensors":
            from dqindex.vectors.tensors import SafetensorsVectors

            return SafetensorsVectors(file, part)
    except OSError as error:
        raise StorageError(f"{file}: cannot be read ({error.strerror or error})") from None
    raise FileFormatError(f"{file}: unknown format {suffix!r}; give one of {FORMATS}")
