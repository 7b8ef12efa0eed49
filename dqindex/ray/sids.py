"""Unique semantic IDs of a Dataset of Ray."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from dqindex._parameters import callback, checked, instance, integer, one_of, or_none, text
from dqindex._types import Progress, no_progress
from dqindex.partitions.coding import PLACE_ITEMS, addressed, based, measured, published
from dqindex.partitions.columns import ID
from dqindex.partitions.crowds import contending, counted, crowded, granted, ranked
from dqindex.partitions.settings import check_room, check_width, chosen, refuse_repeated
from dqindex.quantizer.model import DQModel
from dqindex.ray.models import fit_model, surveyed
from dqindex.ray.post import RayPost
from dqindex.ray.tables import Tables, call, each, exchanged, read_columns, whole
from dqindex.sids.extract import check_mode
from dqindex.sids.letters import spread, unpacked
from dqindex.sids.rounds import resolve
from dqindex.sids.unique import MODES
from dqindex.vectors.id_hash import id_hashes

# Parts of what is exchanged, for each CPU.
PARTS_A_CPU = 2


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
    parts = max(1, int(PARTS_A_CPU * ray.cluster_resources().get("CPU", 1)))
    blocks = [one for one in frame.to_arrow_refs() if one is not None]
    _check_distinct(blocks, parts)
    report = progress or no_progress
    if not model.__sklearn_is_fitted__():
        fit_model(frame, model, seen, report)
    else:
        check_width(model, seen.d)
    sent, sizes = ray.put(model), model.code_sizes()
    base = each(blocks, _base, sent, parts)
    how = unique, cap, kept
    given, names = _given(base, blocks, sent, (sizes, columns.kind), how, parts, report)
    joined = zip(exchanged(base, "share", parts), exchanged(given, "share", parts), strict=True)
    made = [
        call(partial(_published, sizes, names, len(ours)), *ours, *theirs)
        for ours, theirs in joined
    ]
    return ray.data.from_arrow_refs(made)


def _shared(table: pa.Table, ids: str, parts: int) -> pa.Table:
    """The table with a column ``share``: to which part an id belongs."""
    share = id_hashes(table[ids].combine_chunks(), 0) % np.uint64(parts)
    return table.append_column("share", pa.array(share.astype(np.int64)))


def _check_distinct(blocks: Tables, parts: int) -> None:
    ids = [call(partial(_ids, parts), block) for block in blocks]
    pieces = exchanged(ids, "share", parts)
    found = ray.get([call(partial(whole, _twice, ()), *some) for some in pieces])
    twice = sum(number for number, _ in found)
    if twice:
        first, times = min(example for number, example in found if number)
        refuse_repeated(twice, first, times)


def _ids(parts: int, table: pa.Table) -> pa.Table:
    return _shared(table.select([ID]), ID, parts)


def _twice(table: pa.Table) -> tuple[int, tuple[Any, int] | None]:
    counts = table.group_by(ID).aggregate([([], "count_all")])
    more = counts.filter(pc.greater(counts["count_all"], 1)).sort_by(ID)
    if not more.num_rows:
        return 0, None
    return more.num_rows, (more[ID][0].as_py(), more["count_all"][0].as_py())


def _base(table: pa.Table, model: DQModel, parts: int) -> pa.Table:
    made = based(table, model)
    bucket = spread(unpacked(made["tuple"], model.code_sizes()), parts)
    return _shared(made.append_column("bucket", pa.array(bucket)), ID, parts)


def _given(
    base: Tables,
    blocks: Tables,
    model: Any,
    kinds: tuple[list[int], pa.DataType],
    how: tuple[str, int, int],
    parts: int,
    report: Progress,
) -> tuple[Tables, list[str]]:
    """What some of the items are given, and the names of the columns that say it."""
    unique, cap, keep = how
    if unique == "none":
        return [], []
    sizes, kind = kinds
    taken, ranks = _ranks(base, blocks, model, cap, parts)
    if unique == "suffix":
        return each(ranks, _suffix, parts), ["suffix"]
    waiting = each(ranks, _waiting, cap)
    places = -(-sum(ray.get(each(waiting, len))) // PLACE_ITEMS)
    if not places:
        return [], []
    items = each(waiting, addressed, sizes, keep, places, kind)
    wishes = resolve(RayPost(model, cap, keep, taken), items, report)
    return each(wishes, _granted, parts), ["wanted", "lost"]


def _ranks(base: Tables, blocks: Tables, model: Any, cap: int, parts: int) -> tuple[Tables, Tables]:
    """Of each bucket: how many items each tuple has, and the items of the crowded ones, ranked."""
    tuples = exchanged(each(base, pa.Table.select, ["tuple", "bucket"]), "bucket", parts)
    taken = [call(partial(whole, counted, ()), *pieces) for pieces in tuples]
    own = []
    for place, (block, codes) in enumerate(zip(blocks, base, strict=True)):
        crowds = [
            call(crowded, counts, pieces[place], cap)
            for counts, pieces in zip(taken, tuples, strict=True)
        ]
        own.append(call(_contending, block, codes, model, *crowds))
    by_bucket = exchanged(own, "bucket", parts)
    return taken, [call(partial(whole, ranked, ()), *pieces) for pieces in by_bucket]


def _contending(frame: pa.Table, base: pa.Table, model: DQModel, *crowds: pa.Table) -> pa.Table:
    return measured(contending(frame, base, crowds), model)


def _waiting(table: pa.Table, cap: int) -> pa.Table:
    return table.filter(pc.greater(table["rank"], cap))


def _suffix(table: pa.Table, parts: int) -> pa.Table:
    last = pc.subtract(table["rank"], 1).cast(pa.int32())
    return _shared(pa.table({ID: table[ID], "suffix": last}), ID, parts)


def _granted(wishes: pa.Table, parts: int) -> pa.Table:
    made = pa.table({ID: wishes["id"], "wanted": wishes["tuple"], "lost": wishes["lost"]})
    return _shared(made, ID, parts)


def _published(sizes: list[int], names: list[str], ours: int, *pieces: pa.Table) -> pa.Table:
    base = pa.concat_tables(pieces[:ours])
    if names:
        base = granted(base, pa.concat_tables(pieces[ours:]), names)
    if "suffix" in names:
        place = base.column_names.index("suffix")
        base = base.set_column(place, "suffix", pc.fill_null(base["suffix"], 0))
    return published(base, sizes)
