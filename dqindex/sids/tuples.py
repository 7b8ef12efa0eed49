"""A set of token tuples that can be asked about many at once; exact for any number of levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


class TupleSet:
    """Distinct rows of an integer matrix, each with a dense number.

    Tokens are packed into 64-bit words, as many as the code sizes need; words are looked up one
    after another, so that nothing is hashed and no two tuples are ever taken for one.

    Attributes
    ----------
    numbers : (n,) int64
        Dense number of every row that the set was made from.
    counts : (m,) int64
        How many rows have each number.
    """

    def __init__(self, codes: npt.NDArray[Any], sizes: list[int]) -> None:
        self._words = _word_layout(sizes)
        self._steps: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]] = []
        numbers = np.zeros(len(codes), dtype=np.int64)
        for word in self._words:
            values, places = np.unique(_pack(codes, word), return_inverse=True)
            pairs = numbers.astype(np.uint64) * np.uint64(max(len(values), 1)) + places.astype(
                np.uint64
            )
            known, numbers = np.unique(pairs, return_inverse=True)
            self._steps.append((values, known))
        self.numbers: Int64 = numbers.astype(np.int64)
        self.counts: Int64 = np.bincount(self.numbers) if len(codes) else np.zeros(0, np.int64)

    def find(self, codes: npt.NDArray[Any]) -> Int64:
        """Dense number of every row of `codes`, shape (m, levels); -1 if it is not in the set."""
        found = np.ones(len(codes), dtype=bool)
        numbers = np.zeros(len(codes), dtype=np.uint64)
        for word, (values, known) in zip(self._words, self._steps, strict=True):
            if not len(values):
                return np.full(len(codes), -1, dtype=np.int64)
            packed = _pack(codes, word)
            places = np.minimum(np.searchsorted(values, packed), len(values) - 1)
            found &= values[places] == packed
            pairs = numbers * np.uint64(len(values)) + places.astype(np.uint64)
            numbers = np.minimum(np.searchsorted(known, pairs), len(known) - 1).astype(np.uint64)
            found &= known[numbers.astype(np.int64)] == pairs
        return np.where(found, numbers.astype(np.int64), -1)


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
    for level, shift in word:
        packed |= codes[:, level].astype(np.uint64) << np.uint64(shift)
    return packed
