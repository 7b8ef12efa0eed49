"""Linkage: for each item the items that share most tokens, weighted by how rare a token is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.sparse

from dqindex._types import Int64
from dqindex.errors import InputError
from dqindex.parallel.threads import parallel_map
from dqindex.sids.map import SidMap

# Entries of a block's product; about 40 bytes each while it is sorted, a few blocks in flight.
BLOCK_ENTRIES = 2_000_000


def linkage(sids: SidMap, k: int = 10) -> Iterator[tuple[Int64, Int64, npt.NDArray[np.float32]]]:
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
        If k is less than 1.
    """
    if k < 1:
        raise InputError(f"k is {k}; ask for at least 1 neighbour")
    n, levels = sids.codes.shape
    offsets = np.cumsum([0, *sids.sizes[:-1]])
    columns = (sids.codes + offsets).astype(np.int64).ravel()
    counts = np.bincount(columns, minlength=sum(sids.sizes))
    weights = np.log(n / np.maximum(counts, 1))
    # Each side of the product carries the root of the weight.
    values = np.sqrt(weights[columns]).astype(np.float32)
    shape = (n, len(counts))
    items = scipy.sparse.csr_array(
        (values, columns, np.arange(0, n * levels + 1, levels)), shape=shape
    )
    by_token = items.T.tocsr()
    # How many products each item causes, to cut blocks of about equal size.
    cost = counts[columns].reshape(n, levels).sum(axis=1)
    cuts = np.unique(np.searchsorted(np.cumsum(cost), np.arange(0, cost.sum(), BLOCK_ENTRIES)))
    edges = [0, *(cut for cut in cuts.tolist() if 0 < cut < n), n]
    blocks = [slice(a, b) for a, b in pairwise(edges)]

    def best(block: slice) -> tuple[Int64, Int64, npt.NDArray[np.float32]]:
        shared = items[block] @ by_token
        rows = np.repeat(np.arange(block.start, block.stop), np.diff(shared.indptr))
        other = (shared.indices != rows) & (shared.data > 0)
        rows, targets, weight = rows[other], shared.indices[other].astype(np.int64), shared.data
        weight = weight[other]
        order = np.lexsort((targets, -weight, rows))
        rows, targets, weight = rows[order], targets[order], weight[order]
        starts = np.searchsorted(rows, np.arange(block.start, block.stop))
        rank = np.arange(len(rows)) - starts[rows - block.start]
        kept = rank < k
        return rows[kept], targets[kept], weight[kept].astype(np.float32)

    yield from parallel_map(best, blocks)
