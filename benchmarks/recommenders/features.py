"""Features of users or items: a row each of weighted columns, all rows equally long.

A row of a table of vectors belongs to each column, and an entity's vector is the weighted sum of
those of its columns. Ids are a column an entity; tokens one a code; a numeric vector is weights of
the same columns everywhere; and smoothing over a graph is the columns of the neighbours' ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn
from torch.nn import functional

from dqindex._types import Float32, Int64, Tokens


@dataclass(frozen=True)
class Features:
    """Columns and their weights.

    Attributes
    ----------
    columns : (n, w) int64
    weights : (n, w) float32
        0 where a row is filled up.
    size : int
        How many columns there are.
    """

    columns: Int64
    weights: Float32
    size: int

    def __len__(self) -> int:
        return len(self.columns)

    def beside(self, other: Features) -> Features:
        """Both, with columns of their own."""
        return Features(
            np.hstack([self.columns, other.columns + self.size]),
            np.hstack([self.weights, other.weights]),
            self.size + other.size,
        )


def ids(n: int) -> Features:
    """A column for each of `n` entities."""
    return Features(np.arange(n)[:, None], np.ones((n, 1), np.float32), n)


def tokens(codes: Tokens, sizes: Sequence[int]) -> Features:
    """A column for each codeword of each level."""
    offsets = np.cumsum([0, *sizes[:-1]])
    columns = codes.astype(np.int64) + offsets
    return Features(columns, np.ones(columns.shape, np.float32), sum(sizes))


def numbers(vectors: Float32) -> Features:
    """The centred vectors themselves, of a mean squared length of one."""
    centred = vectors - vectors.mean(axis=0)
    scaled = centred / np.sqrt((centred**2).sum(axis=1).mean())
    columns = np.tile(np.arange(vectors.shape[1]), (len(vectors), 1))
    return Features(columns, scaled.astype(np.float32), vectors.shape[1])


def bags(lists: Sequence[Sequence[int]]) -> Features:
    """A set of columns for each entity; together they weigh as much as one, or nothing."""
    width = max(map(len, lists))
    columns = np.zeros((len(lists), width), np.int64)
    weights = np.zeros((len(lists), width), np.float32)
    for row, one in enumerate(lists):
        columns[row, : len(one)] = one
        weights[row, : len(one)] = 1 / max(len(one), 1)
    return Features(columns, weights, int(columns.max()) + 1)


def buckets(counts: Int64) -> Features:
    """A column for each power of two that counts may lie between, and one for none."""
    columns = np.ceil(np.log2(counts + 1)).astype(np.int64)[:, None]
    return Features(columns, np.ones(columns.shape, np.float32), int(columns.max()) + 1)


def smoothed(edges: scipy.sparse.csr_array, share: float) -> Features:
    """Ids, of whose vectors a `share` is that of their neighbours, by the weights of the edges."""
    n, counts = edges.shape[0], np.diff(edges.indptr)
    source = np.repeat(np.arange(n), counts)
    place = np.arange(edges.nnz) - edges.indptr[source] + 1
    columns = np.tile(np.arange(n)[:, None], (1, counts.max(initial=0) + 1))
    weights = np.zeros(columns.shape, np.float32)
    columns[source, place] = edges.indices
    weights[source, place] = share * edges.data / edges.sum(axis=1)[source]
    weights[:, 0] = 1 - weights.sum(axis=1)
    return Features(columns, weights, n)


class Table(nn.Module):
    """A vector for each column of `features`, and so one for each entity."""

    def __init__(self, features: Features, d: int, scale: float) -> None:
        super().__init__()
        self._columns = torch.from_numpy(features.columns)
        self._weights = torch.from_numpy(features.weights)
        self.vectors = nn.Parameter(torch.randn(features.size, d) * scale)

    def __len__(self) -> int:
        return len(self._columns)

    def forward(self, rows: Tensor) -> Tensor:
        """The vectors of some entities, (m, d)."""
        return functional.embedding_bag(
            self._columns[rows],
            self.vectors,
            mode="sum",
            per_sample_weights=self._weights[rows],
        )

    def all(self) -> Tensor:
        """The vectors of all entities, (n, d)."""
        return self(torch.arange(len(self)))
