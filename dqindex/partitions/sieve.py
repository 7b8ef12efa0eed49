"""A set of ids in few bits: for one that is too large to be sent to every machine.

A Bloom filter (Bloom 1970) of two hashes. It says of every id of the set that it is in it, and of
others in one of 70 cases, so that nearly all rows of other items can stay where they are.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dqindex._types import Int64
from dqindex.partitions.columns import ID
from dqindex.vectors.id_hash import UInt64, id_hashes

BITS_AN_ID = 16
# 64 MiB; a set for which that is little lets more of the others pass.
MOST_BITS = 2**29
# Bits that are set on one machine, together.
PAGE_BITS = 2**19
SEEDS = (1, 2)
MARKS = pa.schema([("page", pa.int32()), ("bit", pa.int32())])
PAGES = pa.schema([("page", pa.int32()), ("bits", pa.binary())])


def pages_for(n: int) -> int:
    """How many pages the sieve of `n` ids has."""
    return -(-min(max(1, n) * BITS_AN_ID, MOST_BITS) // PAGE_BITS)


def marks(table: pa.Table, pages: int) -> pa.Table:
    """The bits of some ids: on which page, and where."""
    places = np.concatenate([_places(table, seed, pages) for seed in SEEDS])
    page, bit = np.divmod(places, PAGE_BITS)
    return pa.table([page.astype(np.int32), bit.astype(np.int32)], schema=MARKS)


def page_of(table: pa.Table) -> pa.Table:
    """One page, from all its marks."""
    if not table.num_rows:
        return PAGES.empty_table()
    bits = np.zeros(PAGE_BITS, dtype=bool)
    bits[table["bit"].to_numpy()] = True
    return pa.table([table["page"][:1], [np.packbits(bits).tobytes()]], schema=PAGES)


def bound(pages: pa.Table, number: int) -> np.ndarray:
    """The sieve of `number` pages; those that are not there have no marks."""
    made = np.zeros((number, PAGE_BITS // 8), dtype=np.uint8)
    for row in pages.to_pylist():
        made[row["page"]] = np.frombuffer(row["bits"], dtype=np.uint8)
    return made


def sifted(table: pa.Table, sieve: np.ndarray) -> pa.Table:
    """The rows whose ids may be in the set."""
    inside = np.ones(len(table), dtype=bool)
    for seed in SEEDS:
        places = _places(table, seed, len(sieve))
        inside &= (sieve.ravel()[places >> 3] << (places & 7).astype(np.uint8)) & 128 != 0
    return table.filter(pa.array(inside))


def _places(table: pa.Table, seed: int, pages: int) -> Int64:
    hashes: UInt64 = id_hashes(table[ID].combine_chunks(), seed)
    return (hashes % np.uint64(pages * PAGE_BITS)).astype(np.int64)
