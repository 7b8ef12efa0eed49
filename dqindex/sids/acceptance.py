"""Deferred acceptance: items take turns for tuples, all at once and as if one by one.

Items stand in a row, and each is to get the nearest tuple that those before it leave free. All
tuples prefer the earlier item, so this is the one stable matching of items and tuples (Gale and
Shapley, 1962), and it comes out of any schedule: whoever waits asks for its nearest tuple that is
not full of earlier items, a tuple keeps the earliest that it has room for, and those it turns away
ask again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dqindex._types import Int64

NOBODY = -1


class Acceptance:
    """Which tuple each item of a row holds so far.

    Parameters
    ----------
    n : int
        Items, 0 to n - 1: the earlier come first.
    left : (numbers,) integers
        Room of each tuple.

    Attributes
    ----------
    held : (n,) int64
        Number of the tuple that an item holds, or `NOBODY`.
    latest : (numbers,) int64
        The last item that a full tuple keeps: only earlier ones can still get it. n where there is
        room, -1 where there never was any.
    """

    def __init__(self, n: int, left: npt.NDArray[np.integer]) -> None:
        self._n = n
        self.held: Int64 = np.full(n, NOBODY, dtype=np.int64)
        self.latest: Int64 = np.empty(0, dtype=np.int64)
        self.extend(left)

    def extend(self, left: npt.NDArray[np.integer]) -> None:
        """Let tuples in that were numbered since; `left` is the room of all."""
        self._left = left
        more = left[len(self.latest) :]
        self.latest = np.concatenate([self.latest, np.where(more > 0, self._n, NOBODY)])

    def propose(self, items: Int64, numbers: Int64) -> Int64:
        """Each of `items` asks for a tuple that would take it alone; who is left without one.

        Those may be others than `items`: who held a tuple that an earlier item asked for.
        """
        self.held[items] = numbers
        asked = np.zeros(len(self._left), dtype=bool)
        asked[numbers] = True
        holders = np.flatnonzero(self.held >= 0)
        holders = holders[asked[self.held[holders]]]
        # Holders ascend, and a stable sort leaves them so at each tuple.
        order = np.argsort(self.held[holders], kind="stable")
        holders = holders[order]
        wanted = self.held[holders]
        starts = np.flatnonzero(np.diff(wanted, prepend=-1))
        place = np.arange(len(wanted)) - np.repeat(starts, np.diff(starts, append=len(wanted)))
        room = self._left[wanted]
        last = place == room - 1
        self.latest[wanted[last]] = holders[last]
        out = holders[place >= room]
        self.held[out] = NOBODY
        return np.sort(out)

    def propose_one(self, item: int, number: int) -> int:
        """As `propose`, for one item at a time; the item that is left without, or `NOBODY`."""
        others = np.flatnonzero(self.held == number)
        out = NOBODY
        if len(others) == self._left[number]:
            out = int(others[-1])
            others = others[:-1]
            self.held[out] = NOBODY
        self.held[item] = number
        if len(others) + 1 == self._left[number]:
            self.latest[number] = max(item, int(others[-1])) if len(others) else item
        return out
