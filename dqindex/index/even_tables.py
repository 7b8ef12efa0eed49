"""Queries that FastScan has no answer to, searched by decoding.

FastScan rounds a query's table of distances to bytes, and divides by the span of the table. Where
all codewords are equally far there is none, and what comes back is NaN, or no neighbour at all: for
a query of zeros under ``ip``, and where all vectors are one. Such queries are few, and are compared
with every vector as it is decoded.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Int64
from dqindex.index.anatomy import dissect

DECODED_VALUES = 2**22


def mend(
    index: Any,
    queries: Float32,
    positions: Int64,
    distances: Float32,
    keep: npt.NDArray[np.bool_] | None = None,
) -> None:
    """Replace the answers of `index` that an even table spoilt, in place.

    Parameters
    ----------
    index : faiss.Index
    queries : (n, d) float32
        As the index was asked.
    positions, distances : (n, k)
        As it answered.
    keep : (ntotal,) bool, optional
        Which vectors may be found.
    """
    parts = dissect(index)
    if "FastScan" not in type(parts.core).__name__ or not index.ntotal:
        return
    spoilt = np.isnan(distances).any(axis=1)
    if parts.refine is not None:
        # The refinement passes on that there are none.
        spoilt |= (positions < 0).all(axis=1)
    rows = np.flatnonzero(spoilt)
    if rows.size:
        found = _exhaustive(index, queries[rows], positions.shape[1], keep)
        positions[rows], distances[rows] = found


def _exhaustive(
    index: Any, x: Float32, k: int, keep: npt.NDArray[np.bool_] | None
) -> tuple[Int64, Float32]:
    """Positions and distances of the `k` nearest, all vectors decoded."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        for place in range(index.chain.size()):
            x = faiss.downcast_VectorTransform(index.chain.at(place)).apply(np.ascontiguousarray(x))
        return _exhaustive(index.index, x, k, keep)
    # What refines holds the vectors more exactly.
    store = index.refine_index if isinstance(index, faiss.IndexRefine) else index
    metric = faiss.METRIC_INNER_PRODUCT if faiss.is_similarity_metric(index.metric_type) else None
    heap = faiss.ResultHeap(len(x), k, keep_max=metric is not None)
    step = max(1, DECODED_VALUES // index.d)
    for start in range(0, index.ntotal, step):
        rows = np.arange(start, min(start + step, index.ntotal))
        decoded = store.reconstruct_n(start, len(rows))
        if keep is not None:
            rows, decoded = rows[keep[rows]], decoded[keep[rows]]
        if len(rows):
            found, places = faiss.knn(
                np.ascontiguousarray(x),
                np.ascontiguousarray(decoded),
                min(k, len(rows)),
                metric=faiss.METRIC_L2 if metric is None else metric,
            )
            heap.add_result(found, rows[places])
    heap.finalize()
    return heap.I, heap.D
