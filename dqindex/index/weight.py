"""What an index weighs: bytes a vector."""

from __future__ import annotations

from typing import Any

import faiss

from dqindex.index.anatomy import dissect
from dqindex.index.spec import make_index, parse_spec


def code_bytes(index: faiss.Index) -> int:
    """Bytes a vector takes in the index: code, id in its list, links, refinement."""
    parts = dissect(index)
    core = parts.core
    if hasattr(core, "hnsw"):
        size = int(parts.holder.sa_code_size())
        # Links are stored for all levels one after another, four bytes each.
        size += round(4 * core.hnsw.neighbors.size() / max(core.ntotal, 1))
    else:
        size = int(getattr(core, "code_size", 0)) or int(core.sa_code_size())
    if parts.ivf is not None:
        size += 8
    if parts.refine is not None:
        size += int(faiss.downcast_index(parts.refine.refine_index).sa_code_size())
    return size


def weight(spec: str, n: int, d: int, metric: str = "l2") -> float:
    """Bytes a vector of an index of `n` vectors in FAISS's file: codes, ids, and its shared parts.

    The parts that all vectors share (rotation, centroids, codebooks) count in proportion, so a
    small index weighs more a vector.
    """
    index = make_index(parse_spec(spec, d), d, metric)
    parts = dissect(index)
    shared = 0
    for link in parts.chain:
        if isinstance(link, faiss.LinearTransform):
            shared += 4 * link.d_out * (link.d_in + 1)
    if parts.ivf is not None:
        # The centroids, and the length of each list.
        shared += parts.ivf.nlist * (4 * parts.core.d + 8)
    if parts.pq is not None:
        shared += 4 * parts.pq.ksub * parts.pq.d
    return code_bytes(index) + _graph_bytes(parts.core) + shared / n


def _graph_bytes(core: Any) -> float:
    """Bytes that a vector will have in a graph, which is empty: links, its level and its place."""
    if not hasattr(core, "hnsw"):
        return 0.0
    first, others = core.hnsw.nb_neighbors(0), core.hnsw.nb_neighbors(1)
    # Each level has a share 1 / others of the vectors of that below it.
    return float(4 * (first + others / max(others - 1, 1)) + 4 + 8)
