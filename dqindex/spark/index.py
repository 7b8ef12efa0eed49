"""An index of the rows of a DataFrame: trained on the driver, filled by the executors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema

from dqindex._parameters import (
    callback,
    checked,
    integer,
    number_at_least,
    one_of,
    or_none,
    path,
    text,
    unbounded,
)
from dqindex._types import METRICS, Progress, no_progress
from dqindex.index import build
from dqindex.index.index import DQIndex
from dqindex.partitions.columns import ID, VECTOR
from dqindex.partitions.shards import Shipped, merge_shards, shard, shipped
from dqindex.quantizer.balance import OBJECTIVES
from dqindex.spark.frames import held, read_columns
from dqindex.spark.models import sample_of, surveyed

SHARD = pa.schema([("index", pa.binary()), ("ids", pa.binary())])


@checked(
    spec=text(),
    path=path(),
    metric=one_of(*METRICS),
    balance=one_of(*OBJECTIVES),
    polish=integer(0),
    score_aware=number_at_least(1),
    seed=unbounded(0),
    vector_column=or_none(text()),
    id_column=or_none(text()),
    progress=or_none(callback()),
)
def build_index(
    df: DataFrame,
    spec: str,
    path: str | Path,
    *,
    metric: str = "l2",
    balance: str = "log-variance",
    covariance: str | None = None,
    polish: int = 0,
    score_aware: float = 1.0,
    seed: int = 0,
    vector_column: str | None = None,
    id_column: str | None = None,
    progress: Progress | None = None,
) -> DQIndex:
    """Build an index of the rows of `df`, and publish it to `path`.

    The driver trains on the same sample as `dqindex.build_index`. With that training the executors
    build one shard for each partition, and the driver merges the shards in the order of the
    partitions, with one shard in memory at a time. So the lists hold the same vectors as on one
    machine, in the order of the partitions.

    Parameters
    ----------
    df : DataFrame
    spec, metric, balance, covariance, polish, score_aware, seed
        As in `dqindex.build_index`.
    path : path or URI
        As in `DQIndex.save`.
    vector_column, id_column : str, optional
        As in `dqindex.open_vectors`; ids are needed.
    progress : callable, optional
        Called with (what, done, total).

    Returns
    -------
    DQIndex
        As it was published.

    Raises
    ------
    SpecError, InputError, NonFiniteError, RangeError
        As `dqindex.build_index` raises them; a vector is named by its id.
    BusyError, StorageError
        If another process is writing there, or it can't be written; what stood there is untouched.
    """
    frame, _ = read_columns(df, vector_column, id_column)
    seen = surveyed(frame)
    sample = sample_of(frame, build.sample_rows(spec, metric, seen.d, seen.n), seen.n, seed)
    trained = build.build_index(
        sample,
        spec,
        metric=metric,
        balance=balance,
        covariance=covariance,
        polish=polish,
        score_aware=score_aware,
        seed=seed,
        progress=progress or no_progress,
    )
    like = shipped(trained, empty=True)

    def fill(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        made = shard(batches, like)
        if made is not None:
            yield pa.RecordBatch.from_arrays(
                [pa.array([made.content], pa.binary()), pa.array([made.ids], pa.binary())],
                schema=SHARD,
            )

    # Made by all executors at once: the driver, which asks for them one by one, would else wait for
    # one at a time.
    shards = held(frame.select(ID, VECTOR).mapInArrow(fill, from_arrow_schema(SHARD)))
    merged = merge_shards(_shards(shards, like))
    merged.save(path)
    return merged


def _shards(rows: Any, like: Shipped) -> Iterator[Shipped]:
    for row in rows.toLocalIterator():
        yield like._replace(content=bytes(row["index"]), ids=bytes(row["ids"]))
