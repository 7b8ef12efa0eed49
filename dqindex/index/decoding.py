"""Vectors back from their codes, in the space they came from."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from dqindex._types import Float32, Int64
from dqindex.errors import SpecError
from dqindex.index.searching import decode


def reconstruct(index: Any, rows: Int64, places: Any, spec: str) -> Float32:
    """The vectors of `rows`: from the refinement where there is one, else from the codes.

    Raises
    ------
    SpecError
        If a transform of the index cannot be undone.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexRefine):
        return reconstruct(index.refine_index, rows, places, spec)
    if isinstance(index, faiss.IndexPreTransform):
        x = reconstruct(index.index, rows, places, spec)
        for place in reversed(range(index.chain.size())):
            link = faiss.downcast_VectorTransform(index.chain.at(place))
            x = _undone(link, x, spec)
        return x
    if hasattr(index, "hnsw"):
        index = faiss.downcast_index(index.storage)
    return decode(index, rows, places)


def _undone(link: Any, x: Float32, spec: str) -> Float32:
    if isinstance(link, faiss.LinearTransform) and not link.is_orthonormal:
        matrix = faiss.vector_to_array(link.A).reshape(link.d_out, link.d_in)
        if link.have_bias:
            x = x - faiss.vector_to_array(link.b)
        solved = np.linalg.lstsq(matrix.astype(np.float64), x.T.astype(np.float64), rcond=None)[0]
        return np.ascontiguousarray(solved.T, dtype=np.float32)
    try:
        undone: Float32 = link.reverse_transform(np.ascontiguousarray(x))
    except RuntimeError as error:
        raise SpecError(
            f"spec {spec!r}: {type(link).__name__} can't be inverted, so vectors can't "
            f"be reconstructed ({str(error).rpartition('Error: ')[2]})"
        ) from None
    return undone
