"""`open_vectors`: the one doorway, which finds the reader for whatever holds vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dqindex._parameters import boolean, checked, or_none, text
from dqindex.errors import FileFormatError, InputError, StorageError
from dqindex.places.missing import not_there
from dqindex.places.place import Place, RemotePath, is_glob, place
from dqindex.vectors.array import GIVE, open_array
from dqindex.vectors.files import require_regular
from dqindex.vectors.source import VectorSource

FORMATS = (
    ".npy, .fvecs, .bvecs, .ivecs, .fbin, .u8bin, .i8bin, .ibin, .parquet, .arrow or .feather (or "
    "a folder or glob of them), .hdf5 or .h5 (FILE:DATASET), .safetensors (FILE:TENSOR)"
)


class How(NamedTuple):
    """How a source is read: which columns, what of rows that can't be used, and how wide."""

    vector_column: str | None = None
    id_column: str | None = None
    lenient: bool = False
    width: int | None = None


@checked(vector_column=or_none(text()), id_column=or_none(text()), skip_invalid=boolean())
def open_vectors(
    path: Any,
    *,
    vector_column: str | None = None,
    id_column: str | None = None,
    ids: Any = None,
    skip_invalid: bool = False,
) -> VectorSource:
    """Open vectors of any supported format or kind.

    Parameters
    ----------
    path : path, list of paths, array, table, stream, or VectorSource
        A file; a folder, glob or list of Parquet or Arrow files; ``file.hdf5:dataset``;
        ``file.safetensors:tensor``. An array of shape (n, d): numpy, torch, JAX, zarr, anything
        with DLPack. A table: Arrow, pandas, polars, datasets, Lance, DuckDB, anything with
        ``__arrow_c_stream__``. A generator of blocks: arrays or tables. An open source is returned
        unchanged. ``docs/vectors.md`` describes each of them.
    vector_column : str, optional
        Tables: the column of vectors; needed if there are several list columns.
    id_column : str, optional
        Tables: the column of ids; by default ``item_id`` or ``id``, if the table has one.
    ids : array-like of n integers or strings, optional
        The ids, for a source without ids.
    skip_invalid : bool
        Leave out rows that are null, of another width, or hold a null, NaN or infinity, instead of
        refusing the first. It costs a pass over all rows.

    Returns
    -------
    VectorSource
        With `skip_invalid`, ``skipped`` has the rows that were left out, and ``skipped_ids`` their
        ids.

    Raises
    ------
    StorageError
        If the path does not exist, can't be opened, or is not a regular file.
    FileFormatError
        If the file is malformed, truncated, or of an unknown format.
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
    source = _open(path, How(vector_column, id_column, skip_invalid))
    if ids is not None:
        source.with_ids(ids)
    if not skip_invalid:
        return source
    from dqindex.vectors.usable import UsableVectors

    return UsableVectors(source)


def _open(source: Any, how: How) -> VectorSource:
    if isinstance(source, str | Path):
        return _open_path(source, how)
    if isinstance(source, list | tuple) and source:
        if all(isinstance(path, str | Path) for path in source):
            _only_tables(source)
            return _open_tables(f"{len(source)} paths", source, how)
        if hasattr(source[0], "schema") or getattr(source[0], "ndim", 0) == 2:
            return _spool(iter(source), how)
    if isinstance(source, VectorSource):
        _no_columns(source.name, how, "is open already")
        return source
    if not hasattr(source, "dtype") or hasattr(source, "__arrow_c_stream__"):
        found = _open_table(source, how)
        if found is not None:
            return found
    if hasattr(source, "__next__"):
        return _spool(source, how)
    _no_columns(type(source).__name__, how, "has no columns")
    return open_array(source)


def _no_columns(name: str, how: How, because: str) -> None:
    if how.vector_column is not None or how.id_column is not None:
        raise InputError(f"{name}: {because}; leave out --vector-column and --id-column")


# Paths.


def _split(path: str | Path) -> tuple[Place, str | None]:
    """``file.hdf5:train`` into the file and the part of it that is meant."""
    whole = place(path)
    head, colon, part = str(path).rpartition(":")
    if colon and place(head).suffix.lower() in PARTED and not whole.exists():
        return place(head), part
    return whole, None


def _open_path(path: str | Path, how: How) -> VectorSource:
    from dqindex.vectors.binary import bin_suffix
    from dqindex.vectors.parts import ARROW, PARQUET

    if "\0" in str(path) or not str(path):
        raise InputError(f"{str(path)!r} is not a path; {GIVE}")
    file, part = _split(path)
    try:
        suffix = bin_suffix(file.name)[0]
        if file.is_dir() or is_glob(path) or suffix in PARQUET + ARROW:
            if file.is_file():
                _not_empty(file)
            return _open_tables(str(file), [path], how)
        if not file.exists():
            raise not_there(file, f"give one of {FORMATS}")
        require_regular(file)
        if suffix not in READERS:
            raise FileFormatError(f"{file}: unknown format {suffix!r}; give one of {FORMATS}")
        _no_columns(str(file), how, f"a {suffix} file has no columns")
        _not_empty(file)
        return READERS[suffix](file, part)
    except OSError as error:
        raise StorageError(f"{file}: cannot be read ({error.strerror or error})") from None


def _only_tables(paths: Sequence[str | Path]) -> None:
    """Refuse a list with files that are no tables: each of those is a set of its own."""
    from dqindex.vectors.binary import bin_suffix

    for path in paths:
        file, _ = _split(path)
        suffix = bin_suffix(file.name)[0]
        if suffix in READERS:
            raise FileFormatError(
                f"{file}: of a list, Parquet and Arrow files are read, and no {suffix}; join such "
                "files, or give their arrays as blocks, as in (np.load(path) for path in paths)"
            )


def _not_empty(file: Place) -> None:
    state = file.state() if isinstance(file, RemotePath) else None
    if (file.stat().st_size if isinstance(file, Path) else state and state.size) == 0:
        raise FileFormatError(f"{file}: the file is empty (0 bytes); write it again")


# A reader and its library are imported when a file of its format is opened.


def _npy(file: Place, part: str | None) -> VectorSource:
    from dqindex.vectors.npy import NpyVectors

    return NpyVectors(file)


def _vecs(file: Place, part: str | None) -> VectorSource:
    from dqindex.vectors.binary import VecsVectors

    return VecsVectors(file)


def _bin(file: Place, part: str | None) -> VectorSource:
    from dqindex.vectors.binary import BinVectors

    return BinVectors(file)


def _hdf5(file: Place, part: str | None) -> VectorSource:
    from dqindex.vectors.hdf5 import Hdf5Vectors

    return Hdf5Vectors(file, part)


def _safetensors(file: Place, part: str | None) -> VectorSource:
    from dqindex.vectors.tensors import SafetensorsVectors

    return SafetensorsVectors(file, part)


READERS: dict[str, Callable[[Place, str | None], VectorSource]] = {
    ".npy": _npy,
    **dict.fromkeys((".fvecs", ".bvecs", ".ivecs"), _vecs),
    **dict.fromkeys((".fbin", ".u8bin", ".i8bin", ".ibin"), _bin),
    **dict.fromkeys((".hdf5", ".h5"), _hdf5),
    ".safetensors": _safetensors,
}
PARTED = (".hdf5", ".h5", ".safetensors")


# Tables and streams.


def _open_tables(name: str, paths: Any, how: How) -> VectorSource:
    from dqindex.vectors.folder import open_parts

    return _table(name, open_parts(paths), how)


def _table(name: str, parts: Any, how: How) -> VectorSource:
    from dqindex.vectors.table import TableVectors

    return TableVectors(
        name, parts, how.vector_column, how.id_column, lenient=how.lenient, width=how.width
    )


def _open_table(source: Any, how: How) -> VectorSource | None:
    """A table in memory or a stream of one; None for what is neither."""
    from dqindex.vectors.memory import stream_of, table_parts

    parts = table_parts(source)
    if parts is not None:
        return _table(parts[0].name, parts, how)
    batches = stream_of(source)
    return None if batches is None else _spool(batches, how, "stream")


def _spool(blocks: Iterator[Any], how: How, name: str = "blocks") -> VectorSource:
    from dqindex.vectors.spool import SpooledVectors

    return SpooledVectors(
        name, blocks, lambda block, width: _open(block, how._replace(width=width))
    )
