"""Ids in a file of their own, for vectors whose format holds none."""

from __future__ import annotations

import pyarrow as pa

from dqindex.errors import FileFormatError, InputError
from dqindex.places.missing import not_there
from dqindex.places.place import Place, place
from dqindex.vectors.files import require_regular
from dqindex.vectors.ids import as_ids
from dqindex.vectors.npy import read_npy_values
from dqindex.vectors.parts import open_part


def read_ids(path: str | Place, column: str | None = None) -> pa.Array:
    """Ids from a Parquet or Arrow file (its only column, or `column`) or a 1-d ``.npy``.

    Raises
    ------
    StorageError, FileFormatError
        If there is no such file, or it is not whole.
    InputError
        If it has several columns and `column` is not one of them.
    """
    file = place(path)
    if not file.exists():
        raise not_there(file, "give a Parquet file or a 1-d .npy with ids")
    require_regular(file)
    if file.suffix == ".npy":
        if column is not None:
            raise InputError(f"{file}: a .npy file has no columns; leave out the id column")
        values = read_npy_values(file)
        if values.ndim != 1:
            raise FileFormatError(f"{file}: has shape {values.shape}; ids must be 1-d")
        return as_ids(values, str(file))
    part = open_part(file)
    names = part.schema.names
    if column is None:
        if len(names) != 1:
            raise InputError(f"{file}: name the id column, one of {', '.join(names)}")
        column = names[0]
    if column not in names:
        raise InputError(f"{file}: no column {column!r}; it has {', '.join(names)}")
    return as_ids(part.column(column), str(file))
