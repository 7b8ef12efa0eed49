"""Linkage: for each item the items that share most tokens, weighted by how rare a token is.

At a million items, billions of pairs share a token. Few of them need a look: take the items that
share some tokens with an item, in the order of rows. Whoever shares those tokens and no other
weighs as much as they do, and all before it in the list weigh no less: so it is among the first k
others of the list, or not among the k best at all. The lists of single tokens and of pairs are
therefore cut, and only the items that share three tokens or more are joined in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations, pairwise

import numpy as np
import numpy.typing as npt
import scipy.sparse

from dqindex._parameters import checked, integer
from dqindex._types import Float32, Float64, Int64, Tokens
from dqindex.parallel.threads import parallel_map
from dqindex.sids.map import SidMap

# Pairs of items that a block looks at; about 60 bytes each, a few blocks in flight.
BLOCK_ENTRIES = 1_000_000
# No more items than this in a block, however few pairs they make.
BLOCK_ITEMS = 16_384
# Tokens that joined items share; fewer where a map has so many levels that their sets of three
# would take too much memory.
JOINED, JOINED_OF_MANY, MANY_LEVELS = 3, 2, 10


@checked(k=integer(1))
def linkage(sids: SidMap, k: int = 10) -> Iterator[tuple[Int64, Int64, Float32]]:
    """Edges to the `k` items that share most with each item, block by block.

    The weight of an edge is the sum of log(n / n_token) over the tokens that both items have at
    the same level, n_token being the number of items with that token.

    Parameters
    ----------
    sids : SidMap
    k : int
        Most edges an item; fewer where fewer items share a token with it.

    Yields
    ------
    source, target : (e,) int64
        Rows; sources ascend, and each source's edges fall in weight, equals by row.
    weight : (e,) float32
        In nats.

    Raises
    ------
    InputError
        If k is not an integer of at least 1.

    Notes
    -----
    Memory beside the map and the blocks is about 10 bytes an item for each set of up to three
    levels: 0.9 GB for a million items of 8 tokens.
    """
    sharing = _Sharing(sids.codes, sids.sizes, k)
    yield from parallel_map(sharing.edges, sharing.blocks())


class _Sharing:
    """Who shares which tokens of a map."""

    def __init__(self, codes: Tokens, sizes: list[int], k: int) -> None:
        self._codes, self._k = codes, k
        n, levels = codes.shape
        size = JOINED if levels <= MANY_LEVELS else JOINED_OF_MANY
        counts = [np.bincount(column)[column] for column in codes.T]
        # Weight of every token of every item.
        self._weights: Float64 = np.log(n / np.stack(counts, axis=1))
        shorter = [combinations(range(levels), length) for length in range(1, size)]
        self._lists = list(
            parallel_map(lambda some: _Lists(codes, sizes, some), chain.from_iterable(shorter))
        )
        self._items, self._by_set = _incidence(codes, sizes, size)

    def blocks(self) -> Iterator[slice]:
        """Items that make about `BLOCK_ENTRIES` pairs."""
        n = len(self._codes)
        # Each set of tokens makes as many pairs as there are items with it.
        cost = self._k + self._items @ np.diff(self._by_set.indptr)
        ends = np.cumsum(cost)
        cuts = np.searchsorted(ends, np.arange(BLOCK_ENTRIES, ends[-1], BLOCK_ENTRIES))
        edges = np.unique([*cuts.tolist(), *range(0, n, BLOCK_ITEMS), n])
        return (slice(a, b) for a, b in pairwise(edges.tolist()))

    def edges(self, block: slice) -> tuple[Int64, Int64, Float32]:
        """The edges of the items of `block`."""
        sources, targets, weights, bounds = self._joined(block)
        own = [one.weights(self._weights[block]) for one in self._lists]
        for one, weight in zip(self._lists, own, strict=True):
            # A list of k others promises k that weigh as much.
            np.maximum(bounds, weight, out=bounds, where=one.others(block) >= self._k)
        firsts = [
            one.first(block, weight >= bounds, self._k)
            for one, weight in zip(self._lists, own, strict=True)
        ]
        listed_sources = np.concatenate([source for source, _ in firsts])
        listed_targets = np.concatenate([target for _, target in firsts])
        sources = np.concatenate([sources, listed_sources])
        targets = np.concatenate([targets, listed_targets])
        weights = np.concatenate([weights, self._shared_weight(listed_sources, listed_targets)])
        order = np.lexsort((targets, -weights, sources))
        sources, targets, weights = sources[order], targets[order], weights[order]
        # Who was found twice stands side by side.
        again = np.zeros(len(sources), dtype=bool)
        again[1:] = (sources[1:] == sources[:-1]) & (targets[1:] == targets[:-1])
        kept = ~again & (weights > 0)
        sources, targets, weights = sources[kept], targets[kept], weights[kept]
        starts = np.searchsorted(sources, np.arange(block.start, block.stop))
        best = np.arange(len(sources)) - starts[sources - block.start] < self._k
        return sources[best], targets[best], weights[best]

    def _joined(self, block: slice) -> tuple[Int64, Int64, Float32, Float32]:
        """Others that share most tokens: of each item the k best, and their equals.

        With their weights, and the k-th best weight of every item: 0 where there are fewer.
        """
        shared = self._items[block] @ self._by_set
        sources = np.repeat(np.arange(block.start, block.stop), np.diff(shared.indptr))
        targets = shared.indices.astype(np.int64)
        others = sources != targets
        sources, targets = sources[others], targets[others]
        weights = self._shared_weight(sources, targets)
        rows = sources - block.start
        bounds = _bounds(rows, weights, block.stop - block.start, self._k)
        enough = weights >= bounds[rows]
        return sources[enough], targets[enough], weights[enough], bounds

    def _shared_weight(self, sources: Int64, targets: Int64) -> Float32:
        weights = np.zeros(len(sources))
        for level in range(self._codes.shape[1]):
            column = self._codes[:, level]
            weights += (column[sources] == column[targets]) * self._weights[sources, level]
        return weights.astype(np.float32)


def _bounds(rows: Int64, weights: Float32, n: int, k: int) -> Float32:
    """The k-th largest weight of each of `n` rows, 0 where it has fewer; `rows` ascend."""
    counts = np.bincount(rows, minlength=n)
    starts = np.cumsum(counts) - counts
    bounds = np.zeros(n, dtype=np.float32)
    # Rows of about one length at a time: padded to a matrix, they take little more room.
    powers = np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    for power in np.unique(powers[counts >= k]):
        long = np.flatnonzero((powers == power) & (counts >= k))
        at = np.arange(2**power)
        inside = at < counts[long, None]
        values = np.where(inside, -weights[np.where(inside, starts[long, None] + at, 0)], 0)
        bounds[long] = -np.partition(values, k - 1, axis=1)[:, k - 1]
    return bounds


def _numbers(codes: Tokens, sizes: list[int], levels: tuple[int, ...]) -> tuple[Int64, int]:
    """A dense number for the tokens of every item at some levels, and how many there are."""
    numbers, known = codes[:, levels[0]].astype(np.int64), sizes[levels[0]]
    for level in levels[1:]:
        numbers = numbers * sizes[level] + codes[:, level]
        found, numbers = np.unique(numbers, return_inverse=True)
        known = len(found)
    return numbers, known


def _incidence(
    codes: Tokens, sizes: list[int], length: int
) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
    """Items by their sets of `length` tokens, of those that several items have; and transposed."""
    n, levels = codes.shape

    def column(some: tuple[int, ...]) -> tuple[Int64, int]:
        numbers, known = _numbers(codes, sizes, some)
        shared = np.bincount(numbers, minlength=known) > 1
        # Who shares with nobody gets no number.
        dense = np.where(shared, np.cumsum(shared) - 1, -1)
        return dense[numbers].astype(np.int32), int(shared.sum())

    columns, width = [], 0
    for dense, known in parallel_map(column, combinations(range(levels), length)):
        columns.append(np.where(dense < 0, -1, dense + np.int32(width)))
        width += known
    if not columns:
        return scipy.sparse.csr_array((n, 1)), scipy.sparse.csr_array((1, n))
    numbers = np.stack(columns, axis=1)
    del columns
    held = numbers >= 0
    starts = np.concatenate([[0], np.cumsum(held.sum(axis=1))])
    indices = numbers[held]
    items = scipy.sparse.csr_array(
        (np.ones(len(indices), dtype=np.int8), indices, starts), shape=(n, max(width, 1))
    )
    return items, items.T.tocsr()


class _Lists:
    """The items of every set of tokens at some levels, in the order of rows."""

    def __init__(self, codes: Tokens, sizes: list[int], levels: tuple[int, ...]) -> None:
        self._levels = list(levels)
        numbers, known = _numbers(codes, sizes, levels)
        self._numbers = numbers.astype(np.int32)
        self._sizes = np.bincount(numbers, minlength=known)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._items = np.argsort(self._numbers, kind="stable").astype(np.int32)

    def weights(self, tokens: Float64) -> Float32:
        """What these levels weigh for items whose tokens weigh `tokens`, (m, T)."""
        own = np.zeros(len(tokens))
        for level in self._levels:
            own += tokens[:, level]
        return own.astype(np.float32)

    def others(self, block: slice) -> Int64:
        """How many others are in the list of each item of `block`."""
        return np.asarray(self._sizes[self._numbers[block]] - 1)

    def first(self, block: slice, wanted: npt.NDArray[np.bool_], k: int) -> tuple[Int64, Int64]:
        """The `wanted` items of `block`, each with the first k others of its list."""
        rows = np.flatnonzero(wanted) + block.start
        numbers = self._numbers[rows]
        counts = np.minimum(self._sizes[numbers], k + 1)
        sources = np.repeat(rows, counts)
        ends = np.cumsum(counts)
        within = np.arange(len(sources)) - np.repeat(ends - counts, counts)
        targets = self._items[np.repeat(self._starts[numbers], counts) + within].astype(np.int64)
        others = sources != targets
        return sources[others], targets[others]
