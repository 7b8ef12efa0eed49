"""Items so near to each other that one list of tuples serves them all.

A thousand items within a hair of each other want the same thousands of tuples, in nearly the same
order: lists of their own would be a million entries. Here the list of one of them, the centre, is
shared. What an item loses at a tuple follows from what the centre loses there: with δ the item's
offset from the centre c, and ẑ the tuple's reconstruction,

    ‖c + δ - ẑ‖² = ‖c - ẑ‖² + ‖δ‖² + 2 δ·(c - ẑ),

and it lies within ‖δ‖ of it before squaring. So an item looks at a short stretch of the list, and
finds its own nearest tuple, exactly.
"""

from __future__ import annotations

import numpy as np

from dqindex._types import Float32, Float64, Int64, Tokens
from dqindex.sids.nearest_tuples import CandidateSearch
from dqindex.sids.tuple_room import TupleRoom
from dqindex.sids.wishes import Wishes

# Fewer items than this have lists of their own.
LEAST_ITEMS = 32
# How near to the centre an item must be: as a share of the distance from the centre to the last of
# as many tuples as there are items.
NEAR = 0.3
# Centres that are tried for items with the same base tuple.
CENTRES = 4
GROWTH = 4
# A list of more tuples takes longer than lists of the items' own.
MOST_TUPLES = 2**18
# Tuples that an item looks at first; then twice as many, until none beyond can be nearer.
STRETCH = 32


class Crowd:
    """The shared list, and who may use it.

    Parameters
    ----------
    centre : (1, d) float32
    base : (1, T) integers
        Its base tuple.
    count : int
        Length of the first list.
    held : int
        Of the first tokens, as in `CandidateSearch.nearest`.
    """

    def __init__(
        self,
        centre: Float32,
        base: Tokens,
        count: int,
        held: int,
        search: CandidateSearch,
        room: TupleRoom,
    ) -> None:
        self._centre, self._base = centre, base
        self._search, self._room = search, room
        self._list(count, held)

    def _list(self, count: int, held: int) -> None:
        codes, distortions = self._search.nearest(self._centre, self._base, count, held)
        self._held, self._complete = held, codes.shape[1] < count
        self._codes, self._distortions = codes[0], distortions[0]
        self._distances = np.sqrt(self._distortions)
        self._numbers = self._room.number(self._codes)
        self._first = 0

    def ask(self, wishes: Wishes, item: int, latest: Int64, *, in_turn: bool) -> int:
        """The number of the tuple that `item` asks for; -1 if the list is too short to say.

        `in_turn` says that items that ask after it are later ones: then what is full for it is
        full for them.
        """
        offset = wishes.vectors[item].astype(np.float64) - self._centre[0]
        radius = float(np.sqrt(offset @ offset))
        tables = None if radius == 0 else self._search.products(offset)
        best, place = np.inf, -1
        start, width = self._first, STRETCH
        while start < len(self._numbers) and self._distances[start] - radius < np.sqrt(best):
            stretch = slice(start, start + width)
            some = start + np.flatnonzero(latest[self._numbers[stretch]] > item)
            start, width = start + width, width * 2
            if in_turn and place < 0:
                self._first = int(some[0]) if len(some) else start
            if not len(some):
                continue
            values = self._distortions[some]
            if tables is not None:
                values = values + self._change(offset, tables, self._codes[some])
            nearest = int(values.argmin())
            if values[nearest] < best:
                best, place = float(values[nearest]), int(some[nearest])
        if place < 0 or (not self._complete and self._distances[-1] - radius < np.sqrt(best)):
            return -1
        wishes.codes[item] = self._codes[place]
        wishes.distortions[item] = max(best, 0.0)
        return int(self._numbers[place])

    def _change(self, offset: Float64, tables: list[Float64], codes: Tokens) -> Float64:
        """What an item at `offset` from the centre loses more than the centre."""
        change = np.full(len(codes), offset @ offset + 2 * (offset @ self._centre[0]))
        for level, table in enumerate(tables):
            change -= 2 * table[codes[:, level]]
        return change

    def lengthen(self) -> bool:
        """Make the list longer, unless it is as long as may be.

        Where it is complete, it goes on with tuples that begin with one of the held tokens less.
        Those who ask come in the order of their turns: what is full for one is full for the next.
        """
        longer = len(self._numbers) * GROWTH
        if (self._complete and not self._held) or longer > MOST_TUPLES:
            return False
        self._list(longer, self._held - self._complete)
        return True


def find_crowds(wishes: Wishes, numbers: Int64, waiting: Int64) -> dict[Crowd, Int64]:
    """Crowds among those of a row of items that wait, and the items of each.

    `numbers` are of the base tuples of the whole row.
    """
    by_number = waiting[np.argsort(numbers[waiting], kind="stable")]
    starts = np.flatnonzero(np.diff(numbers[by_number], prepend=-1))
    crowds = {}
    for items in np.split(by_number, starts[1:]):
        rest = items
        for _ in range(CENTRES):
            if len(rest) < LEAST_ITEMS:
                break
            first = rest[:1]
            centre, base = wishes.vectors[first], wishes.base[first]
            reached = wishes.search.nearest(centre, base, len(rest), wishes.keep)[1]
            reach = np.sqrt(reached[0, -1])
            offsets = wishes.vectors[rest].astype(np.float64) - centre
            near = np.sqrt((offsets**2).sum(axis=1)) <= NEAR * reach
            if near.sum() >= LEAST_ITEMS:
                crowd = Crowd(centre, base, len(rest), wishes.keep, wishes.search, wishes.room)
                crowds[crowd] = rest[near]
            rest = rest[~near]
    return crowds
