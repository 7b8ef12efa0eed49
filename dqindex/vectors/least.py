"""The rows whose ids have the least hashes, out of parts that come in any order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from dqindex._types import Float32, Int64
from dqindex.errors import InputError
from dqindex.vectors.doorway import open_vectors
from dqindex.vectors.id_hash import UInt64, id_hashes
from dqindex.vectors.ids import as_ids
from dqindex.vectors.source import VectorSource

# A bound is loose by so many standard deviations: once in 10^15 it lets through too few.
SPREAD = 8.0


def sample_of_parts(
    parts: Iterable[Any], rows_for: Callable[[int], int], seed: int
) -> tuple[Float32, str]:
    """The sample that a source with the rows of all `parts` would give, and its name.

    Parameters
    ----------
    parts : iterable
        Whatever `open_vectors` opens, each with ids. One is in memory at a time.
    rows_for : callable
        Size of the sample, from the width of the vectors.
    seed : int

    Raises
    ------
    InputError
        If there is no part, or one has no ids or vectors of another width.
    """
    first, kept, hashes = None, None, np.empty(0, dtype=np.uint64)
    for part in parts:
        source = open_vectors(part)
        if first is None or kept is None:
            first, kept = source, np.empty((0, source.d), dtype=np.float32)
        if not source.has_ids:
            raise InputError(
                f"{source.name}: a part without ids; they decide who is in the sample, so give "
                "each part a column of ids"
            )
        if source.d != first.d:
            raise InputError(
                f"{source.name}: a part of width {source.d} beside one of width {first.d}; all "
                "must have one width"
            )
        own = _hashes(source, seed)
        k = rows_for(first.d)
        joined = np.concatenate([hashes, own])
        chosen = np.argsort(joined, kind="stable")[:k]
        fresh = chosen[chosen >= len(hashes)] - len(hashes)
        # Old rows stand before new ones; then all in the order of their hashes.
        rows = np.concatenate([kept, source.rows(fresh)])
        places = chosen.copy()
        places[chosen >= len(hashes)] = len(hashes) + np.arange(len(fresh))
        kept, hashes = rows[places], joined[chosen]
    if first is None or kept is None:
        raise InputError("no parts to learn from; give at least one")
    return kept, first.name


def hash_bound(k: int, n: int) -> int:
    """A hash that almost surely `k` of `n` ids do not exceed, and not many more."""
    wanted = k + SPREAD * math.sqrt(k) + SPREAD**2
    return min(2**64 - 1, int(wanted / max(n, 1) * 2**64))


def rows_below(source: VectorSource, bound: int, seed: int) -> Int64:
    """The rows of `source` whose ids have a hash of at most `bound`."""
    return np.flatnonzero(_hashes(source, seed) <= np.uint64(bound))


def _hashes(source: VectorSource, seed: int) -> UInt64:
    return id_hashes(as_ids(source._raw_ids(), source.name), seed)
