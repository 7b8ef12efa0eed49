"""A hash of every id: who is drawn, whatever the order of rows, files and partitions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

UInt64 = npt.NDArray[np.uint64]
# Bytes of text that are hashed at a time.
TEXT_BYTES = 2**22


def id_hashes(ids: pa.Array, seed: int) -> UInt64:
    """A hash of 64 bits of each id, shape (n,): the same in any order, block and program.

    Equal numbers have equal hashes in any integer type. The hash of a text is a sum of one random
    number a place and byte (tabulation hashing: Zobrist 1970; Patrascu and Thorup, "The power of
    simple tabulation hashing", 2012). Missing ids are hashed as 0 or as the empty text.

    Parameters
    ----------
    ids : pyarrow.Array
        Integers or text, as `dqindex.vectors.ids.as_ids` gives them.
    seed : int
        At least 0; another seed gives hashes that are unrelated.
    """
    salt = mixed(np.array([seed % 2**64], dtype=np.uint64))
    if pa.types.is_integer(ids.type):
        kind = pa.uint64() if ids.type == pa.uint64() else pa.int64()
        numbers = ids.cast(kind).fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64)
        return mixed(numbers ^ salt)
    return _text_hashes(ids.cast(pa.large_string()).fill_null(""), salt)


def _text_hashes(ids: pa.Array, salt: UInt64) -> UInt64:
    _, offsets, data = ids.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[ids.offset : ids.offset + len(ids) + 1]
    text = np.frombuffer(data or b"", dtype=np.uint8)
    out = np.empty(len(ids), dtype=np.uint64)
    start = 0
    while start < len(ids):
        stop = int(np.searchsorted(ends, ends[start] + TEXT_BYTES, side="right")) - 1
        stop = max(start + 1, min(stop, len(ids)))
        bounds = ends[start : stop + 1] - ends[start]
        places = np.arange(bounds[-1]) - np.repeat(bounds[:-1], np.diff(bounds))
        drawn = (places.astype(np.uint64) << np.uint64(8)) | text[ends[start] : ends[stop]]
        # Sums wrap, so that the difference of two running ones is exact.
        sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(mixed(drawn ^ salt))])
        out[start:stop] = sums[bounds[1:]] - sums[bounds[:-1]]
        start = stop
    return mixed(out ^ salt)


def mixed(numbers: UInt64) -> UInt64:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that looks random."""
    x = numbers + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
