"""Tuples of the items of a Dataset, and how they become unique."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from dqindex._types import Progress
from dqindex.partitions.coding import addressed, based, measured, published
from dqindex.partitions.columns import ID, Columns
from dqindex.partitions.crowds import contending, counted, crowded, granted, ranked
from dqindex.partitions.how import How
from dqindex.partitions.neighbours import cut
from dqindex.partitions.settings import refuse_repeated
from dqindex.quantizer.model import DQModel
from dqindex.ray.post import RayPost
from dqindex.ray.tables import Tables, call, each, exchanged, whole
from dqindex.sids.letters import spread, unpacked
from dqindex.sids.rounds import resolve
from dqindex.vectors.id_hash import id_hashes


def shared(table: pa.Table, parts: int) -> pa.Table:
    """The table with a column ``share``: to which part an id belongs."""
    share = id_hashes(table[ID].combine_chunks(), 0) % np.uint64(parts)
    return table.append_column("share", pa.array(share.astype(np.int64)))


def check_distinct(blocks: Tables, parts: int) -> None:
    """Refuse ids that stand more than once.

    Raises
    ------
    InputError
    """
    pieces = exchanged(ids_of(blocks, parts), "share", parts)
    found = ray.get([call(partial(whole, _twice, ()), *some) for some in pieces])
    twice = sum(number for number, _ in found)
    if twice:
        first, times = min(example for number, example in found if number)
        refuse_repeated(twice, first, times)


def ids_of(blocks: Tables, parts: int) -> Tables:
    """The ids of each block, and to which part each belongs."""
    return each(blocks, _ids, parts)


def _ids(table: pa.Table, parts: int) -> pa.Table:
    return shared(table.select([ID]), parts)


def _twice(table: pa.Table) -> tuple[int, tuple[Any, int] | None]:
    counts = table.group_by(ID).aggregate([([], "count_all")])
    more = counts.filter(pc.greater(counts["count_all"], 1)).sort_by(ID)
    if not more.num_rows:
        return 0, None
    return more.num_rows, (more[ID][0].as_py(), more["count_all"][0].as_py())


def _base(table: pa.Table, model: DQModel, parts: int) -> pa.Table:
    made = based(table, model)
    bucket = spread(unpacked(made["tuple"], model.code_sizes()), parts)
    return shared(made.append_column("bucket", pa.array(bucket)), parts)


def published_of(
    blocks: Tables,
    columns: Columns,
    how: How,
    parts: int,
    report: Progress,
    before: Tables | None = None,
) -> Tables:
    """The map of the items of `blocks`, whose tuples are made unique in their way.

    Parameters
    ----------
    blocks : list of references
        Ids, vectors and priorities.
    columns : Columns
    how : How
    parts : int
        Of what is exchanged.
    report : callable
    before : list of references, optional
        Columns tuple and bucket: one row for each item that is published already.
    """
    sizes = how.model.code_sizes()
    model = ray.put(how.model)
    base = each(blocks, _base, model, parts)
    given, names = _given(base, blocks, (model, columns.kind), how, parts, report, before)
    joined = zip(exchanged(base, "share", parts), exchanged(given, "share", parts), strict=True)
    return [
        call(partial(_published, sizes, names, len(ours)), *ours, *theirs)
        for ours, theirs in joined
    ]


def _given(
    base: Tables,
    blocks: Tables,
    kinds: tuple[Any, pa.DataType],
    how: How,
    parts: int,
    report: Progress,
    before: Tables | None,
) -> tuple[Tables, list[str]]:
    """What some of the items are given, and the names of the columns that say it."""
    _, unique, cap, keep = how
    if unique == "none":
        return [], []
    model, kind = kinds
    taken, ranks = _ranks(base, blocks, model, cap, parts, before or [])
    if unique == "suffix":
        return each(ranks, _suffix, parts), ["suffix"]
    waiting = each(ranks, _waiting, cap)
    n = sum(ray.get(each(waiting, len)))
    if not n:
        return [], []
    cuts = cut(
        lambda draw: pa.concat_tables(ray.get(each(waiting, draw))), n, how.model.n_features_in_
    )
    items = each(waiting, addressed, cuts, kind)
    wishes = resolve(RayPost(model, cap, keep, taken), items, report)
    return each(wishes, _granted, parts), ["wanted", "lost"]


def _ranks(
    base: Tables, blocks: Tables, model: Any, cap: int, parts: int, before: Tables
) -> tuple[Tables, Tables]:
    """Of each bucket: how many items each tuple has, and the items of the crowded ones, ranked."""
    tuples = exchanged(each(base, pa.Table.select, ["tuple", "bucket"]), "bucket", parts)
    old = exchanged(before, "bucket", parts)
    taken = [
        call(partial(_counted, len(ours)), *ours, *theirs)
        for ours, theirs in zip(tuples, old, strict=True)
    ]
    own = []
    for place, (block, codes) in enumerate(zip(blocks, base, strict=True)):
        crowds = [
            call(crowded, counts, pieces[place], cap)
            for counts, pieces in zip(taken, tuples, strict=True)
        ]
        own.append(call(_contending, block, codes, model, *crowds))
    by_bucket = exchanged(own, "bucket", parts)
    return taken, [call(partial(whole, ranked, ()), *pieces) for pieces in by_bucket]


def _counted(ours: int, *pieces: pa.Table) -> pa.Table:
    new = pa.concat_tables(pieces[:ours])
    return counted(new, pa.concat_tables([new.slice(0, 0), *pieces[ours:]]))


def _contending(frame: pa.Table, base: pa.Table, model: DQModel, *crowds: pa.Table) -> pa.Table:
    return measured(contending(frame, base, crowds), model)


def _waiting(table: pa.Table, cap: int) -> pa.Table:
    return table.filter(pc.greater(table["rank"], cap))


def _suffix(table: pa.Table, parts: int) -> pa.Table:
    last = pc.subtract(table["rank"], 1).cast(pa.int32())
    return shared(pa.table({ID: table[ID], "suffix": last}), parts)


def _granted(wishes: pa.Table, parts: int) -> pa.Table:
    made = pa.table({ID: wishes["id"], "wanted": wishes["tuple"], "lost": wishes["lost"]})
    return shared(made, parts)


def _published(sizes: list[int], names: list[str], ours: int, *pieces: pa.Table) -> pa.Table:
    base = pa.concat_tables(pieces[:ours])
    if names:
        base = granted(base, pa.concat_tables(pieces[ours:]), names)
    if "suffix" in names:
        place = base.column_names.index("suffix")
        base = base.set_column(place, "suffix", pc.fill_null(base["suffix"], 0))
    return published(base, sizes)
