"""Search by radius: FAISS's way where it has a right one, over the codes elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Int64
from dqindex.index.parameters import Settings, for_one_search
from dqindex.index.searching import BLOCK_VALUES, decode, through

Ranges = tuple[Int64, Float32, Int64]


@dataclass(frozen=True)
class Within:
    """What is asked of a FAISS index.

    Attributes
    ----------
    index : faiss.Index
    settings : dict
        Checked parameters, for this search.
    mask : array of bool, or None
        The rows that may be found.
    rows_of : callable
        Labels in the lists to rows.
    places : callable
        Gives the `Places` of the rows of the IVF behind the index.
    """

    index: Any
    settings: Settings
    mask: npt.NDArray[np.bool_] | None
    rows_of: Any
    places: Any

    def run(self, x: Float32, radius: float) -> Ranges:
        """Limits by query; distances and rows, the nearest of each query first."""
        if ranges_by_faiss(self.index):
            parameters = for_one_search(self.index, self.settings, None, 1)
            limits, distances, labels = self.index.range_search(x, radius, params=parameters)
            queries = np.repeat(np.arange(len(x)), np.diff(limits.astype(np.int64)))
            rows = self.rows_of(labels)
            if self.mask is not None:
                stays = self.mask[rows]
                queries, distances, rows = queries[stays], distances[stays], rows[stays]
        else:
            chosen = (
                np.arange(self.index.ntotal) if self.mask is None else np.flatnonzero(self.mask)
            )
            queries, distances, rows = range_scan(self.index, x, radius, chosen, self.places)
        keys = -distances if self.index.metric_type == faiss.METRIC_INNER_PRODUCT else distances
        order = np.lexsort((rows, keys, queries))
        counts = np.bincount(queries, minlength=len(x))
        limits = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return limits, distances[order], rows[order]


def ranges_by_faiss(index: Any) -> bool:
    """Whether FAISS's own range search of `index` is there and right.

    Of fast-scan codes it is neither: flat ones have none, and that of lists (FAISS 1.15) gives
    more than lie within. A graph misses what it does not come by, for products most of it; a
    refinement, what lies within by its own codes and not by the first.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return ranges_by_faiss(index.index)
    fast = isinstance(index, faiss.IndexFastScan | faiss.IndexIVFFastScan)
    refined = isinstance(index, faiss.IndexRefine | faiss.IndexIVFPQR)
    return not (fast or refined or hasattr(index, "hnsw") or isinstance(index, faiss.IndexLSH))


def range_scan(index: Any, x: Float32, radius: float, rows: Int64, places: Any) -> Ranges:
    """All of `rows` within `radius`, by their codes: query, distance and row of each."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return range_scan(index.index, through(index, x), radius, rows, places)
    if isinstance(index, faiss.IndexRefine):
        return range_scan(index.refine_index, x, radius, rows, places)
    if hasattr(index, "hnsw"):
        index = faiss.downcast_index(index.storage)
    inner = index.metric_type == faiss.METRIC_INNER_PRODUCT
    queries, distances, found = [], [], []
    step = max(1, BLOCK_VALUES // max(index.d, len(x)))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        vectors = decode(index, block, places)
        apart = faiss.pairwise_distances(
            x, vectors, faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2
        )
        query, place = np.nonzero(apart > radius if inner else apart < radius)
        queries.append(query)
        distances.append(apart[query, place])
        found.append(block[place])
    if not queries:
        return np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64)
    return np.concatenate(queries), np.concatenate(distances), np.concatenate(found)
