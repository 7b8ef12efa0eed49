"""Unique semantic IDs of a DataFrame."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dqindex._parameters import callback, checked, instance, integer, one_of, or_none, text
from dqindex._types import Progress, no_progress
from dqindex.partitions.columns import ID
from dqindex.partitions.how import How
from dqindex.partitions.settings import check_room, check_width, chosen
from dqindex.quantizer.model import DQModel
from dqindex.sids.extract import check_mode
from dqindex.sids.unique import MODES
from dqindex.spark.collisions import based_of, check_distinct, published_of
from dqindex.spark.frames import read_columns
from dqindex.spark.models import fit_model, surveyed


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
    check_distinct(frame)
    report = progress or no_progress
    if not model.__sklearn_is_fitted__():
        fit_model(frame, model, seen, report)
    else:
        check_width(model, seen.d)
    how = How(model, unique, cap, kept)
    made = published_of(based_of(frame, model, columns), frame, columns, how, report, seen.n)
    return made.withColumn(ID, F.col(ID).cast(df.schema[columns.ids].dataType))
