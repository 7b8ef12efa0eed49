"""What an index was trained to: a fingerprint that indexes of one training share."""

from __future__ import annotations

import hashlib
from typing import Any

import faiss
import numpy as np


def training_fingerprint(index: Any) -> str:
    """SHA-256 of all that training made: transforms, centroids, codebooks, ranges.

    What it holds, and how it is searched, do not count. Two indexes of one fingerprint give every
    vector the same codes.
    """
    digest = hashlib.sha256()
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
        digest.update(f"additive {faiss.vector_to_array(additive.nbits).tolist()};".encode())
        _floats(additive.codebooks, digest)
    if hasattr(index, "center"):
        _floats(index.center, digest)


def _floats(vector: Any, digest: Any) -> None:
    digest.update(np.asarray(faiss.vector_to_array(vector)).tobytes())
