"""IDs that stay: after a refit an item keeps its own, unless another lowers its distortion enough.

An item that would gain more than that by its nearest tuple is free to move. All that are free, and
all new items, are given tuples as if they were appended to those that stay. Who gets none that pays
stays after all, and holds its tuple against the others, who try again; until all that move gain.
Items that have not changed, under a model that has not, therefore all stay: of any that move, take
the one whose ID is the oldest; all tuples that it would have liked better were taken when it got
its own, by items that are older still, which do not move.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dqindex._types import Float64, Int64, Progress, Tokens
from dqindex.quantizer.encoding import code_dtype
from dqindex.sids.map import SidMap
from dqindex.sids.shared import Gathered, gather, row_distortion
from dqindex.sids.tuples import TupleSet
from dqindex.sids.unique import REASSIGNING, canonical_order, contenders, reassign
from dqindex.vectors import VectorSource

# Turns after which those that still try stay where they are.
MOST_TURNS = 16

Rows = npt.NDArray[np.bool_]


class Held(NamedTuple):
    """What the items of a new map had before.

    Attributes
    ----------
    codes, base : (n, T) integers
        Published and base tokens, without a suffix; of no meaning where `there` is False.
    suffix : (n,) integers
        Last tokens, of a map that has them.
    there : (n,) bool
        Whether an item had any.
    distortion : (n,) float64
        Of `codes`, for the new vectors and the new model.
    """

    codes: Tokens
    base: Tokens
    suffix: Int64
    there: Rows
    distortion: Float64


def hold_ids(
    old: SidMap,
    made: SidMap,
    common: tuple[Int64, Int64],
    source: VectorSource,
    *,
    worth: float,
    report: Progress,
) -> SidMap:
    """Resolve `made`, whose codes are base tokens, so that IDs of `old` stay.

    Parameters
    ----------
    old : SidMap
        The published map.
    made : SidMap
        Of the same catalogue as it is now, under a model with the same code sizes.
    common : pair of (m,) int64
        Rows of the items that are in both: in `old`, and in `made`.
    source : VectorSource
        Vectors of `made`.
    worth : float
        An ID must lower an item's distortion by more than this share of it.
    report : callable
    """
    held = _held(old, made, common, source, report)
    base = made.base_codes
    same = (held.codes == base).all(axis=1)
    stays = held.there & (same | ~_pays(made.distortion, held.distortion, worth))
    codes, distortion = base.copy(), made.distortion.astype(np.float64)
    if made.unique in REASSIGNING:
        gathered = gather(source, np.flatnonzero(~stays), made, report)
        for turn in range(MOST_TURNS + 1):
            if turn == MOST_TURNS:
                stays |= held.there
            free = np.flatnonzero(~stays)
            codes[free], distortion[free] = _appended(
                made, held.codes[stays], free, gathered, report
            )
            back = free[~_gains(codes, distortion, made, held, worth)[free]]
            if not len(back):
                break
            stays[back] = True
    made = replace(
        made,
        codes=np.where(stays[:, None], held.codes, codes),
        base_codes=np.where(stays[:, None], held.base, base),
        distortion=np.where(stays & ~same, held.distortion, distortion).astype(np.float32),
    )
    return _with_held_suffix(made, held, stays) if made.unique == "suffix" else made


def _pays(after: npt.NDArray[Any], before: Float64, worth: float) -> Rows:
    """Whether a distortion is lower by more than a share `worth` of the one before."""
    return np.asarray(after < (1 - worth) * before)


def _held(
    old: SidMap, made: SidMap, common: tuple[Int64, Int64], source: VectorSource, report: Progress
) -> Held:
    before, after = common
    n, levels = made.base_codes.shape
    codes, base = np.zeros((2, n, levels), dtype=made.base_codes.dtype)
    codes[after] = old.codes[before, :levels]
    base[after] = old.base_codes[before]
    suffix = np.full(n, -1, dtype=np.int64)
    if old.unique == "suffix":
        suffix[after] = old.codes[before, -1]
    there = np.zeros(n, dtype=bool)
    there[after] = True
    distortion = np.zeros(n)
    model, start = made.need_model(), 0
    for block in source.blocks():
        own = np.flatnonzero(there[start : start + len(block)])
        rows = start + own
        distortion[rows] = row_distortion(block[own], codes[rows], model)
        start += len(block)
        report("weigh IDs", start, source.n)
    return Held(codes, base, suffix, there, distortion)


def _appended(
    made: SidMap, taken: Tokens, free: Int64, gathered: Gathered, report: Progress
) -> tuple[Tokens, Float64]:
    """Tuples of the rows `free` where those in `taken` are published, and their distortion."""
    model, base = made.need_model(), made.base_codes[free]
    distances = gathered.distances_of(free)
    known = TupleSet(np.concatenate([taken, base]), model.code_sizes())
    rows = contenders(known, len(base), made.cap)
    priority = None if made.priority is None else made.priority[free[rows]]
    codes, moved, distortion = reassign(
        base,
        known,
        rows,
        canonical_order(distances[rows], made.ids, free[rows], priority),
        lambda wanted: gathered.vectors_of(free[wanted]),
        model,
        cap=made.cap,
        keep=made.keep or 0,
        progress=report,
    )
    distances[moved] = distortion
    return codes, distances


def _gains(codes: Tokens, distortion: Float64, made: SidMap, held: Held, worth: float) -> Rows:
    """Whether an item is better off: it had nothing, or it pays and keeps as much of its base."""
    keep = slice(0, made.keep or 0)

    def kept(tokens: Tokens) -> Int64:
        same = tokens[:, keep] == made.base_codes[:, keep]
        return np.asarray(same.cumprod(axis=1, dtype=np.int64).sum(axis=1))

    pays = _pays(distortion, held.distortion, worth) & (kept(codes) >= kept(held.codes))
    return np.asarray(pays | ~held.there)


def _with_held_suffix(made: SidMap, held: Held, stays: Rows) -> SidMap:
    """A last token: that of those that stay, and the least that is free for the others."""
    known = TupleSet(made.codes, made.sizes)
    last = np.where(stays, held.suffix, -1)
    others = np.flatnonzero(~stays)
    numbers = known.numbers[others]
    taken: dict[int, set[int]] = {number: set() for number in numbers.tolist()}
    near = np.flatnonzero(stays & np.isin(known.numbers, numbers))
    for number, suffix in zip(known.numbers[near].tolist(), last[near].tolist(), strict=True):
        taken[number].add(suffix)
    priority = None if made.priority is None else made.priority[others]
    order = canonical_order(made.distortion[others], made.ids, others, priority)
    free = dict.fromkeys(taken, 0)
    for row, number in zip(others[order].tolist(), numbers[order].tolist(), strict=True):
        while free[number] in taken[number]:
            free[number] += 1
        last[row] = free[number]
        free[number] += 1
    sizes = [*made.sizes, int(last.max()) + 1]
    kind = code_dtype(max(sizes))
    codes = np.concatenate([made.codes.astype(kind), last[:, None].astype(kind)], axis=1)
    return replace(made, codes=codes, sizes=sizes)
