"""How many more items each token tuple can take."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dqindex._types import Int64, Tokens
from dqindex.sids.tuples import TupleSet


class TupleRoom:
    """A number for every tuple that is asked about, and the room that is left at it.

    Tuples of the map have the numbers that `known` gave them; any other gets the next number when
    it is first asked about, and keeps it until `take`.

    Attributes
    ----------
    left : (numbers,) integers
        How many more items each tuple can take.
    """

    def __init__(
        self, known: TupleSet, left: npt.NDArray[np.integer], cap: int, sizes: list[int]
    ) -> None:
        self._known, self._cap, self._sizes = known, cap, sizes
        self._first = len(left)  # the number of the first tuple that `known` has not
        self.left = left
        self._codes: Tokens = np.empty((0, len(sizes)), dtype=np.int32)
        self._index()

    def _index(self) -> None:
        """Make the other tuples findable; their numbers are the rows of their codes."""
        self._others = TupleSet(self._codes, self._sizes)
        self._rows = np.empty(len(self._codes), dtype=np.int64)
        self._rows[self._others.numbers] = np.arange(len(self._codes))

    def number(self, codes: Tokens) -> Int64:
        """Number of every row of `codes`, shape (m, levels)."""
        found = self._known.find(codes)
        unknown = np.flatnonzero(found < 0)
        if not len(unknown):
            return found
        rows = codes[unknown]
        new = self._others.find(rows) < 0
        if new.any():
            fresh = rows[new]
            first = np.unique(TupleSet(fresh, self._sizes).numbers, return_index=True)[1]
            self._codes = np.concatenate([self._codes, fresh[first].astype(np.int32)])
            self.left = np.concatenate(
                [self.left, np.full(len(first), self._cap, dtype=self.left.dtype)]
            )
            self._index()
        found[unknown] = self._first + self._rows[self._others.find(rows)]
        return found

    @property
    def others(self) -> Tokens:
        """Codes of the tuples that `known` has not, in the order of their numbers."""
        return self._codes

    def take(self, numbers: Int64) -> None:
        """Take a place at each of these tuples; forget the others that still have all of theirs."""
        np.subtract.at(self.left, numbers, 1)
        used = self.left[self._first :] < self._cap
        self._codes = self._codes[used]
        self.left = np.concatenate([self.left[: self._first], self.left[self._first :][used]])
        self._index()
