"""Tables in Ray's object store for what is written for any engine."""

from __future__ import annotations

from functools import partial

import pyarrow as pa
import ray

from dqindex.ray.tables import Change, Tables, call, each, exchanged, groups_of


class RayEngine:
    """A `dqindex.partitions.engine.Engine` of tables.

    Parameters
    ----------
    parts : int
        Of what is exchanged.
    """

    def __init__(self, parts: int) -> None:
        self._parts = parts

    def mapped(self, rows: Tables, change: Change, schema: pa.Schema) -> Tables:
        """`change` of the rows, table by table."""
        return each(rows, _changed, ray.put(change), schema)

    def grouped(self, rows: Tables, column: str, change: Change, schema: pa.Schema) -> Tables:
        """`change` of all rows with one value of `column`."""
        function = partial(_grouped, column, change, schema)
        return [call(function, *pieces) for pieces in exchanged(rows, column, self._parts)]

    def joined(self, first: Tables, second: Tables) -> Tables:
        """Both."""
        return first + second

    def held(self, rows: Tables) -> Tables:
        """The same: what is made stays in the object store."""
        return rows

    def gathered(self, rows: Tables, schema: pa.Schema) -> pa.Table:
        """All rows, here: few."""
        tables = [table.cast(schema) for table in ray.get(rows)]
        return pa.concat_tables([schema.empty_table(), *tables])


def _changed(table: pa.Table, change: Change, schema: pa.Schema) -> pa.Table:
    return change(table).select(schema.names).cast(schema)


def _grouped(column: str, change: Change, schema: pa.Schema, *pieces: pa.Table) -> pa.Table:
    groups = groups_of(pa.concat_tables(pieces), column)
    return pa.concat_tables(
        [schema.empty_table(), *(_changed(group, change, schema) for group in groups)]
    )
