"""Ids of a catalogue: distinct integers or strings, kept as an Arrow array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dqindex.errors import FileFormatError, InputError, StorageError


def check_ids(ids: Any, n: int, name: str) -> pa.Array:
    """`ids` as an Arrow array of `n` distinct integers or strings of the type they came in.

    Raises
    ------
    InputError
        If the type is another, an id is missing or stands twice, or the number is not `n`.
    """
    try:
        array = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"{name}: the ids are not plain integers or strings ({error})") from None
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if not (
        pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    ):
        raise InputError(f"{name}: ids of type {kind} are not supported; use integers or strings")
    if len(array) != n:
        raise InputError(f"{name}: {len(array)} ids for {n} vectors; give one id a vector")
    if array.null_count:
        row = pc.index(pc.is_null(array), True).as_py()
        raise InputError(f"{name}: {array.null_count} ids are missing, first row {row}; fill them")
    if pc.count_distinct(array).as_py() != n:
        counts = pc.value_counts(array)
        twice = counts.filter(pc.greater(counts.field("counts"), 1))
        first = twice[0].as_py()
        raise InputError(
            f"{name}: {len(twice)} ids stand more than once, for example {first['values']!r} "
            f"({first['counts']} times); ids must be distinct"
        )
    return array


def read_ids(path: str | Path, column: str | None = None) -> pa.Array:
    """Ids from a Parquet file (its only column, or `column`) or a 1-d ``.npy`` of integers."""
    file = Path(path)
    if not file.is_file():
        raise StorageError(f"{file}: no such file; give a Parquet file or a 1-d .npy with ids")
    if file.suffix == ".npy":
        try:
            values = np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise FileFormatError(f"{file}: not a readable .npy file ({error})") from None
        if values.ndim != 1:
            raise FileFormatError(f"{file}: has shape {values.shape}; ids must be 1-d")
        return pa.array(values)
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{file}: not a readable Parquet file ({error})") from None
    if column is None:
        if len(schema.names) != 1:
            raise InputError(f"{file}: name the id column, one of {', '.join(schema.names)}")
        column = schema.names[0]
    if column not in schema.names:
        raise InputError(f"{file}: no column {column!r}; it has {', '.join(schema.names)}")
    return pq.read_table(file, columns=[column]).column(0).combine_chunks()
