"""A set of token tuples that can be asked about many at once; exact for any number of levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex._types import Int64

# Rows that are ranked at a time, so that all of them take no memory twice.
RANKED_ROWS = 2**20
# Rows that are packed at a time, in cache.
PACKED_ROWS = 2**14


class TupleSet:
    """Distinct rows of an integer matrix, each with a dense number.

    Tokens are packed into 64-bit words, as many as the code sizes need; words are looked up one
    after another, so that nothing is hashed and no two tuples are ever taken for one.

    Attributes
    ----------
    numbers : (n,) int32, int64 where there are more rows than that holds
        Dense number of every row that the set was made from.
    counts : (m,) int32, likewise
        How many rows have each number.
    """

    def __init__(self, codes: npt.NDArray[Any], sizes: list[int]) -> None:
        self._words = _word_layout(sizes)
        self._first, numbers = _ranked(_pack(codes, self._words[0]))
        # Of every further word: its values, and which pairs of a number so far and a value exist.
        self._steps: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]] = []
        for word in self._words[1:]:
            values, places = _ranked(_pack(codes, word))
            pairs = numbers.astype(np.uint64) * np.uint64(max(len(values), 1))
            known, numbers = _ranked(pairs + places.astype(np.uint64))
            self._steps.append((values, known))
        self.numbers = numbers
        self.counts = np.bincount(numbers, minlength=0).astype(numbers.dtype)

    def find(self, codes: npt.NDArray[Any]) -> Int64:
        """Dense number of every row of `codes`, shape (m, levels); -1 if it is not in the set."""
        if not len(self._first):
            return np.full(len(codes), -1, dtype=np.int64)
        numbers, found = _places(self._first, _pack(codes, self._words[0]))
        for word, (values, known) in zip(self._words[1:], self._steps, strict=True):
            places, there = _places(values, _pack(codes, word))
            found &= there
            pairs = numbers.astype(np.uint64) * np.uint64(len(values)) + places.astype(np.uint64)
            numbers, there = _places(known, pairs)
            found &= there
        return np.where(found, numbers, -1)


class TupleRows:
    """The rows of an integer matrix, found by their tuples.

    Attributes
    ----------
    codes, sizes
        As they were given.
    order : (n,) int64
        Rows, those of one tuple side by side: by falling priority where one is given, else
        ascending.
    starts : (m + 1,) int64
        Where in `order` those of each tuple start; its end is the last.
    """

    def __init__(
        self, codes: npt.NDArray[Any], sizes: list[int], priority: npt.NDArray[Any] | None = None
    ) -> None:
        self.codes, self.sizes = codes, list(sizes)
        self._known = TupleSet(codes, sizes)
        numbers = self._known.numbers
        self.order = (
            np.argsort(numbers, kind="stable")
            if priority is None
            else np.lexsort((-priority, numbers))
        )
        self.starts = np.concatenate([[0], np.cumsum(self._known.counts, dtype=np.int64)])

    def find(self, wanted: npt.NDArray[Any]) -> tuple[Int64, Int64]:
        """Rows of every tuple of `wanted`, shape (m, levels), of any integers.

        Returns
        -------
        rows : (r,) int64
            Those of the first tuple ascending, then those of the second, and so on.
        ends : (m + 1,) int64
            Rows of tuple i are ``rows[ends[i]:ends[i + 1]]``; none where it is not there.
        """
        # Codes that no level has would spill into the bits of another level.
        inside = ((wanted >= 0) & (wanted < np.array(self.sizes))).all(axis=1)
        numbers = np.full(len(wanted), -1, dtype=np.int64)
        numbers[inside] = self._known.find(wanted[inside])
        found = numbers >= 0
        counts = np.zeros(len(wanted), dtype=np.int64)
        counts[found] = np.diff(self.starts)[numbers[found]]
        ends = np.concatenate([[0], np.cumsum(counts)])
        first = np.zeros(len(wanted), dtype=np.int64)
        first[found] = self.starts[numbers[found]]
        places = np.repeat(first - ends[:-1], counts) + np.arange(ends[-1])
        return self.order[places], ends


def count_distinct(codes: npt.NDArray[Any], sizes: list[int]) -> int:
    """Number of distinct rows: a sort, where one word holds a row, and no ranks."""
    words = _word_layout(sizes)
    if len(words) > 1 or not len(codes):
        return len(TupleSet(codes, sizes).counts)
    packed = _pack(codes, words[0])
    packed.sort()
    return 1 + int(np.count_nonzero(packed[1:] != packed[:-1]))


def _ranked(values: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[Any]]:
    """Distinct values in order, and the place of each value among them; it sorts `values`."""
    n = len(values)
    order = np.argsort(values)  # equals may stand in any order: they get one rank
    values.sort()
    first = np.ones(n, dtype=bool)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    ranks = np.empty(n, dtype=np.int32 if n < 2**31 else np.int64)
    last = -1
    for start in range(0, n, RANKED_ROWS):
        part = slice(start, start + RANKED_ROWS)
        some = np.cumsum(first[part], dtype=ranks.dtype)
        some += last
        ranks[order[part]] = some
        last = some[-1]
    del order
    return values[first], ranks


def _places(
    values: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]
) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Where `wanted` stand among ascending `values`, and whether they do."""
    # In ascending order each search starts where the last one ended, in cache: a fifth of the time.
    order = np.argsort(wanted)
    wanted = wanted[order]
    found = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    places = np.empty_like(found)
    places[order] = found
    there = np.empty(len(found), dtype=bool)
    there[order] = values[found] == wanted
    return places, there


def _word_layout(sizes: list[int]) -> list[list[tuple[int, int]]]:
    """Levels of each 64-bit word, with the bits that each is shifted by."""
    words: list[list[tuple[int, int]]] = [[]]
    used = 0
    for level, size in enumerate(sizes):
        bits = max(1, int(size - 1).bit_length())
        if used + bits > 64:
            words.append([])
            used = 0
        words[-1].append((level, used))
        used += bits
    return words


def _pack(codes: npt.NDArray[Any], word: list[tuple[int, int]]) -> npt.NDArray[np.uint64]:
    packed = np.zeros(len(codes), dtype=np.uint64)
    for start in range(0, len(codes), PACKED_ROWS):
        rows = slice(start, start + PACKED_ROWS)
        part = packed[rows]
        for level, shift in word:
            part |= codes[rows, level].astype(np.uint64) << np.uint64(shift)
    return packed
