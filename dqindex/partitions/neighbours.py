"""Items of neighbouring tuples meet at one place: all tuples, in order, are cut into runs.

Items that collide want tuples near their own, most of which begin with the same tokens. The more of
those who want one tuple are at one place, the fewer rounds there are (`dqindex.sids.rounds`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex._types import Int64
from dqindex.partitions.columns import ID
from dqindex.sids.letters import bytes_of
from dqindex.vectors.id_hash import id_hashes
from dqindex.vectors.least import hash_bound

# Items that are at one place, about; fewer where their vectors would take more bytes.
PLACE_ITEMS = 65536
PLACE_BYTES = 2**26
# Tuples that are drawn for each place, to find where it begins.
DRAWN = 64
SEED = 0
DRAWN_SCHEMA = pa.schema([("tuple", pa.binary())])

Cuts = npt.NDArray[np.bytes_]


def places_for(n: int, d: int) -> int:
    """How many places `n` items have, whose vectors have `d` dimensions."""
    return -(-n // max(1, min(PLACE_ITEMS, PLACE_BYTES // (4 * d))))


def cut(gathered: Callable[[Callable[[pa.Table], pa.Table]], pa.Table], n: int, d: int) -> Cuts:
    """Where the places of `n` items begin, but for the first: tuples, in order.

    `gathered` gives what a function makes of all parts of the items, in one table.
    """
    places = places_for(n, d)
    sample = gathered(partial(_drawn, bound=hash_bound(DRAWN * places, n)))
    ordered = np.sort(_as_words(sample["tuple"]))
    if not len(ordered):
        return ordered
    return ordered[np.arange(1, places) * len(ordered) // places]


def _drawn(table: pa.Table, bound: int) -> pa.Table:
    """The tuples of items whose ids have a hash of at most `bound`."""
    below = id_hashes(table[ID].combine_chunks(), SEED) <= np.uint64(bound)
    return table.select(["tuple"]).filter(pa.array(below)).cast(DRAWN_SCHEMA)


def place_of(tuples: pa.ChunkedArray, ids: pa.Array, cuts: Cuts) -> npt.NDArray[np.int32]:
    """The place of each item, its tuple and id given.

    A tuple has one place, but where so many items share it that several places begin with it: these
    are dealt among them by their ids.
    """
    words = _as_words(tuples)
    first: Int64 = np.searchsorted(cuts, words, side="left")
    over = np.searchsorted(cuts, words, side="right") - first
    dealt = id_hashes(ids, SEED) % np.maximum(over, 1).astype(np.uint64)
    return np.where(over > 0, first + 1 + dealt.astype(np.int64), first).astype(np.int32)


def _as_words(tuples: pa.ChunkedArray) -> Cuts:
    """Tuples as bytes of numpy, which it orders as Arrow does: they have one width."""
    data = bytes_of(tuples)
    width = len(data) // max(1, len(tuples))
    return data.view(f"S{max(1, width)}")
