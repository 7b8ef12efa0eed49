"""DataFrames for what is written for any engine."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import DataFrame

from dqindex.spark.frames import Change, grouped, held, mapped


class SparkEngine:
    """A `dqindex.partitions.engine.Engine` of DataFrames."""

    def mapped(self, rows: DataFrame, change: Change, schema: pa.Schema) -> DataFrame:
        """`change` of the rows, batch by batch."""
        return mapped(rows, change, schema)

    def grouped(self, rows: DataFrame, column: str, change: Change, schema: pa.Schema) -> DataFrame:
        """`change` of all rows with one value of `column`."""
        return grouped(rows, column, change, schema)

    def joined(self, first: DataFrame, second: DataFrame) -> DataFrame:
        """Both."""
        return first.unionByName(second)

    def held(self, rows: DataFrame) -> DataFrame:
        """The same, made once."""
        return held(rows)

    def gathered(self, rows: DataFrame, schema: pa.Schema) -> pa.Table:
        """All rows, on the driver: few."""
        return rows.toArrow().select(schema.names).cast(schema)
