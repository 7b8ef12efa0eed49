"""FAISS's own warnings of few training vectors, which it writes to stderr past everyone: off."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from dqindex._types import Float32
from dqindex.index.anatomy import Anatomy

# Vectors a centroid below which FAISS's k-means warns.
WARNS_BELOW = 39
# Codewords of each table of norms, whose k-means cannot be reached.
NORM_CODEWORDS = 16


def silence(parts: Anatomy) -> None:
    """Let no k-means of what FAISS trains in `parts` warn of few vectors; nothing else changes."""
    coarse = [] if parts.ivf is None else [faiss.downcast_index(parts.ivf.quantizer)]
    for one in [parts.core, *coarse]:
        for name in ("pq", "refine_pq", "rq", "lsq", "prq", "plsq"):
            _silence_quantizer(getattr(one, name, None))


def _silence_quantizer(quantizer: Any) -> None:
    if hasattr(quantizer, "cp"):
        quantizer.cp.min_points_per_centroid = 1
    for number in range(getattr(quantizer, "nsplits", 0)):
        _silence_quantizer(faiss.downcast_AdditiveQuantizer(quantizer.subquantizer(number)))


def train_opq(link: Any, x: Float32) -> None:
    """Train an OPQ with the PQ that FAISS would make for it, and no warning."""
    own = faiss.ProductQuantizer(link.d_out, link.M, 8)
    own.cp.min_points_per_centroid = 1
    link.pq = own
    try:
        link.train(x)
    finally:
        link.pq = None


def enough(x: Float32, parts: Anatomy) -> Float32:
    """`x`, repeated where a k-means that cannot be reached would warn of few vectors."""
    quantizer = getattr(parts.core, "aq", None)
    least = WARNS_BELOW * NORM_CODEWORDS
    if quantizer is None or quantizer.search_type != faiss.AdditiveQuantizer.ST_norm_rq2x4:
        return x
    return x if len(x) >= least else np.resize(x, (least, x.shape[1]))
