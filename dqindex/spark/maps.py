"""Published maps as DataFrames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from dqindex.partitions.columns import ID
from dqindex.partitions.maps import (
    MapFile,
    check_columns,
    located,
    pieces_of,
    schema_of,
)
from dqindex.sids.map import SidMap


def rows_of(
    sids: Any, session: SparkSession | None
) -> tuple[DataFrame, pa.DataType, list[int] | None]:
    """The rows of a map: in memory, in a file, or a DataFrame.

    With the type in which its ids are compared, and the sizes of its levels where it says them.

    Raises
    ------
    InputError, StorageError, FileFormatError, IntegrityError
        If it is none, or damaged.
    """
    if isinstance(sids, DataFrame):
        kind = check_columns(to_arrow_schema(sids.schema))
        return _typed(sids, kind), kind, None
    sids = located(sids, "DataFrame")
    session = session or SparkSession.builder.getOrCreate()
    if isinstance(sids, SidMap):
        pieces = pieces_of(sids)
        rows = session.createDataFrame(pa.concat_tables(pieces))
        return rows, pieces[0].schema.field(ID).type, sids.sizes
    return _read(session, sids), sids.kind, sids.record["code_sizes"]


def _typed(df: DataFrame, kind: pa.DataType) -> DataFrame:
    fields = from_arrow_schema(schema_of(kind)).fields
    return df.select(*(F.col(field.name).cast(field.dataType) for field in fields))


def _read(session: SparkSession, stored: MapFile) -> DataFrame:
    """The rows of a file, each group read by whichever executor."""

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for group in batch.column(0).to_pylist():
                yield from stored.rows(group).to_batches()

    groups = session.range(0, stored.groups, 1, stored.groups)
    return groups.mapInArrow(read, from_arrow_schema(schema_of(stored.kind)))
