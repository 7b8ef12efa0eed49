"""Arrow tables that lie in Ray's object store, and functions of them that run where they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from dqindex.errors import InputError
from dqindex.partitions.columns import ID, PRIORITY, VECTOR, Columns, choose_columns

# Parts of what is exchanged, for each CPU.
PARTS_A_CPU = 2
# References to tables.
Tables = list[Any]
Change = Callable[..., pa.Table]


def read_columns(
    ds: Any, vector_column: str | None, id_column: str | None, priority: str | None = None
) -> tuple[Any, Columns]:
    """The ids, vectors and priorities of `ds`, by our names; and what they were.

    Raises
    ------
    InputError
    """
    if not isinstance(ds, ray.data.Dataset):
        raise InputError(f"ds is a {type(ds).__name__}; give a Dataset of Ray")
    schema = ds.schema()
    if schema is None or not isinstance(schema.base_schema, pa.Schema):
        raise InputError("the table holds no vectors (0 rows); give at least one")
    columns = choose_columns(schema.base_schema, vector_column, id_column, priority)
    return ds.map_batches(partial(_renamed, columns=columns), batch_format="pyarrow"), columns


def _renamed(table: pa.Table, columns: Columns) -> pa.Table:
    made = {
        ID: table[columns.ids].cast(columns.kind),
        VECTOR: table[columns.vectors],
    }
    if columns.priority is not None:
        made[PRIORITY] = table[columns.priority].cast(pa.float64(), safe=False)
    return pa.table(made)


def blocks_of(ds: Any) -> Tables:
    """References to the blocks of a Dataset, as tables."""
    return [one for one in ds.to_arrow_refs() if one is not None]


def parts_here() -> int:
    """Into how many parts the cluster cuts what it exchanges."""
    return max(1, int(PARTS_A_CPU * ray.cluster_resources().get("CPU", 1)))


def _called(function: Change, *parts: Any) -> Any:
    return function(*parts)


def _cut(table: pa.Table, column: str, parts: int) -> Any:
    where = table[column].to_numpy() % parts
    cut = [table.filter(pa.array(where == part)) for part in range(parts)]
    return cut if parts > 1 else cut[0]


_CALLED, _CUT = ray.remote(_called), ray.remote(_cut)


def call(function: Change, *parts: Any) -> Any:
    """A reference to `function` of what is referred to."""
    return _CALLED.remote(function, *parts)


def each(tables: Tables, function: Change, *more: Any) -> Tables:
    """`function` of each table, and of `more`."""
    return [call(function, table, *more) for table in tables]


def exchanged(tables: Tables, column: str, parts: int) -> list[Tables]:
    """Of each part, the pieces of the tables whose number in `column`, modulo `parts`, is its."""
    pieces = [_CUT.options(num_returns=parts).remote(table, column, parts) for table in tables]
    if parts == 1:
        return [pieces]
    return [[piece[part] for piece in pieces] for part in range(parts)]


def whole(function: Change, fixed: Sequence[Any], *pieces: pa.Table) -> pa.Table:
    """`function` of all pieces as one table, and of what is fixed."""
    return function(pa.concat_tables(pieces), *fixed)


def grouped(column: str, function: Change, *pieces: Any) -> pa.Table:
    """`function` of the rows with each value of `column`, and of the first piece."""
    fixed, tables = pieces[0], pa.concat_tables(pieces[1:])
    made = [function(group, fixed) for group in groups_of(tables, column)]
    return pa.concat_tables([tables.schema.empty_table(), *made])


def groups_of(table: pa.Table, column: str) -> Iterator[pa.Table]:
    """The rows with each value of `column`."""
    numbers = table[column].to_numpy()
    order = np.argsort(numbers, kind="stable")
    ordered = table.take(pa.array(order))
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    for start, size in zip(starts, np.diff(starts, append=len(order)), strict=True):
        yield ordered.slice(start, size)
