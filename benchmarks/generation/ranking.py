"""From tuples of tokens to items: the list that each user is shown."""

from __future__ import annotations

import numpy as np
from interactions import NONE, Sequences

from dqindex._types import Float32, Int64
from dqindex.errors import InputError
from dqindex.sids.lookup import find
from dqindex.sids.map import SidMap


def item_lists(
    sids: SidMap,
    codes: Int64,
    scores: Float32,
    popularity: Int64,
    before: Sequences,
    k: int,
) -> Int64:
    """The first k items of each user.

    Items that share a tuple stand one after another, the most popular first, of equals the one
    with the lower row. What a user had is left out.

    Parameters
    ----------
    sids : SidMap
        Its rows are the items.
    codes, scores : (users, W, T), (users, W)
        Tuples, the likeliest first; those whose score is minus infinity are none.
    popularity : (items,) int64
    before : Sequences
        What each user had.
    k : int

    Returns
    -------
    (users, k) int64
        Filled up with NONE.
    """
    if sids.ids is not None:
        raise InputError("the map has ids; put its codes in the order of the items, without ids")
    users, width, _ = codes.shape
    matches = find(sids, codes.reshape(users * width, -1))
    owners = np.repeat(np.arange(users * width), matches.counts)
    items = matches.items.values.to_numpy().astype(np.int64)
    users_of = owners // width
    pairs = users_of * len(sids) + items
    had = np.isin(pairs, before.users() * len(sids) + before.items)
    kept = ~had & np.isfinite(scores.reshape(-1))[owners]
    items, owners, users_of = items[kept], owners[kept], users_of[kept]
    order = np.lexsort((items, -popularity[items], owners))
    items, users_of = items[order], users_of[order]
    place = np.arange(len(items)) - np.searchsorted(users_of, users_of)
    out = np.full((users, k), NONE, dtype=np.int64)
    shown = place < k
    out[users_of[shown], place[shown]] = items[shown]
    return out


def valid_share(sids: SidMap, codes: Int64) -> float:
    """The share of tuples, (users, W, T), that are an item's."""
    return float((find(sids, codes.reshape(-1, codes.shape[2])).counts > 0).mean())
