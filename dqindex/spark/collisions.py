"""Tuples of the items of a DataFrame, and how they become unique."""

from __future__ import annotations

from functools import partial

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from dqindex._types import Progress
from dqindex.partitions.coding import addressed, based, measured, published
from dqindex.partitions.columns import ID, PRIORITY, VECTOR, Columns
from dqindex.partitions.crowds import (
    COUNTED,
    COUNTED_PACKETS,
    SPREAD,
    counted_packet,
    in_buckets,
    overfull,
)
from dqindex.partitions.engine import buckets_for
from dqindex.partitions.how import How
from dqindex.partitions.maps import schema_of as schema_of_map
from dqindex.partitions.neighbours import DRAWN_SCHEMA, cut
from dqindex.partitions.settings import refuse_repeated
from dqindex.quantizer.model import DQModel
from dqindex.sids.letters import schema_of
from dqindex.sids.rounds import resolve
from dqindex.spark.contenders import sent, with_rows
from dqindex.spark.frames import grouped, held, held_apart, held_mapped, mapped
from dqindex.spark.post import SparkPost


def check_distinct(frame: DataFrame) -> None:
    """Refuse ids that stand more than once.

    Raises
    ------
    InputError
    """
    twice = frame.groupBy(ID).count().filter("count > 1")
    first = twice.orderBy(ID).limit(1).collect()
    if first:
        refuse_repeated(twice.count(), *first[0])


def based_of(frame: DataFrame, model: DQModel, columns: Columns) -> DataFrame:
    """Ids, base tuples and their distortions, made once."""
    schema = pa.schema([(ID, columns.kind), ("tuple", pa.binary()), ("distortion", pa.float32())])
    return held_mapped(frame.select(ID, VECTOR), partial(based, model=model), schema)


def published_of(
    base: DataFrame,
    frame: DataFrame,
    columns: Columns,
    how: How,
    report: Progress,
    n: int,
    before: DataFrame | None = None,
    published_n: int = 0,
) -> DataFrame:
    """The map of the items of `base`, whose tuples are made unique in their way.

    Parameters
    ----------
    base : DataFrame
        From `based_of`.
    frame : DataFrame
        Their ids, vectors and priorities.
    columns : Columns
    how : How
    report : callable
    n : int
        How many these are.
    before : DataFrame, optional
        A column tuple: one row for each item that is published already.
    published_n : int
        How many those are.
    """
    found = _resolved(base, frame, columns, how, report, (n, published_n), before)
    sizes = how.model.code_sizes()
    return mapped(found, partial(published, sizes=sizes), schema_of_map(columns.kind))


def _resolved(
    base: DataFrame,
    frame: DataFrame,
    columns: Columns,
    how: How,
    report: Progress,
    numbers: tuple[int, int],
    before: DataFrame | None,
) -> DataFrame:
    """`base` with the columns that `published` reads for its way of making tuples unique."""
    model, unique, cap, keep = how
    if unique == "none":
        return base
    buckets = buckets_for(sum(numbers))
    counts = _counted(base, before, model.code_sizes(), buckets)
    crowded = held(mapped(counts.select("packet"), partial(overfull, cap=cap), COUNTED))
    crowds = crowded.agg(F.count("*"), F.sum(F.col("n") - F.col("before")))
    [(tuples, new)] = crowds.collect()
    if not new:
        return base if unique != "suffix" else base.withColumn("suffix", F.lit(0))
    shared = held(base.join(sent(crowded.drop("n"), tuples), "tuple").drop("distortion"))
    ranked = _ranked(with_rows(shared, new, frame, numbers[0]), model)
    if unique == "suffix":
        last = ranked.select(ID, (F.col("rank") - 1).cast("int").alias("suffix"))
        return base.join(sent(held(last), new), ID, "left").fillna({"suffix": 0})
    waiting = held(ranked.filter(F.col("rank") > cap).drop("rank", "before"))
    m = waiting.count()
    tuples_of = waiting.select(ID, "tuple")
    cuts = cut(
        lambda draw: mapped(tuples_of, draw, DRAWN_SCHEMA).toArrow().cast(DRAWN_SCHEMA),
        m,
        model.n_features_in_,
    )
    schema = schema_of(columns.kind)
    items = mapped(waiting, partial(addressed, cuts=cuts, kind=columns.kind), schema)
    post = SparkPost(model, cap, keep, counts, buckets, len(cuts) + 1, schema)
    wishes = resolve(post, items, report)
    granted = wishes.select(F.col("id").alias(ID), F.col("tuple").alias("wanted"), F.col("lost"))
    return base.join(sent(granted, m), ID, "left")


def _counted(
    base: DataFrame, before: DataFrame | None, sizes: list[int], buckets: int
) -> DataFrame:
    """How many items each tuple has, and how many of them are published: a packet a bucket."""
    both = base.select("tuple", F.lit(0).alias("before"))
    if before is not None:
        both = both.unionByName(before.select("tuple", F.lit(1).alias("before")))
    spread = mapped(both, partial(in_buckets, sizes=sizes, buckets=buckets), SPREAD)
    return held_apart(grouped(spread, "bucket", counted_packet, COUNTED_PACKETS), "bucket", buckets)


def _ranked(items: DataFrame, model: DQModel) -> DataFrame:
    """Items of crowded tuples, with their rank in the tuple.

    It counts from 1, behind the published items of the tuple.
    """
    schema = to_arrow_schema(items.schema).append(pa.field("exact", pa.float64()))
    exact = mapped(items, partial(measured, model=model), schema)
    order: list[Column] = [F.col("exact"), F.col(ID)]
    if PRIORITY in items.columns:
        order.insert(0, F.col(PRIORITY).desc())
    window = Window.partitionBy("tuple").orderBy(*order)
    return exact.withColumn("rank", F.col("before") + F.row_number().over(window))
