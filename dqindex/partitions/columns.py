"""Which columns of a distributed table are read."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from dqindex.errors import InputError
from dqindex.vectors.layout import choose

# Their names from then on.
ID, VECTOR, PRIORITY = "item_id", "vector", "priority"


class Columns(NamedTuple):
    """Names of the columns, and the type in which ids are compared: int64 or string."""

    ids: str
    vectors: str
    priority: str | None
    kind: pa.DataType


def choose_columns(
    schema: pa.Schema, vector_column: str | None, id_column: str | None, priority: str | None = None
) -> Columns:
    """The columns of a table of this schema.

    Raises
    ------
    InputError
        If one is missing, of another type, or it is not clear which is meant.
    """
    layout = choose(schema, "the table", vector_column, id_column)
    if layout.ids is None:
        raise InputError(
            "the table has no column item_id or id, and rows on many machines have no numbers; "
            "name the column of the ids (id_column=)"
        )
    if layout.wide:
        raise InputError(
            f"the table has no column of lists, only {len(layout.vectors)} columns of numbers; "
            "put each vector into one array column"
        )
    kind = compared(schema.field(layout.ids).type, layout.ids)
    if priority is not None:
        if priority not in schema.names:
            raise InputError(f"priority: no column {priority!r}; it has {', '.join(schema.names)}")
        found = schema.field(priority).type
        if not (pa.types.is_integer(found) or pa.types.is_floating(found)):
            raise InputError(f"priority: column {priority!r} is {found}; give numbers")
    return Columns(layout.ids, layout.vectors[0], priority, kind)


def compared(kind: pa.DataType, column: str) -> pa.DataType:
    """The type in which ids of type `kind` are compared.

    Raises
    ------
    InputError
        If they are neither integers of 64 bits nor text.
    """
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return pa.int64()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.string()
    raise InputError(f"column {column!r}: ids of type {kind}; use integers of 64 bits or text")
