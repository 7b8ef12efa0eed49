"""Items whose vectors are the same: no model can tell them apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dqindex._types import Float32, Int64

# Groups that are told of, and items of each that are named.
TOLD_GROUPS, TOLD_ITEMS = 5, 3
# Rows whose bytes are looked at together.
ROWS_AT_ONCE = 65536


class Duplicates(NamedTuple):
    """Groups of items that share one vector.

    Attributes
    ----------
    share : float
        Items whose vector another item has as well, over all items.
    groups : int
        Number of such vectors.
    largest : list of (int, list)
        Of up to five groups, the largest first: how many items, and the ids of the first three.
    """

    share: float
    groups: int
    largest: list[tuple[int, list[Any]]]

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "share": self.share,
            "groups": self.groups,
            "largest": [{"items": items, "ids": ids} for items, ids in self.largest],
        }


def find_duplicates(
    vectors: Float32, numbers: Int64, rows: Int64, ids: pa.Array | None, n: int
) -> Duplicates:
    """Those among `rows` of a catalogue of `n`.

    Parameters
    ----------
    vectors : (m, d) float32, in memory or on disk
    numbers : (m,) integers
        Equal vectors have equal ones.
    rows : (m,) int64
        Ascending.
    ids : pyarrow.Array or None
        Of all n items.
    n : int
    """
    hashes = np.empty(len(vectors), dtype=np.uint64)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        hashes[part] = row_hashes(vectors[part])
    order = np.lexsort((rows, hashes, numbers))
    same = (np.diff(numbers[order]) == 0) & (np.diff(hashes[order]) == 0)
    for start in range(0, len(same), ROWS_AT_ONCE):
        alike = start + np.flatnonzero(same[start : start + ROWS_AT_ONCE])
        same[alike] = (vectors[order[alike]] == vectors[order[alike + 1]]).all(axis=1)
    starts = np.flatnonzero(np.concatenate([[True], ~same]))[: len(order)]
    sizes = np.diff(starts, append=len(order))
    groups = np.flatnonzero(sizes > 1)
    # The largest first, then the one that begins first.
    ranked = groups[np.lexsort((rows[order[starts[groups]]], -sizes[groups]))][:TOLD_GROUPS]
    names = pa.array(np.arange(n)) if ids is None else ids
    return Duplicates(
        float(sizes[groups].sum()) / n,
        len(groups),
        [
            (
                int(sizes[group]),
                names.take(
                    pa.array(rows[order[starts[group] :][: min(sizes[group], TOLD_ITEMS)]])
                ).to_pylist(),
            )
            for group in ranked
        ],
    )


def row_hashes(vectors: Float32) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """64 bits a row, that depend on all of its values: equal rows have equal ones."""
    # Adding 0 makes -0 and 0 the same, as they are.
    values = (vectors + np.float32(0)).view(np.uint32).astype(np.uint64)
    weights = np.random.default_rng(0).integers(2**63, size=values.shape[1], dtype=np.uint64)
    values *= weights * np.uint64(2) + np.uint64(1)
    values ^= values >> np.uint64(32)
    values *= np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(values.sum(axis=1, dtype=np.uint64))
