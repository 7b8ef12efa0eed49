"""Collisions of semantic IDs: who keeps the ID, and where the others go."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex._types import Float32, Float64, Int64, Progress, Tokens, no_progress
from dqindex.errors import InputError
from dqindex.quantizer.model import DQModel
from dqindex.sids.acceptance import NOBODY, Acceptance
from dqindex.sids.crowd import Crowd, find_crowds
from dqindex.sids.nearest_tuples import CandidateSearch
from dqindex.sids.tuple_room import TupleRoom
from dqindex.sids.tuples import TupleSet
from dqindex.sids.wishes import Wishes

MODES = ("none", "reassign", "suffix", "cap")
# Those that give items other tuples.
REASSIGNING = ("reassign", "cap")
# Coarse tuples that each item that moves may look over, as long as its own are not full.
MOST_FREE = 2**16
MOST_FREE_BEFORE = 4096
# Items that take their turns together.
CHUNK = 16384


def check_capacity(n: int, sizes: list[int], cap: int) -> None:
    """Refuse more items than there are IDs, before any work.

    Raises
    ------
    InputError
    """
    room = math.prod(sizes) * cap
    if n > room:
        codes = f"{' x '.join(map(str, sizes))} {'code' if sizes == [1] else 'codes'}"
        makes = "makes" if sizes == [1] else "make"
        raise InputError(
            f"{n:,} items, but {codes}"
            + (f" with {cap} items each" if cap > 1 else "")
            + f" {makes} only {room:,} {'ID' if room == 1 else 'IDs'}; use more levels or larger "
            "codebooks"
        )


def tokens_kept(keep: int | None, coarse: int, sizes: list[int]) -> int:
    """How many of an item's first tokens a collision leaves: `keep`, or all coarse ones.

    Parameters
    ----------
    keep : int or None
    coarse : int
        Number of coarse levels.
    sizes : list of ints
        Codes of every level, coarse ones first.

    Raises
    ------
    InputError
        If no token would be left that may change, or too many are: every collision would then
        look over more coarse tokens than it can.
    """
    if keep is None:
        return coarse
    if keep >= len(sizes):
        raise InputError(
            f"keep is {keep}, but an ID has {len(sizes)} tokens, and the last must be free to "
            f"change; keep at most {len(sizes) - 1}"
        )
    free = math.prod(sizes[keep:coarse])
    if free > MOST_FREE:
        raise InputError(
            f"keep is {keep}: each colliding item would be compared with {free:,} coarse tuples; "
            f"keep at "
            f"least {_least_kept(coarse, sizes, MOST_FREE)}"
        )
    return keep


def tokens_kept_before(coarse: int, sizes: list[int]) -> int:
    """How many of its first tokens an item kept before maps said so: as few as were feasible."""
    return _least_kept(coarse, sizes, MOST_FREE_BEFORE)


def _least_kept(coarse: int, sizes: list[int], most: int) -> int:
    """How many levels to leave out, so that the other coarse ones have `most` tuples at most."""
    return next(at for at in range(coarse + 1) if math.prod(sizes[at:coarse]) <= most)


def canonical_order(
    distortion: npt.NDArray[Any],
    ids: pa.Array | None,
    rows: Int64,
    priority: Float64 | None = None,
) -> Int64:
    """Positions in `rows`, the nearest to its codewords first, equals by id.

    So the order is that of the items, not of the file. Without ids, the row is the id. With
    `priority`, a number for each of `rows`, larger ones come first whatever the distortion; those
    that have none, NaN, come last.
    """
    first = () if priority is None else (-priority,)
    if ids is None:
        return np.lexsort((rows, distortion, *first))
    # Ranks of ids as Arrow sorts them: numbers by value, strings by code point.
    taken = ids.take(pa.array(rows))
    rank = np.empty(len(rows), dtype=np.int64)
    rank[pa.compute.sort_indices(taken).to_numpy()] = np.arange(len(rows))
    return np.lexsort((rank, distortion, *first))


def contenders(known: TupleSet, n: int, cap: int) -> Int64:
    """Rows whose base tuple has more than `cap` items; of the last `n` rows of `known`.

    The rows before those are published already.
    """
    numbers = known.numbers[len(known.numbers) - n :]
    return np.flatnonzero((known.counts > cap)[numbers])


def _published(known: TupleSet, n: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Numbers of the last `n` rows of `known`, and how many rows before those have each number."""
    before, numbers = np.split(known.numbers, [len(known.numbers) - n])
    counts = np.zeros_like(known.counts)
    np.add.at(counts, before, 1)
    return numbers, counts


def reassign(
    base: Tokens,
    known: TupleSet,
    rows: Int64,
    order: Int64,
    fetch: Callable[[Int64], Float32],
    model: DQModel,
    *,
    cap: int = 1,
    keep: int = 0,
    progress: Progress | None = None,
) -> tuple[Tokens, Int64, npt.NDArray[np.float64]]:
    """Give at most `cap` items one tuple.

    The first `cap` contenders of a tuple keep it (fewer, where it is published already). Every
    other, in `order`, gets the tuple of the least distortion that is free at its turn, of those
    that begin with its first `keep` tokens; where none of these is free, of those that begin with
    one token less, and so on.

    Parameters
    ----------
    base : (n, T) integers
        Tokens of all items.
    known : TupleSet
        Of the published tuples, if any, and then of `base`.
    rows : (m,) int64
        Contenders, from `contenders`.
    order : (m,) int64
        Their turns: positions in `rows`.
    fetch : callable
        Vectors of given rows.
    model : DQModel
    cap, keep : int
    progress : callable, optional
        Called with ("resolve collisions", items that got their tuple, all that wait).

    Returns
    -------
    codes : (n, T), of the type of `base`
    moved : (k,) int64
        Rows whose tuple is another than its base.
    distortion : (k,) float64
        Of the moved rows.
    """
    report = progress or no_progress
    sizes = model.code_sizes()
    numbers, before = _published(known, len(base))
    # Room that is left at each base tuple, once those who keep it are counted.
    room = cap - before
    np.maximum(room, 0, out=room)
    turns = rows[order]
    keeps = _rank_within(numbers[turns]) < room[numbers[turns]]
    waiting = turns[~keeps]
    # Who contends for nothing keeps its tuple as well, and takes its room.
    kept = known.counts - before
    np.subtract.at(kept, numbers[waiting], 1)
    room -= kept
    np.maximum(room, 0, out=room)
    del before, kept
    codes = base.copy()
    distortion = np.empty(len(waiting))
    search = CandidateSearch(model)
    table = TupleRoom(known, room, cap, sizes)
    for start in range(0, len(waiting), CHUNK):
        chunk = waiting[start : start + CHUNK]
        wishes = Wishes(fetch(chunk), base[chunk].astype(np.int32), search, table, keep)
        table.take(settle(wishes, numbers[chunk], Acceptance(len(chunk), table.left)))
        codes[chunk] = wishes.codes
        distortion[start : start + CHUNK] = wishes.distortions
        report("resolve collisions", start + len(chunk), len(waiting))
    return codes, waiting, distortion


def _rank_within(numbers: Int64) -> Int64:
    """How many of the same number stand before each."""
    by_number = np.argsort(numbers, kind="stable")
    ordered = numbers[by_number]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    rank = np.empty(len(numbers), dtype=np.int64)
    rank[by_number] = np.arange(len(ordered)) - np.repeat(
        starts, np.diff(starts, append=len(ordered))
    )
    return rank


def settle(wishes: Wishes, numbers: Int64, acceptance: Acceptance) -> Int64:
    """Let all items of a row take turns; the number of the tuple that each gets.

    `numbers` tell their base tuples apart. Those that hold a tuple in `acceptance` wait for none,
    until an earlier item asks for it.
    """
    lone = acceptance.held == NOBODY
    crowds = find_crowds(wishes, numbers, np.flatnonzero(lone))
    acceptance.extend(wishes.room.left)
    for items in crowds.values():
        lone[items] = False
    waiting = np.flatnonzero(lone)
    while len(waiting):
        wishes.lengthen(waiting)
        acceptance.extend(wishes.room.left)
        waiting = _in_rounds(wishes, acceptance, waiting)
    _one_by_one(wishes, acceptance, crowds)
    return acceptance.held


def _in_rounds(wishes: Wishes, acceptance: Acceptance, items: Int64) -> Int64:
    """Proposals of many at once, until nobody can make another; who needs a longer list."""
    short = []
    while len(items):
        asked = wishes.ask(items, acceptance.latest)
        short.append(items[asked < 0])
        able = asked >= 0
        items = acceptance.propose(items[able], asked[able])
    return np.sort(np.concatenate(short))


def _one_by_one(wishes: Wishes, acceptance: Acceptance, crowds: dict[Crowd, Int64]) -> None:
    """Proposals of the items of crowds, and of those they turn out."""
    crowd_of = {item: crowd for crowd, items in crowds.items() for item in items.tolist()}
    for turn in sorted(crowd_of):  # a copy: items may leave a crowd whose list is too short
        item = turn
        while item != NOBODY:
            crowd = crowd_of.get(item)
            latest = acceptance.latest
            if crowd is None:
                one = np.array([item])
                number = int(wishes.ask(one, latest)[0])
            else:
                number = crowd.ask(wishes, item, latest, in_turn=item == turn)
            if number >= 0:
                item = acceptance.propose_one(item, number)
                continue
            if crowd is None:
                wishes.lengthen(one)
            elif not crowd.lengthen():
                del crowd_of[item]
            acceptance.extend(wishes.room.left)


def suffixes(known: TupleSet, order: Int64) -> npt.NDArray[np.int32]:
    """A last token that counts within a group of equal tuples, in `order` (TIGER's way).

    `order` ranks the last rows of `known`; those before them were counted already.
    """
    numbers, before = _published(known, len(order))
    numbers = numbers[order]
    out = np.empty(len(order), dtype=np.int32)
    out[order] = _rank_within(numbers) + before[numbers]
    return out
