"""New items of a DataFrame under the frozen model of a published map."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_type

from dqindex._parameters import callback, checked, instance, integer, one_of, or_none, text
from dqindex._types import Progress, no_progress
from dqindex.partitions.columns import ID
from dqindex.partitions.maps import refuse_known, taken_tuples
from dqindex.partitions.published import published_map
from dqindex.quantizer.model import DQModel
from dqindex.sids.unique import MODES
from dqindex.spark.collisions import based_of, check_distinct, published_of
from dqindex.spark.engine import SparkEngine
from dqindex.spark.frames import mapped, read_columns
from dqindex.spark.maps import rows_of
from dqindex.spark.models import surveyed


@checked(
    model=or_none(instance(DQModel)),
    unique=or_none(one_of(*MODES)),
    cap=or_none(integer(1)),
    keep=or_none(integer(0)),
    priority=or_none(text()),
    vector_column=or_none(text()),
    id_column=or_none(text()),
    progress=or_none(callback()),
)
def append(
    sids: Any,
    df: DataFrame,
    *,
    model: DQModel | None = None,
    unique: str | None = None,
    cap: int | None = None,
    keep: int | None = None,
    priority: str | None = None,
    vector_column: str | None = None,
    id_column: str | None = None,
    progress: Progress | None = None,
) -> tuple[DataFrame, DataFrame]:
    """New items under the frozen model of a published map, as `SemanticIds.append` adds them.

    No published ID moves. What is published stays where it lies: the driver sees counts.

    Parameters
    ----------
    sids : DataFrame, SemanticIds, path or URI
        What is published: a DataFrame that `semantic_ids` or `append` made, a map in memory, or the
        file of one, which the executors read group by group (its pages are verified; the checksum
        of all rows is not).
    df : DataFrame
        The new items; their ids must be new, and of the type of the map's.
    model : DQModel, optional
        The model that made the map. Of a map in memory its own, of a file the one that lies beside
        it, by default.
    unique, cap, keep
        Of a DataFrame: as `semantic_ids` was told. A map in memory or in a file says them itself.
    priority, vector_column, id_column, progress
        As in `semantic_ids`.

    Returns
    -------
    whole : DataFrame
        The published items and the new ones: item_id, codes, base_codes, distortion.
    delta : DataFrame
        The new ones alone.

    Raises
    ------
    InputError
        If an id is in the map already, or there is no room, or the map is not the model's.
    NonFiniteError, RangeError
        If a vector can't be used, named by its id.
    StorageError, FileFormatError, IntegrityError
        If a file is missing or damaged.
    """
    frame, columns = read_columns(df, vector_column, id_column, priority)
    rows = partial(rows_of, session=df.sparkSession)
    before = published_map(sids, columns.kind, DataFrame, rows, model, unique, cap, keep)
    seen = surveyed(frame)
    n = before.admit(seen, SparkEngine())
    check_distinct(frame)
    _check_new(frame, before.rows)
    schema = pa.schema([(ID, columns.kind), ("tuple", pa.binary())])
    taken = mapped(before.rows, partial(taken_tuples, how=before.how), schema)
    base = based_of(frame, before.how.model, columns)
    report = progress or no_progress
    delta = published_of(base, frame, columns, before.how, report, seen.n, taken, n)
    kind = from_arrow_type(columns.kind)
    if isinstance(sids, DataFrame) and sids.schema[ID] == df.schema[columns.ids]:
        kind = sids.schema[ID].dataType
    whole = before.rows.unionByName(delta)
    as_given = F.col(ID).cast(kind)
    return whole.withColumn(ID, as_given), delta.withColumn(ID, as_given)


def _check_new(frame: DataFrame, published: DataFrame) -> None:
    known = frame.select(ID).join(published.select(ID), ID, "left_semi")
    first = known.orderBy(ID).limit(1).collect()
    if first:
        refuse_known(known.count(), first[0][0])
