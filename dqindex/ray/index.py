"""An index of the rows of a Dataset of Ray: trained here, filled by the workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from dqindex._parameters import (
    callback,
    checked,
    integer,
    number_at_least,
    one_of,
    or_none,
    text,
    unbounded,
)
from dqindex._parameters import path as a_path
from dqindex._types import METRICS, Progress, no_progress
from dqindex.index import build
from dqindex.index.index import DQIndex
from dqindex.partitions.shards import Shipped, merge_shards, shard, shipped
from dqindex.quantizer.balance import OBJECTIVES
from dqindex.ray.models import sample_of, surveyed
from dqindex.ray.tables import call, read_columns


@checked(
    spec=text(),
    path=a_path(),
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
    ds: Any,
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
    """Build an index of the rows of `ds`, and publish it to `path`: a shard a block.

    As `dqindex.spark.build_index`, of a `ray.data.Dataset`.
    """
    frame, _ = read_columns(ds, vector_column, id_column)
    frame = frame.materialize()
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
    like = ray.put(shipped(trained, empty=True))
    shards = [call(_shard, block, like) for block in frame.to_arrow_refs()]
    merged = merge_shards(_one_by_one(shards))
    merged.save(path)
    return merged


def _shard(table: pa.Table, like: Shipped) -> Shipped | None:
    return shard([table], like)


def _one_by_one(shards: list[Any]) -> Iterator[Shipped]:
    for place, reference in enumerate(shards):
        made = ray.get(reference)
        shards[place] = None
        if made is not None:
            yield made
