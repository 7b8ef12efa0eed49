"""Letters between items and tuples, carried by Spark's shuffles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dqindex.quantizer.model import DQModel
from dqindex.sids.letters import ROOM
from dqindex.sids.rounds import accept, propose
from dqindex.spark.contenders import SENT_ROWS
from dqindex.spark.frames import grouped, held


class SparkPost:
    """A `dqindex.sids.rounds.Post` of DataFrames.

    Parameters
    ----------
    model, cap, keep
        As in `dqindex.sids.unique.reassign`.
    taken : DataFrame
        Columns tuple and n: how many items have it and do not wait, or more than `cap`.
    buckets : int
    schema : pyarrow.Schema
        Of the letters.
    """

    def __init__(
        self,
        model: DQModel,
        cap: int,
        keep: int,
        taken: DataFrame,
        buckets: int,
        schema: pa.Schema,
    ) -> None:
        self._propose = partial(propose, model=model, cap=cap, keep=keep, buckets=buckets)
        self._taken, self._cap, self._schema = taken, cap, schema

    def propose(self, letters: DataFrame) -> DataFrame:
        """The letters of each place, answered."""
        return grouped(letters, "place", self._propose, self._schema)

    def accept(self, wishes: DataFrame) -> DataFrame:
        """The wishes of each bucket, answered."""
        return grouped(wishes, "bucket", accept, self._schema)

    def answer(self, asks: DataFrame) -> DataFrame:
        """The room of each tuple."""
        known = self._taken
        if asks.count() <= SENT_ROWS:  # Then not all tuples are shuffled.
            known = known.join(F.broadcast(asks.select("tuple").distinct()), "tuple", "left_semi")
        left = F.greatest(F.lit(0), F.lit(self._cap) - F.coalesce("n", F.lit(0))).cast("bigint")
        return (
            asks.join(known, "tuple", "left")
            .withColumn("room", left)
            .withColumn("kind", F.lit(ROOM))
            .select(self._schema.names)
        )

    def of_kind(self, letters: DataFrame, kind: int) -> DataFrame:
        """The letters of one kind."""
        return letters.filter(F.col("kind") == kind)

    def at(
        self, letters: DataFrame, places: Sequence[int], *, elsewhere: bool = False
    ) -> DataFrame:
        """Those of these places, or of all others."""
        inside = F.col("place").isin(list(places))
        return letters.filter(~inside if elsewhere else inside)

    def joined(self, first: DataFrame, second: DataFrame) -> DataFrame:
        """Both."""
        return first.unionByName(second)

    def places(self, letters: DataFrame) -> list[int]:
        """Places that have letters."""
        return sorted(row[0] for row in letters.select("place").distinct().collect())

    def held(self, letters: DataFrame) -> DataFrame:
        """The same, made once."""
        return held(letters)
