"""Unique semantic IDs of a Dataset of Ray."""

from __future__ import annotations

from typing import Any

import ray
import ray.data

from dqindex._parameters import callback, checked, instance, integer, one_of, or_none, text
from dqindex._types import Progress, no_progress
from dqindex.partitions.how import How
from dqindex.partitions.settings import check_room, check_width, chosen
from dqindex.quantizer.model import DQModel
from dqindex.ray.collisions import check_distinct, published_of
from dqindex.ray.models import fit_model, surveyed
from dqindex.ray.tables import blocks_of, parts_here, read_columns
from dqindex.sids.extract import check_mode
from dqindex.sids.unique import MODES


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
    ds: Any,
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
) -> Any:
    """Semantic IDs of a catalogue: those of `dqindex.semantic_ids`, row for row.

    As `dqindex.spark.semantic_ids`, of a `ray.data.Dataset`, and gives one as well. Ids and vectors
    go through the object store, and from there to disk where it is full.
    """
    check_mode(unique, cap, keep)
    frame, columns = read_columns(ds, vector_column, id_column, priority)
    model, kept = chosen(model, settings, unique, keep)
    frame = frame.materialize()
    seen = surveyed(frame)
    check_room(model, seen.n, unique, cap)
    parts = parts_here()
    blocks = blocks_of(frame)
    check_distinct(blocks, parts)
    report = progress or no_progress
    if not model.__sklearn_is_fitted__():
        fit_model(frame, model, seen, report)
    else:
        check_width(model, seen.d)
    how = How(model, unique, cap, kept)
    return ray.data.from_arrow_refs(published_of(blocks, columns, how, parts, report))
