"""What an index was trained to: a fingerprint that indexes of one training share."""

from __future__ import annotations

import hashlib
from typing import Any

import faiss
import numpy as np


def training_fingerprint(index: Any, eta: float = 1.0) -> str:
    """SHA-256 of all that codes depend on: transforms, centroids, codebooks, ranges, their layout.

    `eta` is the weight of score-aware codes, which FAISS does not know. What an index holds, and
    how it is searched, do not count. Two indexes of one fingerprint give every vector the same
    codes.
    """
    digest = hashlib.sha256()
    if eta != 1:
        digest.update(f"score_aware {eta};".encode())
    _take(faiss.downcast_index(index), digest)
    return digest.hexdigest()


def _take(index: Any, digest: Any) -> None:
    digest.update(f"{_kind(index)} {index.d} {index.metric_type};".encode())
    if isinstance(index, faiss.IndexPreTransform):
        for place in range(index.chain.size()):
            writer = faiss.VectorIOWriter()
            faiss.write_VectorTransform(index.chain.at(place), writer)
            digest.update(faiss.vector_to_array(writer.data).tobytes())
        _take(faiss.downcast_index(index.index), digest)
        return
    if isinstance(index, faiss.IndexRefine):
        _take(faiss.downcast_index(index.base_index), digest)
        _take(faiss.downcast_index(index.refine_index), digest)
        return
    if hasattr(index, "hnsw"):
        digest.update(f"M {index.hnsw.nb_neighbors(0)} {index.hnsw.efConstruction};".encode())
        _take(faiss.downcast_index(index.storage), digest)
        return
    if isinstance(index, faiss.IndexIVF):
        digest.update(f"{index.nlist} {getattr(index, 'by_residual', None)};".encode())
        _take_quantizer(faiss.downcast_index(index.quantizer), digest)
    _take_codebooks(index, digest)


def _kind(index: Any) -> str:
    """Its class; what holds vectors as they are has another one after it was read."""
    return "IndexFlat" if isinstance(index, faiss.IndexFlat) else type(index).__name__


def _take_quantizer(quantizer: Any, digest: Any) -> None:
    """The centroids: a graph over them may differ, and gives the nearest all the same."""
    digest.update(f"{_kind(quantizer)} {quantizer.ntotal};".encode())
    if isinstance(quantizer, faiss.MultiIndexQuantizer):
        _floats(quantizer.pq.centroids, digest)
    elif quantizer.ntotal:
        digest.update(quantizer.reconstruct_n(0, quantizer.ntotal).tobytes())


def _take_codebooks(index: Any, digest: Any) -> None:
    if hasattr(index, "code_size"):
        # Of RaBitQ nothing else tells how many bits a dimension has.
        digest.update(f"code {index.code_size};".encode())
    for name in ("pq", "refine_pq"):
        if hasattr(index, name):
            pq = getattr(index, name)
            digest.update(f"{name} {pq.M} {pq.nbits};".encode())
            _floats(pq.centroids, digest)
    if hasattr(index, "sq"):
        digest.update(f"sq {index.sq.qtype};".encode())
        _floats(index.sq.trained, digest)
    additive = next(
        (getattr(index, one) for one in ("rq", "lsq", "prq", "plsq", "aq") if hasattr(index, one)),
        None,
    )
    if additive is not None:
        _take_additive(additive, digest)
    if hasattr(index, "center"):
        _floats(index.center, digest)


def _take_additive(quantizer: Any, digest: Any) -> None:
    """Codebooks, and how the norm of a vector is kept in its code."""
    bits = faiss.vector_to_array(quantizer.nbits).tolist()
    digest.update(f"additive {bits} {quantizer.search_type};".encode())
    _floats(quantizer.codebooks, digest)
    if quantizer.norm_bits:
        digest.update(np.array([quantizer.norm_min, quantizer.norm_max], np.float32).tobytes())
    if quantizer.qnorm.ntotal:
        digest.update(quantizer.qnorm.reconstruct_n(0, quantizer.qnorm.ntotal).tobytes())


def _floats(vector: Any, digest: Any) -> None:
    digest.update(np.asarray(faiss.vector_to_array(vector)).tobytes())
