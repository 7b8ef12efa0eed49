"""New items under a frozen model: no published ID moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._parameters import callback, checked, or_none, thread_count, unbounded
from dqindex._types import Float64, Progress, no_progress
from dqindex.errors import InputError
from dqindex.parallel.threads import thread_limit
from dqindex.sids.extract import AnyMap, encode, resolve
from dqindex.sids.map import SidMap
from dqindex.sids.matching import in_one_type
from dqindex.sids.priority import read_priority
from dqindex.sids.unique import REASSIGNING, check_capacity
from dqindex.vectors import VectorSource, open_vectors


@checked(
    threads=thread_count(),
    block_rows=or_none(unbounded(1)),
    progress=or_none(callback()),
)
def append(
    sids: AnyMap,
    vectors: Any,
    ids: Any = None,
    *,
    priority: Any = None,
    threads: int | None = None,
    block_rows: int | None = None,
    progress: Progress | None = None,
) -> tuple[AnyMap, AnyMap]:
    """New items under the frozen model of a published map; no published ID moves.

    Parameters
    ----------
    sids : SidMap
        With its model attached.
    vectors, ids
        Of the new items; ids must be new, and of the map's type.
    priority
        Of the new items, as in `semantic_ids`: which of them come first. Published ones keep their
        IDs whatever it is.

    Returns
    -------
    whole : SidMap
        The published items, unchanged and first, then the new ones.
    delta : SidMap
        The new ones alone.

    Raises
    ------
    InputError
        If an id is in the map already, ids are of another type, or there is no room.
    """
    model = sids.need_model()
    report = progress or no_progress
    source = open_vectors(vectors, ids=ids)
    new_ids, old_ids = _new_ids(sids, source)
    numbers = read_priority(priority, source)
    if numbers is None and sids.priority is not None:
        numbers = np.full(source.n, np.nan)
    if sids.unique in REASSIGNING:
        check_capacity(len(sids) + source.n, model.code_sizes(), sids.cap)
    with thread_limit(threads):
        codes, distortion = encode(source, model, block_rows, report)
        fresh = replace(
            sids,
            codes=codes,
            base_codes=codes,
            distortion=distortion,
            sizes=model.code_sizes(),
            ids=new_ids,
            priority=numbers,
            duplicates=None,
        )
        taken = sids.base_codes if sids.unique == "suffix" else sids.codes
        delta = resolve(fresh, source, taken=taken, report=report)
    sizes = [max(pair) for pair in zip(sids.sizes, delta.sizes, strict=True)]
    delta = replace(delta, sizes=sizes)
    whole = replace(
        sids,
        codes=np.concatenate([sids.codes, delta.codes]),
        base_codes=np.concatenate([sids.base_codes, delta.base_codes]),
        distortion=np.concatenate([sids.distortion, delta.distortion]),
        ids=None if old_ids is None else pa.concat_arrays([old_ids, new_ids]),
        sizes=sizes,
        priority=_joined(sids, numbers),
        duplicates=None,
    )
    return whole, delta


def _joined(sids: SidMap, numbers: Float64 | None) -> Float64 | None:
    """Priorities of the published items, then `numbers`; NaN for those that have none."""
    if numbers is None:
        return None
    before = np.full(len(sids), np.nan) if sids.priority is None else sids.priority
    return np.concatenate([before, numbers])


def _new_ids(sids: SidMap, source: VectorSource) -> tuple[pa.Array, pa.Array | None]:
    """Ids of the new items, and of the old ones, in one type; None where rows are the ids."""
    if sids.ids is None:
        if source.ids is not None:
            raise InputError(
                f"{source.name}: the new items have ids, but the map's are row numbers; extract "
                "the map with ids"
            )
        return pa.array(np.arange(len(sids), len(sids) + source.n)), None
    if source.ids is None:
        raise InputError(f"{source.name}: the new items need ids, as those of the map have")
    ids, old = in_one_type(source.ids, sids.ids, source.name)
    known = pc.is_in(ids, value_set=old)
    twice = pc.sum(known).as_py() or 0
    if twice:
        first = ids.filter(known)[0].as_py()
        raise InputError(
            f"{source.name}: {twice} ids are in the map already, for example {first!r}; append "
            "new items only, or refit"
        )
    return ids, old
