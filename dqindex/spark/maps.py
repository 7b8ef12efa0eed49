"""Published maps as DataFrames."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from dqindex.errors import InputError
from dqindex.partitions import survey as looks
from dqindex.partitions.columns import ID
from dqindex.partitions.how import How, how_given
from dqindex.partitions.maps import (
    MapFile,
    check_columns,
    how_of,
    located,
    pieces_of,
    schema_of,
    survey_map,
)
from dqindex.quantizer.model import DQModel
from dqindex.sids.map import SidMap
from dqindex.spark.frames import mapped


class Published(NamedTuple):
    """A map, its rows on the executors.

    Attributes
    ----------
    rows : DataFrame
        item_id, codes, base_codes, distortion.
    how : How
    kind : pyarrow.DataType
        In which its ids are compared.
    """

    rows: DataFrame
    how: How
    kind: pa.DataType


def published_map(
    session: SparkSession,
    sids: Any,
    model: DQModel | None,
    unique: str | None,
    cap: int | None,
    keep: int | None,
) -> Published:
    """A map: in memory, in a file, or a DataFrame.

    Raises
    ------
    InputError, StorageError, FileFormatError, IntegrityError
        If it is none, is damaged, or does not fit the settings.
    """
    if isinstance(sids, DataFrame):
        rows, kind, _ = rows_of(sids, session)
        return Published(rows, how_given(model, unique, cap, keep), kind)
    sids = located(sids, "DataFrame")
    rows, kind, _ = rows_of(sids, session)
    return Published(rows, how_of(sids, model, (unique, cap, keep)), kind)


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


def surveyed_map(published: Published) -> int:
    """How many items a map has; one that can't be used is refused.

    Raises
    ------
    InputError, FileFormatError
    """
    found = mapped(published.rows, partial(survey_map, how=published.how), looks.SCHEMA)
    total = found.agg(F.sum("n").alias("n"), F.min("problem").alias("problem")).first()
    if total is None or not total["n"]:
        return 0
    if total["problem"] is not None:
        raise InputError(total["problem"])
    return int(total["n"])
