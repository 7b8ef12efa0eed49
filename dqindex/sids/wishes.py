"""Which tuple each item asks for next: its nearest that is not full of earlier items.

The first tokens of an item may be held: then it asks for tuples that begin with them, as long as
one of those can be had, and only then for others that begin with one of them less.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dqindex._types import Float32, Float64, Int64, Tokens
from dqindex.parallel.threads import parallel_map
from dqindex.sids.nearest_tuples import CandidateSearch
from dqindex.sids.tuple_room import TupleRoom

FIRST_CANDIDATES = 16
GROWTH = 4
# Candidates that one thread looks for at a time.
LISTED_VALUES = 8192


class _Lists(NamedTuple):
    """Tuples of some items, the nearest first: (items, candidates, ...)."""

    codes: Tokens
    numbers: Int64
    distortions: Float64
    held: int  # tokens that all tuples of an item begin with
    complete: bool  # whether no other tuples begin with them


class Wishes:
    """Lists of nearest tuples of a row of items; short at first, longer on demand.

    Parameters
    ----------
    vectors : (n, d) float32
    base : (n, T) integers
        Their tokens.
    search : CandidateSearch
    room : TupleRoom
    keep : int
        How many of the first tokens an item holds, as long as a tuple behind them can be had.

    Attributes
    ----------
    codes : (n, T) int32
    distortions : (n,) float64
        Of the tuple that each item asked for last.
    """

    def __init__(
        self,
        vectors: Float32,
        base: Tokens,
        search: CandidateSearch,
        room: TupleRoom,
        keep: int = 0,
    ) -> None:
        self.vectors, self.base, self.search, self.room = vectors, base, search, room
        self.keep = keep
        n = len(vectors)
        self.codes: Tokens = np.empty((n, base.shape[1]), dtype=np.int32)
        self.distortions = np.empty(n)
        self._lists: list[_Lists] = []
        # Which of the lists holds an item's, and in which row.
        self._list = np.full(n, -1, dtype=np.int64)
        self._row = np.empty(n, dtype=np.int64)

    def ask(self, items: Int64, latest: Int64) -> Int64:
        """The number of the tuple that each of `items` asks for; -1 where its list is too short.

        Parameters
        ----------
        items : (m,) int64
        latest : (numbers,) int64
            As in `Acceptance`.
        """
        asked = np.full(len(items), -1, dtype=np.int64)
        of_items = self._list[items]
        for place in np.unique(of_items[of_items >= 0]).tolist():
            mine = np.flatnonzero(of_items == place)
            some = items[mine]
            rows = self._row[some]
            lists = self._lists[place]
            numbers = lists.numbers[rows]
            can_take = latest[numbers] > some[:, None]
            column = can_take.argmax(axis=1)
            there = can_take[np.arange(len(some)), column]
            mine, some, rows, column = (one[there] for one in (mine, some, rows, column))
            asked[mine] = numbers[there, column]
            self.codes[some] = lists.codes[rows, column]
            self.distortions[some] = lists.distortions[rows, column]
        return asked

    def lengthen(self, items: Int64) -> None:
        """Make the lists of `items` longer, or their first ones."""
        before = self._list[items]
        for place in np.unique(before).tolist():
            some = items[before == place]
            count, held = FIRST_CANDIDATES, self.keep
            if place >= 0:
                lists = self._lists[place]
                count = lists.codes.shape[1] * GROWTH
                # All that begin with the held tokens are full. They stand in the next list as
                # well, and are passed over. There is room behind no token at all: see
                # `check_capacity`.
                held = lists.held - 1 if lists.complete else lists.held
            self._list[some] = len(self._lists)
            self._row[some] = np.arange(len(some))
            self._lists.append(self._listed(some, count, held))

    def _listed(self, items: Int64, count: int, held: int) -> _Lists:
        # The longer the lists, the fewer items at once: memory stays the same.
        step = max(1, LISTED_VALUES // count)
        parts = [items[start : start + step] for start in range(0, len(items), step)]
        found = parallel_map(
            lambda part: self.search.nearest(self.vectors[part], self.base[part], count, held),
            parts,
        )
        codes, distortions = map(np.concatenate, zip(*found, strict=True))
        m, width, levels = codes.shape
        numbers = self.room.number(codes.reshape(-1, levels)).reshape(m, width)
        return _Lists(codes, numbers, distortions, held, width < count)
