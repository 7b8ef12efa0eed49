"""Models from Ray's datasets, and their tokens."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa

from dqindex._parameters import callback, checked, instance, or_none, text
from dqindex._types import Progress, no_progress
from dqindex.partitions import survey as looks
from dqindex.partitions.coding import encoded
from dqindex.partitions.settings import model_of
from dqindex.partitions.survey import Survey, least, survey
from dqindex.quantizer.model import DQModel
from dqindex.ray.tables import read_columns


@checked(vector_column=or_none(text()), id_column=or_none(text()), progress=or_none(callback()))
def fit(
    ds: Any,
    *,
    vector_column: str | None = None,
    id_column: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> DQModel:
    """The model that `dqindex.semantic_ids` would learn of the rows of `ds`.

    As `dqindex.spark.fit`, of a `ray.data.Dataset`.
    """
    frame, _ = read_columns(ds, vector_column, id_column)
    model = model_of(settings)
    return fit_model(frame, model, surveyed(frame), progress or no_progress)


def surveyed(frame: Any) -> Survey:
    """Look at all rows; refuse what can't be used.

    Raises
    ------
    InputError, NonFiniteError, RangeError
    """
    return looks.total(_gathered(frame, survey, looks.SCHEMA))


def _gathered(frame: Any, function: Any, schema: pa.Schema) -> pa.Table:
    """`function` of all batches, as one table here."""
    made = frame.map_batches(function, batch_format="pyarrow")
    tables = [
        table.select(schema.names).cast(schema)
        for table in made.iter_batches(batch_size=None, batch_format="pyarrow")
        if table.num_rows
    ]
    return pa.concat_tables([schema.empty_table(), *tables])


def sample_of(frame: Any, k: int, n: int, seed: int) -> pa.Table:
    """Ids and vectors of rows among which are the `k` of the least hashes."""
    schema = frame.schema().base_schema
    return least(lambda function: _gathered(frame, function, schema), k, n, seed)


def fit_model(frame: Any, model: DQModel, seen: Survey, report: Progress) -> DQModel:
    """`model`, fitted to a sample of `frame`."""
    model.check_settings(seen.d)
    sample = sample_of(frame, model.training_rows(seen.d), seen.n, model.seed)
    return model.fit_parts([sample], progress=report)


@checked(model=instance(DQModel), vector_column=or_none(text()), id_column=or_none(text()))
def encode(
    ds: Any,
    model: DQModel,
    *,
    vector_column: str | None = None,
    id_column: str | None = None,
) -> Any:
    """Tokens of the rows of `ds`: a Dataset of item_id, codes and distortion, made when it is read.

    As `dqindex.spark.encode`, of a `ray.data.Dataset`.
    """
    model.code_sizes()
    frame, _ = read_columns(ds, vector_column, id_column)
    return frame.map_batches(partial(encoded, model=model), batch_format="pyarrow")
