"""New items of a Dataset under the frozen model of a published map."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from dqindex._parameters import callback, checked, instance, integer, one_of, or_none, text
from dqindex._types import Progress, no_progress
from dqindex.partitions.columns import ID
from dqindex.partitions.how import How
from dqindex.partitions.maps import refuse_known, taken_tuples
from dqindex.partitions.published import published_map
from dqindex.quantizer.model import DQModel
from dqindex.ray.collisions import check_distinct, ids_of, published_of
from dqindex.ray.engine import RayEngine
from dqindex.ray.maps import rows_of
from dqindex.ray.models import surveyed
from dqindex.ray.tables import Tables, blocks_of, call, each, exchanged, parts_here, read_columns
from dqindex.sids.letters import spread, unpacked
from dqindex.sids.unique import MODES


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
    ds: Any,
    *,
    model: DQModel | None = None,
    unique: str | None = None,
    cap: int | None = None,
    keep: int | None = None,
    priority: str | None = None,
    vector_column: str | None = None,
    id_column: str | None = None,
    progress: Progress | None = None,
) -> tuple[Any, Any]:
    """New items under the frozen model of a published map, as `SemanticIds.append` adds them.

    As `dqindex.spark.append`, of Datasets of Ray, and gives those as well.
    """
    frame, columns = read_columns(ds, vector_column, id_column, priority)
    before = published_map(sids, columns.kind, ray.data.Dataset, rows_of, model, unique, cap, keep)
    frame = frame.materialize()
    parts, blocks = parts_here(), blocks_of(frame)
    before.admit(surveyed(frame), RayEngine(parts))
    check_distinct(blocks, parts)
    _check_new(blocks, before.rows, parts)
    taken = each(before.rows, _taken, ray.put(before.how), parts)
    delta = published_of(blocks, columns, before.how, parts, progress or no_progress, taken)
    return ray.data.from_arrow_refs(before.rows + delta), ray.data.from_arrow_refs(delta)


def _taken(table: pa.Table, how: How, parts: int) -> pa.Table:
    made = taken_tuples(table, how)
    bucket = spread(unpacked(made["tuple"], how.model.code_sizes()), parts)
    return made.select(["tuple"]).append_column("bucket", pa.array(bucket))


def _check_new(blocks: Tables, published: Tables, parts: int) -> None:
    new, old = (exchanged(ids_of(some, parts), "share", parts) for some in (blocks, published))
    found = ray.get(
        [
            call(partial(_known, len(ours)), *ours, *theirs)
            for ours, theirs in zip(new, old, strict=True)
        ]
    )
    known = sum(number for number, _ in found)
    if known:
        refuse_known(known, min(first for number, first in found if number))


def _known(ours: int, *pieces: pa.Table) -> tuple[int, Any]:
    new = pa.concat_tables(pieces[:ours])[ID].combine_chunks()
    if len(pieces) == ours:
        return 0, None
    old = pa.concat_tables(pieces[ours:])[ID].combine_chunks()
    known = new.filter(pc.is_in(new, value_set=old))
    return len(known), pc.min(known).as_py()
