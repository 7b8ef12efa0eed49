"""Add vectors to a trained index: in parallel, and with the same bytes at any thread count.

FAISS's own ``add`` hands a whole block to a BLAS whose rounding depends on the number of threads,
and encodes along a path that is several times slower than the one in `dqindex.codebooks`. Here
rows go through in fixed pieces, a piece a thread; where the codes are plain bytes they are made
here and handed to FAISS ready.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from dqindex.codebooks import nearest_codes
from dqindex.nearest import pieces
from dqindex.threads import map_single_threaded, single_blas_thread
from dqindex.vectors.convert import Float32


def apply_transform(link: Any, x: Float32) -> Float32:
    """``link.apply(x)``, piece by piece on all threads."""
    out = np.empty((len(x), link.d_out), dtype=np.float32)

    def piece(part: slice) -> None:
        out[part] = link.apply(np.ascontiguousarray(x[part]))

    for _ in map_single_threaded(piece, pieces(len(x), x.shape[1])):
        pass
    return out


def coarse_residuals(quantizer: Any, rows: Float32) -> tuple[npt.NDArray[np.int64], Float32]:
    """List of every row, and what its centroid leaves over; on this thread."""
    lists = quantizer.assign(rows, 1)[:, 0]
    return lists, rows - quantizer.reconstruct_batch(lists)


def add_block(index: Any, x: Float32) -> None:
    """Add the rows of `x` at the end of `index`, which must be trained."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        for place in range(index.chain.size()):
            x = apply_transform(faiss.downcast_VectorTransform(index.chain.at(place)), x)
        add_block(index.index, x)
        index.ntotal = index.index.ntotal
    elif isinstance(index, faiss.IndexRefine):
        add_block(index.base_index, x)
        with single_blas_thread():
            index.refine_index.add(np.ascontiguousarray(x))
        index.ntotal = index.refine_index.ntotal
    elif type(index) in (faiss.IndexPQ, faiss.IndexIVFPQ) and index.pq.nbits == 8:
        _add_codes(index, x)
    else:
        with single_blas_thread():
            index.add(np.ascontiguousarray(x))


def _add_codes(index: Any, x: Float32) -> None:
    """Encode `x` here, and store the codes."""
    pq = index.pq
    stacked = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub)
    codebooks = list(stacked)
    inverted = isinstance(index, faiss.IndexIVFPQ)
    # FAISS's layout: the list number in as few bytes as fit, little-endian, then the code.
    prefix = int(index.coarse_code_size()) if inverted else 0
    out = np.empty((len(x), prefix + pq.M), dtype=np.uint8)

    def piece(part: slice) -> None:
        rows = np.ascontiguousarray(x[part])
        codes = out[part]
        if inverted:
            lists, residuals = coarse_residuals(index.quantizer, rows)
            codes[:, :prefix] = _bytes(lists, prefix)
            rows = residuals if index.by_residual else rows
        nearest_codes(rows, codebooks, codes[:, prefix:])

    for _ in map_single_threaded(piece, pieces(len(x), pq.dsub)):
        pass
    if inverted:
        index.add_sa_codes(out, np.arange(index.ntotal, index.ntotal + len(x)))
    else:
        index.add_sa_codes(out)


def _bytes(lists: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.uint8]:
    return lists.astype("<i8")[:, None].view(np.uint8)[:, :width]
