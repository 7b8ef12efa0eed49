"""Unique semantic IDs of a DataFrame."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from dqindex._parameters import callback, checked, instance, integer, one_of, or_none, text
from dqindex._types import Progress, no_progress
from dqindex.partitions.coding import PLACE_ITEMS, addressed, based, measured, published
from dqindex.partitions.columns import ID, PRIORITY, VECTOR, Columns
from dqindex.partitions.settings import check_room, check_width, chosen, refuse_repeated
from dqindex.quantizer.model import DQModel
from dqindex.sids.extract import check_mode
from dqindex.sids.letters import schema_of
from dqindex.sids.rounds import resolve
from dqindex.sids.unique import MODES
from dqindex.spark.frames import held, mapped, read_columns
from dqindex.spark.models import fit_model, surveyed
from dqindex.spark.post import SparkPost


@checked(
    model=or_none(instance(DQModel)),
    unique=one_of(*MODES),
    cap=integer(1),
    keep=or_none(integer(0)),
    priority=or_none(text()),
    vector_column=or_none(text()),
    id_column=or_none(text()),
    progress=or_none(callback()),
)
def semantic_ids(
    df: DataFrame,
    *,
    model: DQModel | None = None,
    unique: str = "reassign",
    cap: int = 1,
    keep: int | None = None,
    priority: str | None = None,
    vector_column: str | None = None,
    id_column: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> DataFrame:
    """Semantic IDs of a catalogue: those of `dqindex.semantic_ids`, row for row.

    Collisions are resolved on the executors, in rounds (`dqindex.sids.rounds`); the driver sees the
    sample that a model is fitted to, and counts. What is needed twice is kept by
    `DataFrame.checkpoint` where the session has a folder for it, and then survives the loss of an
    executor; else by `localCheckpoint`, and then the job fails.

    Parameters
    ----------
    df : DataFrame
    model, unique, cap, keep
        As in `dqindex.semantic_ids`.
    priority : str, optional
        The column of priorities.
    vector_column, id_column : str, optional
        As in `dqindex.open_vectors`; ids are needed.
    progress : callable, optional
        Called with (what, done, total): "train", and "round" with no total.
    **settings
        Of the model that is fitted, where none is given: as in `fit`.

    Returns
    -------
    DataFrame
        item_id, codes, base_codes (arrays of int) and distortion (float), in any order. Codes are
        those of one machine; distortions are, but for rounding in float32.

    Raises
    ------
    InputError
        If there are more items than tuples, ids are not distinct, or a setting is unknown.
    NonFiniteError, RangeError
        If a vector can't be used, named by its id.
    """
    check_mode(unique, cap, keep)
    frame, columns = read_columns(df, vector_column, id_column, priority)
    model, kept = chosen(model, settings, unique, keep)
    seen = surveyed(frame)
    check_room(model, seen.n, unique, cap)
    _check_distinct(frame)
    report = progress or no_progress
    if not model.__sklearn_is_fitted__():
        fit_model(frame, model, seen, report)
    else:
        check_width(model, seen.d)
    base = held(_based(frame, model, columns))
    found = _resolved(base, frame, model, columns, (unique, cap, kept), report)
    made = mapped(found, partial(published, sizes=model.code_sizes()), _map_schema(columns))
    return made.withColumn(ID, F.col(ID).cast(df.schema[columns.ids].dataType))


def _map_schema(columns: Columns) -> pa.Schema:
    codes = pa.list_(pa.int32())
    return pa.schema(
        [(ID, columns.kind), ("codes", codes), ("base_codes", codes), ("distortion", pa.float32())]
    )


def _check_distinct(frame: DataFrame) -> None:
    twice = frame.groupBy(ID).count().filter("count > 1")
    first = twice.orderBy(ID).limit(1).collect()
    if first:
        refuse_repeated(twice.count(), *first[0])


def _based(frame: DataFrame, model: DQModel, columns: Columns) -> DataFrame:
    schema = pa.schema([(ID, columns.kind), ("tuple", pa.binary()), ("distortion", pa.float32())])
    return mapped(frame.select(ID, VECTOR), partial(based, model=model), schema)


def _resolved(
    base: DataFrame,
    frame: DataFrame,
    model: DQModel,
    columns: Columns,
    how: tuple[str, int, int],
    report: Progress,
) -> DataFrame:
    """`base` with the columns that `published` reads for its way of making tuples unique."""
    unique, cap, keep = how
    if unique == "none":
        return base
    counts = held(base.groupBy("tuple").agg(F.count("*").alias("n")))
    ranked = _ranked(base, frame, counts.filter(F.col("n") > cap), model)
    if unique == "suffix":
        last = ranked.select(ID, (F.col("rank") - 1).cast("int").alias("suffix"))
        return base.join(last, ID, "left").fillna({"suffix": 0})
    waiting = held(ranked.filter(F.col("rank") > cap).drop("rank"))
    places = -(-waiting.count() // PLACE_ITEMS)
    if not places:
        return base
    schema = schema_of(columns.kind)
    sizes = model.code_sizes()
    items = mapped(
        waiting,
        partial(addressed, sizes=sizes, keep=keep, places=places, kind=columns.kind),
        schema,
    )
    post = SparkPost(model, cap, keep, counts, places, schema)
    wishes = resolve(post, held(items), report)
    granted = wishes.select(F.col("id").alias(ID), F.col("tuple").alias("wanted"), F.col("lost"))
    return base.join(granted, ID, "left")


def _ranked(base: DataFrame, frame: DataFrame, crowded: DataFrame, model: DQModel) -> DataFrame:
    """The items of crowded tuples, with their vectors, and their rank in the tuple, from 1."""
    shared = base.join(crowded.withColumnRenamed("n", "crowd"), "tuple").drop("distortion")
    whole = shared.join(frame, ID)
    schema = to_arrow_schema(whole.schema).append(pa.field("exact", pa.float64()))
    exact = mapped(whole, partial(measured, model=model), schema)
    order: list[Column] = [F.col("exact"), F.col(ID)]
    if PRIORITY in frame.columns:
        order.insert(0, F.col(PRIORITY).desc())
    window = Window.partitionBy("tuple").orderBy(*order)
    return exact.withColumn("rank", F.row_number().over(window))
