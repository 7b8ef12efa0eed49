"""Collisions of semantic IDs: who keeps the ID, and where the others go."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex._types import Float32, Int64, Progress, Tokens, no_progress
from dqindex.errors import InputError
from dqindex.parallel.threads import parallel_map
from dqindex.quantizer.model import DQModel
from dqindex.sids.nearest_tuples import CandidateSearch
from dqindex.sids.tuples import TupleSet

MODES = ("none", "reassign", "suffix", "cap")
# Contenders resolved together: their candidates are found at once, then taken one by one.
CHUNK = 2048
FIRST_CANDIDATES = 16
GROWTH = 4
# Candidates that one thread looks for at a time.
LISTED_VALUES = 8192


def check_capacity(n: int, sizes: list[int], cap: int) -> None:
    """Refuse more items than there are IDs, before any work.

    Raises
    ------
    InputError
    """
    room = math.prod(sizes) * cap
    if n > room:
        raise InputError(
            f"{n:,} items, but {' x '.join(map(str, sizes))} codes"
            + (f" with {cap} items each" if cap > 1 else "")
            + f" make only {room:,} IDs; use more levels or larger codebooks"
        )


def canonical_order(distortion: npt.NDArray[Any], ids: pa.Array | None, rows: Int64) -> Int64:
    """Positions in `rows`, the nearest to its codewords first, equals by id.

    So the order is that of the items, not of the file. Without ids, the row is the id.
    """
    if ids is None:
        return np.lexsort((rows, distortion))
    # Ranks of ids as Arrow sorts them: numbers by value, strings by code point.
    taken = ids.take(pa.array(rows))
    rank = np.empty(len(rows), dtype=np.int64)
    rank[pa.compute.sort_indices(taken).to_numpy()] = np.arange(len(rows))
    return np.lexsort((rank, distortion))


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
    progress: Progress | None = None,
) -> tuple[Tokens, Int64, npt.NDArray[np.float64]]:
    """Give at most `cap` items one tuple.

    The first `cap` contenders of a tuple keep it (fewer, where it is published already). Every
    other, in `order`, gets the tuple of the least distortion that is free at its turn.

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
    cap : int
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
    table = _Room(known, room, cap, sizes)
    for start in range(0, len(waiting), CHUNK):
        chunk = waiting[start : start + CHUNK]
        found, sums = _resolve(fetch(chunk), base[chunk].astype(np.int32), search, table)
        codes[chunk] = found
        distortion[start : start + CHUNK] = sums
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


class _Room:
    """How many more items each tuple can take."""

    def __init__(self, known: TupleSet, room: Int64, cap: int, sizes: list[int]) -> None:
        self._known, self._room, self._cap, self._sizes = known, room, cap, sizes
        self._left: dict[bytes, int] = {}  # tuples that were given out, known or new
        self._full = TupleSet(np.empty((0, len(sizes)), dtype=np.int32), sizes)
        self._filled: list[Tokens] = []

    def at(self, codes: Tokens) -> Int64:
        """Room of many tuples, shape (m, T), as of the last `settle`."""
        numbers = self._known.find(codes)
        room = np.where(numbers >= 0, self._room[np.maximum(numbers, 0)], self._cap)
        room[self._full.find(codes) >= 0] = 0
        return room

    def take(self, key: bytes, room: int) -> bool:
        """Take one place at a tuple, if there is one; `room` is what `at` said of it."""
        left = self._left.get(key, room)
        if left > 0:
            self._left[key] = left - 1
            if left == 1:
                self._filled.append(np.frombuffer(key, dtype=np.int32)[None])
        return left > 0

    def settle(self) -> None:
        """Let `at` see the tuples that have been filled since."""
        if self._filled:
            filled = np.concatenate(self._filled)
            self._filled = [filled]
            self._full = TupleSet(filled, self._sizes)


def _resolve(
    vectors: Float32, base: Tokens, search: CandidateSearch, table: _Room
) -> tuple[Tokens, npt.NDArray[np.float64]]:
    """Tuples for the vectors of a chunk, in their order."""
    table.settle()
    # Equal vectors have equal candidates: thousands of duplicates cost one search.
    rows = np.concatenate([vectors + np.float32(0), base.view(np.float32)], axis=1)
    _, first, group, size = np.unique(
        rows.view(np.dtype((np.void, rows.shape[1] * 4))).ravel(),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    lists = _free_candidates(vectors[first], base[first], size, search, table)
    cursor = [0] * len(first)
    codes = np.empty_like(base)
    sums = np.empty(len(base))
    for row, member in enumerate(group.tolist()):
        while True:
            keys, rooms, distortions, count, complete = lists[member]
            place = cursor[member]
            while place < len(keys) and not table.take(keys[place], rooms[place]):
                place += 1
            cursor[member] = place
            if place < len(keys):
                codes[row] = np.frombuffer(keys[place], dtype=np.int32)
                sums[row] = distortions[place]
                break
            if complete:  # check_capacity saw to it that this can't happen, with one coarse level
                raise InputError(
                    "no free ID is left behind the earlier coarse tokens of an item; use larger "
                    "codebooks or one coarse level"
                )
            one = slice(first[member], first[member] + 1)
            lists[member] = _listed(vectors[one], base[one], count * GROWTH, search, table)[0]
            cursor[member] = 0
    return codes, sums


class _List(NamedTuple):
    """Free tuples of one vector, the nearest first."""

    keys: list[bytes]
    rooms: list[int]
    distortions: list[float]
    tried: int  # tuples that were looked at
    complete: bool  # whether those are all that exist


def _free_candidates(
    vectors: Float32, base: Tokens, need: Int64, search: CandidateSearch, table: _Room
) -> list[_List]:
    """For each vector a list with at least `need` free tuples, where as many exist."""
    lists: dict[int, _List] = {}
    todo = np.arange(len(vectors))
    count = FIRST_CANDIDATES
    while len(todo):

        def listed(part: Int64, count: int = count) -> list[_List]:
            return _listed(vectors[part], base[part], count, search, table)

        # The larger the lists, the fewer vectors at once: memory stays the same.
        step = max(1, LISTED_VALUES // count)
        parts = np.split(todo, range(step, len(todo), step))
        made = itertools.chain.from_iterable(parallel_map(listed, parts))
        lists.update(zip(todo.tolist(), made, strict=True))
        short = [
            not lists[row].complete and sum(lists[row].rooms) < need[row] for row in todo.tolist()
        ]
        todo = todo[short]
        count *= GROWTH
    return [lists[row] for row in range(len(vectors))]


def _listed(
    vectors: Float32, base: Tokens, count: int, search: CandidateSearch, table: _Room
) -> list[_List]:
    codes, sums = search.nearest(vectors, base, count)
    m, found, levels = codes.shape
    codes = np.ascontiguousarray(codes, dtype=np.int32)
    room = table.at(codes.reshape(-1, levels)).reshape(m, found)
    lists: list[_List] = []
    for row in range(m):
        free = np.flatnonzero(room[row])
        keys = [codes[row, place].tobytes() for place in free]
        lists.append(
            _List(keys, room[row, free].tolist(), sums[row, free].tolist(), count, found < count)
        )
    return lists


def suffixes(known: TupleSet, order: Int64) -> npt.NDArray[np.int32]:
    """A last token that counts within a group of equal tuples, in `order` (TIGER's way).

    `order` ranks the last rows of `known`; those before them were counted already.
    """
    numbers, before = _published(known, len(order))
    numbers = numbers[order]
    out = np.empty(len(order), dtype=np.int32)
    out[order] = _rank_within(numbers) + before[numbers]
    return out
