"""Vectors in, a map of unique semantic IDs out; and new items under a model that stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dqindex._types import Progress, Tokens
from dqindex.errors import InputError
from dqindex.quantizer.encoding import code_dtype
from dqindex.quantizer.model import DQModel
from dqindex.sids.duplicates import find_duplicates
from dqindex.sids.map import SidMap
from dqindex.sids.priority import read_priority
from dqindex.sids.shared import Gathered, gather_shared
from dqindex.sids.tuples import TupleSet
from dqindex.sids.unique import (
    REASSIGNING,
    canonical_order,
    check_capacity,
    contenders,
    reassign,
    suffixes,
    tokens_kept,
    tokens_kept_before,
)
from dqindex.vectors import VectorSource

AnyMap = TypeVar("AnyMap", bound=SidMap)


def extract(
    source: VectorSource,
    model: DQModel,
    *,
    unique: str = "reassign",
    cap: int = 1,
    keep: int | None = None,
    priority: Any = None,
    block_rows: int | None = None,
    report: Progress,
) -> SidMap:
    """The map of `source` under `model`, which is fitted here if it is not yet.

    All that can be refused is refused before anything is trained.

    Raises
    ------
    InputError, NonFiniteError
        As `dqindex.semantic_ids` says.
    """
    check_mode(unique, cap, keep)
    model.check_settings(source.d)
    sizes = model.level_sizes()
    if unique in REASSIGNING:
        check_capacity(source.n, sizes, cap)
        keep = tokens_kept(keep, len(model.coarse), sizes)
    _ = source.ids  # duplicates are found now, not after the training
    numbers = read_priority(priority, source)
    if not model.__sklearn_is_fitted__():
        source.check(block_rows, report)
        model.fit(source, progress=report)
    codes, distortion = encode(source, model, block_rows, report)
    made = SidMap(
        codes,
        codes,
        distortion,
        sizes,
        source.ids,
        model.fingerprint,
        unique=unique,
        cap=cap,
        keep=keep,
        priority=numbers,
        model=model,
    )
    return resolve(made, source, report=report)


def check_mode(unique: str, cap: int, keep: int | None) -> None:
    """Refuse settings that the way to resolve collisions has no use for.

    Raises
    ------
    InputError
    """
    if cap != 1 and unique != "cap":
        raise InputError(f"cap is {cap}, but unique is {unique!r}; use unique='cap'")
    if keep is not None and unique not in REASSIGNING:
        raise InputError(
            f"keep is {keep}, but unique is {unique!r}, which changes no token; leave it out"
        )


def encode(
    source: VectorSource,
    model: DQModel,
    block_rows: int | None,
    report: Progress,
) -> tuple[Tokens, npt.NDArray[np.float32]]:
    """Base tokens (n, T), and their distortion."""
    sizes = model.code_sizes()
    codes = np.empty((source.n, len(sizes)), dtype=code_dtype(max(sizes)))
    distortion = np.empty(source.n, dtype=np.float32)
    start = 0
    for part, errors in model.encode_blocks(source.blocks(block_rows), distortion=True):
        stop = start + len(part)
        codes[start:stop], distortion[start:stop] = part, errors
        start = stop
        report("encode", start, source.n)
    return codes, distortion


def resolve(
    made: AnyMap,
    source: VectorSource,
    *,
    taken: Tokens | None = None,
    report: Progress,
) -> AnyMap:
    """Apply ``made.unique`` to the base tokens; `taken` are the base or published tuples before."""
    first, reassigning = taken is None, made.unique in REASSIGNING
    if made.unique == "none" and not first:
        return made
    base, sizes = made.base_codes, made.need_model().code_sizes()
    known = TupleSet(base if taken is None else np.concatenate([taken, base]), sizes)
    if first or made.unique != "none":
        shared = gather_shared(source, known, made, report)
    if first:
        found = find_duplicates(
            shared.vectors, known.numbers[shared.rows], shared.rows, made.ids, len(base)
        )
        made = replace(made, duplicates=found)
    if reassigning:
        return _reassigned(made, known, shared, report)
    return _with_suffix(made, known, shared) if made.unique == "suffix" else made


def _reassigned(made: AnyMap, known: TupleSet, shared: Gathered, report: Progress) -> AnyMap:
    model, base = made.need_model(), made.base_codes
    rows = contenders(known, len(base), made.cap)
    if not len(rows):
        return made
    keep = made.keep
    if keep is None:  # A map of an earlier version goes on as it was.
        keep = tokens_kept_before(len(model.coarse_), model.code_sizes())
    priority = None if made.priority is None else made.priority[rows]
    order = canonical_order(shared.distances_of(rows), made.ids, rows, priority)
    codes, moved, moved_distortion = reassign(
        base,
        known,
        rows,
        order,
        shared.vectors_of,
        model,
        cap=made.cap,
        keep=keep,
        progress=report,
    )
    distortion = made.distortion.copy()
    distortion[moved] = moved_distortion
    return replace(made, codes=codes, distortion=distortion)


def _with_suffix(made: AnyMap, known: TupleSet, shared: Gathered) -> AnyMap:
    base = made.base_codes
    # Where items are counted, in an order that does not depend on how rows were cut.
    distances = made.distortion.astype(np.float64)
    distances[shared.rows] = shared.distances
    order = canonical_order(distances, made.ids, np.arange(len(base)), made.priority)
    last = suffixes(known, order)
    sizes = [*made.need_model().code_sizes(), int(last.max()) + 1]
    kind = code_dtype(max(sizes))
    codes = np.concatenate([base.astype(kind), last[:, None].astype(kind)], axis=1)
    return replace(made, codes=codes, sizes=sizes)
