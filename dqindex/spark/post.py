"""Letters between items and tuples, carried by Spark's shuffles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dqindex.partitions.crowds import COUNTED, answered
from dqindex.partitions.packets import opened
from dqindex.quantizer.model import DQModel
from dqindex.sids.rounds import accept, propose
from dqindex.spark.frames import cogrouped, grouped, held, held_apart


class SparkPost:
    """A `dqindex.sids.rounds.Post` of DataFrames.

    Parameters
    ----------
    model, cap, keep
        As in `dqindex.sids.unique.reassign`.
    taken : DataFrame
        Of each bucket, a packet: how many items each of its tuples has, those that wait for another
        one among them. It is held apart by bucket.
    buckets, places : int
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
        places: int,
        schema: pa.Schema,
    ) -> None:
        self._propose = partial(propose, model=model, cap=cap, keep=keep, buckets=buckets)
        self._answer = partial(_answer, cap=cap)
        self._taken, self._schema = taken, schema
        self._buckets, self._places = buckets, places

    def settled(self, items: DataFrame) -> DataFrame:
        """The items, those of each place in one partition."""
        return held_apart(items, "place", self._places)

    def propose(self, items: DataFrame, told: DataFrame, places: Sequence[int]) -> DataFrame:
        """What the items of these places ask for."""
        some = self.where(items, "place", places)
        return cogrouped(some, told, "place", self._propose, self._schema)

    def accept(self, wishes: DataFrame) -> DataFrame:
        """The wishes of each bucket, answered."""
        return grouped(wishes, "bucket", accept, self._schema)

    def answer(self, asks: DataFrame) -> DataFrame:
        """The room of each tuple."""
        buckets = self.numbers(asks, "bucket")
        counts = self.where(self._taken, "bucket", buckets)
        return cogrouped(counts, asks, "bucket", self._answer, self._schema)

    def where(
        self, letters: DataFrame, column: str, some: Sequence[int], *, not_in: bool = False
    ) -> DataFrame:
        """Letters with one of some numbers in a column, or with none of them."""
        inside = F.col(column).isin(list(some))
        return letters.filter(~inside if not_in else inside)

    def joined(self, first: DataFrame, second: DataFrame) -> DataFrame:
        """Both."""
        return first.unionByName(second)

    def numbers(self, letters: DataFrame, column: str) -> list[int]:
        """Numbers of a column, each once."""
        return sorted(row[0] for row in letters.select(column).distinct().collect())

    def held(self, letters: DataFrame) -> DataFrame:
        """The same, made once, in no more partitions than a round has: unions add theirs."""
        return held(letters.coalesce(max(self._places, self._buckets)))


def _answer(counts: pa.Table, asks: pa.Table, cap: int) -> pa.Table:
    return answered(asks, opened(counts, COUNTED), cap)
