"""Models from DataFrames, and their tokens."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from dqindex._parameters import callback, checked, instance, or_none, text
from dqindex._types import Progress, no_progress
from dqindex.partitions import survey as looks
from dqindex.partitions.coding import encoded
from dqindex.partitions.columns import ID, VECTOR
from dqindex.partitions.settings import model_of
from dqindex.partitions.survey import Survey, least, survey
from dqindex.quantizer.model import DQModel
from dqindex.spark.frames import mapped, read_columns


@checked(vector_column=or_none(text()), id_column=or_none(text()), progress=or_none(callback()))
def fit(
    df: DataFrame,
    *,
    vector_column: str | None = None,
    id_column: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> DQModel:
    """The model that `dqindex.semantic_ids` would learn of the rows of `df`.

    Two passes: one that checks all vectors, one for the sample, which alone comes to the driver.

    Parameters
    ----------
    df : DataFrame
    vector_column, id_column : str, optional
        As in `dqindex.open_vectors`. Ids are needed: they decide who is in the sample.
    progress : callable, optional
        Called with (what, done, total).
    **settings
        Of the model, as in `dqindex.semantic_ids`: method, n_subspaces, n_codewords, coarse,
        polish, beam, block_widths, block_scale, balance, seed.

    Raises
    ------
    InputError, NonFiniteError, RangeError
        If a vector can't be used, named by its id, or a setting is unknown.
    """
    frame, _ = read_columns(df, vector_column, id_column)
    model = model_of(settings)
    return fit_model(frame, model, surveyed(frame), progress or no_progress)


def surveyed(frame: DataFrame) -> Survey:
    """Look at all rows; refuse what can't be used.

    Raises
    ------
    InputError, NonFiniteError, RangeError
    """
    summed = (
        mapped(frame, survey, looks.SCHEMA)
        .groupBy("d", "kind")
        .agg(F.sum("n").alias("n"), F.max("norm").alias("norm"), F.min("problem").alias("problem"))
    )
    return looks.total(summed.toArrow().select(looks.SCHEMA.names).cast(looks.SCHEMA))


def sample_of(frame: DataFrame, k: int, n: int, seed: int) -> pa.Table:
    """Ids and vectors of rows among which are the `k` of the least hashes."""
    schema = to_arrow_schema(frame.select(ID, VECTOR).schema)
    return least(lambda function: mapped(frame, function, schema).toArrow(), k, n, seed)


def fit_model(frame: DataFrame, model: DQModel, seen: Survey, report: Progress) -> DQModel:
    """`model`, fitted to a sample of `frame`."""
    model.check_settings(seen.d)
    sample = sample_of(frame, model.training_rows(seen.d), seen.n, model.seed)
    return model.fit_parts([sample], progress=report)


@checked(model=instance(DQModel), vector_column=or_none(text()), id_column=or_none(text()))
def encode(
    df: DataFrame,
    model: DQModel,
    *,
    vector_column: str | None = None,
    id_column: str | None = None,
) -> DataFrame:
    """Tokens of the rows of `df`: item_id, codes (array of int) and distortion (float).

    Nothing runs before the rows are asked for; a vector that can't be used, named by its id, then
    fails the job.

    Parameters
    ----------
    df : DataFrame
    model : DQModel
        Fitted. It travels with the job; the executors need dqindex.
    vector_column, id_column : str, optional
        As in `fit`.
    """
    model.code_sizes()
    frame, columns = read_columns(df, vector_column, id_column)
    schema = pa.schema(
        [
            (ID, columns.kind),
            ("codes", pa.list_(pa.int32())),
            ("distortion", pa.float32()),
        ]
    )
    made = mapped(frame, partial(encoded, model=model), schema)
    return made.withColumn(ID, F.col(ID).cast(df.schema[columns.ids].dataType))
