"""DataFrames in the words of this package: which columns, and functions of Arrow tables."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from dqindex.errors import InputError
from dqindex.partitions.columns import ID, PRIORITY, VECTOR, Columns, choose_columns
from dqindex.partitions.packets import PACKETS, in_packets, opened

Change = Callable[[pa.Table], pa.Table]

ADAPTIVE = "spark.sql.adaptive.enabled"
# Held while the setting of a session is another.
_plans = threading.Lock()


def read_columns(
    df: Any, vector_column: str | None, id_column: str | None, priority: str | None = None
) -> tuple[DataFrame, Columns]:
    """The ids, vectors and priorities of `df`, by our names; and what they were.

    Raises
    ------
    InputError
    """
    if not isinstance(df, DataFrame):
        raise InputError(f"df is a {type(df).__name__}; give a DataFrame of Spark")
    columns = choose_columns(to_arrow_schema(df.schema), vector_column, id_column, priority)
    kind = "bigint" if columns.kind == pa.int64() else "string"
    chosen = [
        F.col(f"`{columns.ids}`").cast(kind).alias(ID),
        F.col(f"`{columns.vectors}`").alias(VECTOR),
    ]
    if priority is not None:
        chosen.append(F.col(f"`{priority}`").cast("double").alias(PRIORITY))
    return df.select(*chosen), columns


def mapped(df: DataFrame, change: Change, schema: pa.Schema) -> DataFrame:
    """`change` of the rows of `df`, batch by batch where they lie."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            table = change(pa.Table.from_batches([batch]))
            yield from table.select(schema.names).cast(schema).to_batches()

    return df.mapInArrow(run, from_arrow_schema(schema))


def held_mapped(df: DataFrame, change: Change, schema: pa.Schema) -> DataFrame:
    """`mapped`, made once, for very many rows.

    They are kept in packets: Spark writes and reads rows that it keeps one by one, each an object.
    """
    packets = held(mapped(df, partial(in_packets, change=change), PACKETS))

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for place in range(len(batch)):  # One at a time: each has as many rows as a batch.
                yield from opened(pa.table(batch.slice(place, 1)), schema).to_batches()

    return packets.mapInArrow(run, from_arrow_schema(schema))


def grouped(df: DataFrame, column: str, change: Change, schema: pa.Schema) -> DataFrame:
    """`change` of all rows with one value of `column`, for each value."""
    given = to_arrow_schema(df.schema)

    def run(table: pa.Table) -> pa.Table:
        made = change(table.select(given.names).cast(given))
        return made.select(schema.names).cast(schema)

    return df.groupBy(column).applyInArrow(run, from_arrow_schema(schema))


def cogrouped(
    first: DataFrame,
    second: DataFrame,
    column: str,
    change: Callable[[pa.Table, pa.Table], pa.Table],
    schema: pa.Schema,
) -> DataFrame:
    """`change` of all rows of both with one value of `column`, for each value."""
    given = [to_arrow_schema(df.schema) for df in (first, second)]

    def run(ours: pa.Table, theirs: pa.Table) -> pa.Table:
        tables = (ours, theirs)
        made = change(
            *(table.select(one.names).cast(one) for table, one in zip(tables, given, strict=True))
        )
        return made.select(schema.names).cast(schema)

    both = first.groupBy(column).cogroup(second.groupBy(column))
    return both.applyInArrow(run, from_arrow_schema(schema))


def held(df: DataFrame) -> DataFrame:
    """`df`, made once: in the checkpoint folder of the session where it has one.

    Without one it lies on the executors, and a job that loses one of them fails.
    """
    if df.sparkSession.sparkContext.getCheckpointDir() is not None:
        return df.checkpoint()
    return df.localCheckpoint()


def held_apart(df: DataFrame, column: str, parts: int) -> DataFrame:
    """`df`, made once, all rows with one value of `column` in one of `parts` partitions.

    Groups of it are then found without a shuffle. Spark forgets how a checkpoint is cut where it
    may change the plan on the way (`ADAPTIVE`), so here it must not.
    """
    # One partition would be that of all rows, which Spark does not take for that of a column.
    df = df.repartition(max(2, parts), column)
    conf = df.sparkSession.conf
    with _plans:
        before = conf.get(ADAPTIVE, None)
        conf.set(ADAPTIVE, "false")
        try:
            return held(df)
        finally:
            if before is None:
                conf.unset(ADAPTIVE)
            else:
                conf.set(ADAPTIVE, before)
