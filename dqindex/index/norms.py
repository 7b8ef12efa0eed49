"""What FAISS leaves out of the distances that it finds by additive fast-scan codes.

Of |q|^2 - 2 q.x + |x|^2 it gives the last two terms: the first is the same for all neighbours of a
query. Flat ones lack a constant as well: FAISS 1.15 scans the tables of |x|^2 in finer steps, by a
whole number, and takes the least value of a table only as often as without.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from dqindex._types import Float32
from dqindex.index.adding import apply_transform
from dqindex.index.places import ADDITIVE_FAST, quantizer_of

# Codewords of a table of norms, of which there are two.
NORM_CODEWORDS = 16


def left_out(index: Any, x: Float32) -> Float32 | None:
    """What is to be added to the distances of each query, shape (n, 1); None where nothing is."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        if not isinstance(faiss.downcast_index(index.index), ADDITIVE_FAST):
            return None
        for place in range(index.chain.size()):
            x = apply_transform(faiss.downcast_VectorTransform(index.chain.at(place)), x)
        return left_out(index.index, x)
    if not isinstance(index, ADDITIVE_FAST) or index.metric_type != faiss.METRIC_L2:
        return None
    missing: Float32 = np.einsum("ij,ij->i", x, x, dtype=np.float64)[:, None] + _of_tables(index)
    return missing


def _of_tables(index: Any) -> float:
    if isinstance(index, faiss.IndexIVF):
        return 0.0
    tables = faiss.vector_to_array(quantizer_of(index).norm_tabs).reshape(-1, NORM_CODEWORDS)
    least = float(tables.min(axis=1).sum(dtype=np.float64))
    return least * (1 - 1 / int(index.norm_scale))
