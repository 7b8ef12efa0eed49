"""Who shares an ID, why, and how many share the start of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dqindex._types import Int64, Tokens
from dqindex.errors import InputError
from dqindex.sids.duplicates import row_hashes
from dqindex.sids.map import SidMap
from dqindex.sids.tuples import TupleRows, TupleSet
from dqindex.vectors import VectorSource

# Groups that are told of, and items of each that are named.
TOLD_GROUPS, TOLD_ITEMS = 10, 5
# Vectors that are read at a time.
ROWS_AT_ONCE = 65536


def worst_groups(rows: TupleRows, ids: pa.Array) -> list[dict[str, Any]]:
    """The IDs that most items share, the largest group first, then the one that begins first."""
    counts = np.diff(rows.starts)
    shared = np.flatnonzero(counts > 1)
    first = rows.order[rows.starts[shared]]
    told = shared[np.lexsort((first, -counts[shared]))][:TOLD_GROUPS]
    return [
        {
            "codes": rows.codes[rows.order[rows.starts[group]]].tolist(),
            "items": int(counts[group]),
            "ids": ids.take(pa.array(_members(rows, group)[:TOLD_ITEMS])).to_pylist(),
        }
        for group in told.tolist()
    ]


def _members(rows: TupleRows, group: int) -> Int64:
    members: Int64 = rows.order[rows.starts[group] : rows.starts[group + 1]]
    return members


def same_vector_share(rows: TupleRows, source: VectorSource, places: Int64) -> float:
    """Of the items beyond the first of each ID, those whose vector another item of the ID has.

    No codes could tell those apart; 0 where no ID is shared. Vectors are compared by 64 bits.

    Parameters
    ----------
    rows : TupleRows
    source : VectorSource
    places : (n,) int64
        The row of each item's vector.
    """
    counts = np.diff(rows.starts)
    sharing = np.repeat(counts > 1, counts)
    items = rows.order[sharing]
    if not len(items):
        return 0.0
    groups = np.repeat(np.arange(len(counts)), counts)[sharing]
    by_place = np.argsort(places[items], kind="stable")
    hashes = np.empty(len(items), dtype=np.uint64)
    for start in range(0, len(items), ROWS_AT_ONCE):
        part = by_place[start : start + ROWS_AT_ONCE]
        hashes[part] = row_hashes(source.rows(places[items[part]]))
    order = np.lexsort((hashes, groups))
    same = (np.diff(groups[order]) == 0) & (np.diff(hashes[order]) == 0)
    return float(same.sum()) / (len(items) - int((counts > 1).sum()))


def prefixes(codes: Tokens) -> list[dict[str, Any]]:
    """For each number of first tokens: distinct prefixes over items, and the largest group."""
    n, levels = codes.shape
    ordered = codes[np.lexsort(codes.T[::-1])]
    new = np.zeros(n, dtype=bool)
    new[0] = True
    found = []
    for level in range(levels):
        new[1:] |= ordered[1:, level] != ordered[:-1, level]
        counts = np.diff(np.flatnonzero(new), append=n)
        found.append(
            {
                "length": level + 1,
                "unique_share": len(counts) / n,
                "largest_group": int(counts.max()),
            }
        )
    return found


def unseen_shares(sids: SidMap, published: SidMap) -> list[float]:
    """For each number of first tokens, the share of items whose prefix no published item has.

    Raises
    ------
    InputError
        If the IDs of the two maps are not as long.
    """
    levels = len(sids.sizes)
    if len(published.sizes) != levels:
        raise InputError(
            f"the published map has IDs of {len(published.sizes)} tokens, this one of {levels}; "
            "give the map that these items were added to"
        )
    sizes = [max(pair) for pair in zip(sids.sizes, published.sizes, strict=True)]
    return [
        float(
            (
                TupleSet(published.codes[:, :length], sizes[:length]).find(sids.codes[:, :length])
                < 0
            ).mean()
        )
        for length in range(1, levels + 1)
    ]
