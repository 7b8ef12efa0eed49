"""`Tokened`: what all machines know of the tokens of a map."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from dqindex._types import Float64, Int64, Tokens


class Tokened(NamedTuple):
    """The tokens of a map, and what is asked of them.

    Attributes
    ----------
    sizes : list of ints
        The largest code of each level, plus one.
    weights : list of arrays
        Of each code of each level: log(items / items that have it).
    k : int
        Most edges an item.
    kind : pyarrow.DataType
        Of the ids.
    places : int
        Buckets over which items are spread.
    """

    sizes: list[int]
    weights: list[Float64]
    k: int
    kind: pa.DataType
    places: int

    def weigh(self, codes: Tokens) -> Float64:
        """The weights of tokens, (m, T)."""
        return np.stack([own[codes[:, at]] for at, own in enumerate(self.weights)], axis=1)

    def sets(self, length: int) -> Int64:
        """The sets of so many levels, (sets, length): a set's number is its row."""
        return np.array(list(combinations(range(len(self.sizes)), length)), dtype=np.int64)

    def keys(self, codes: Tokens, number: Int64, length: int) -> Tokens:
        """The number of a set of each row of `codes`, and the tokens there: (m, 1 + length)."""
        tokens = np.take_along_axis(codes, self.sets(length)[number], axis=1)
        return np.concatenate([number[:, None].astype(np.int32), tokens], axis=1)

    def key_sizes(self, length: int) -> list[int]:
        """How many values each column of `keys` may have."""
        return [len(self.sets(length)), *[max(self.sizes)] * length]
