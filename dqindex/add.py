"""Add vectors to a trained index: in parallel, and with the same bytes at any thread count.

FAISS's own ``add`` hands a whole block to a BLAS whose rounding depends on the number of threads,
and encodes along a path that is several times slower than the one in `dqindex.codebooks`. Here
rows go through in fixed chunks, a chunk a thread; where the codes are plain bytes they are made
here and handed to FAISS ready.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from dqindex.codebooks import ENCODE_ROWS, nearest_codes
from dqindex.threads import map_single_threaded, single_blas_thread
from dqindex.vectors.convert import Float32


def apply_transform(link: Any, x: Float32) -> Float32:
    """``link.apply(x)``, in parallel chunks of a fixed size."""
    out = np.empty((len(x), link.d_out), dtype=np.float32)

    def chunk(start: int) -> None:
        rows = np.ascontiguousarray(x[start : start + ENCODE_ROWS])
        out[start : start + ENCODE_ROWS] = link.apply(rows)

    for _ in map_single_threaded(chunk, range(0, len(x), ENCODE_ROWS)):
        pass
    return out


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

    def chunk(start: int) -> None:
        rows = np.ascontiguousarray(x[start : start + ENCODE_ROWS])
        codes = out[start : start + ENCODE_ROWS]
        if inverted:
            lists = index.quantizer.assign(rows, 1)[:, 0]
            codes[:, :prefix] = _bytes(lists, prefix)
            if index.by_residual:
                rows = rows - index.quantizer.reconstruct_batch(lists)
        nearest_codes(rows, codebooks, codes[:, prefix:])

    for _ in map_single_threaded(chunk, range(0, len(x), ENCODE_ROWS)):
        pass
    if inverted:
        index.add_sa_codes(out, np.arange(index.ntotal, index.ntotal + len(x)))
    else:
        index.add_sa_codes(out)


def _bytes(lists: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.uint8]:
    return lists.astype("<i8")[:, None].view(np.uint8)[:, :width]
