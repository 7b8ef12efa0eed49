"""Add vectors to a trained index: in parallel, and with the same bytes at any thread count.

FAISS's own ``add`` hands a whole block to a BLAS whose rounding depends on the number of threads,
and encodes along a path that is several times slower than the one in `dqindex.quantizer.encoding`.
Here rows go through in fixed pieces, a piece a thread, while the next are read; where the codes are
whole they are made here and handed to FAISS ready.
Score-aware codes, which FAISS can't make, always are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from dqindex._types import Float32
from dqindex.index.anatomy import dissect
from dqindex.index.codes import FAST, FAST_LISTS, append_entries, append_flat
from dqindex.index.score_aware import origin_of
from dqindex.parallel.pieces import cut, pieces
from dqindex.parallel.threads import parallel_map, single_blas_thread
from dqindex.quantizer.encoding import code_dtype, nearest_codes, quantizer_is_faster
from dqindex.quantizer.score_aware import FEW, ScoreAwareEncoder, directions
from dqindex.vectors.extent import check_labels

Bytes = npt.NDArray[np.uint8]
# Fast-scan codes that are stored at once: to put them behind others, those are moved.
STORED_ROWS = 2**18


def apply_transform(link: Any, x: Float32, *, in_place: bool = False) -> Float32:
    """``link.apply(x)``, piece by piece on all threads; over `x` itself where that fits."""
    out = x
    if not in_place or link.d_out != link.d_in:
        out = np.empty((len(x), link.d_out), dtype=np.float32)

    def piece(part: slice) -> None:
        out[part] = link.apply(np.ascontiguousarray(x[part]))

    for _ in parallel_map(piece, pieces(len(x), x.shape[1])):
        pass
    return out


def coarse_residuals(quantizer: Any, rows: Float32) -> tuple[npt.NDArray[np.int64], Float32]:
    """List of every row, and what its centroid leaves over; on this thread."""
    lists = check_labels(quantizer.assign(rows, 1)[:, 0])
    return lists, rows - quantizer.reconstruct_batch(lists)


def add_blocks(index: Any, blocks: Iterable[Float32], eta: float = 1.0) -> Iterator[int]:
    """Add the rows of all `blocks` at the end of `index`, which must be trained.

    Yields the number of rows of each part that was added; nothing happens unless they are drawn.
    Above 1, `eta` is the weight of `dqindex.quantizer.score_aware`.
    """
    index = faiss.downcast_index(index)
    parts = dissect(index)
    if parts.refine is None and (_whole(parts.core) or eta > 1):
        yield from _add_codes(index, parts.chain, parts.core, blocks, eta)
        return
    for block in blocks:
        _add_block(index, block, eta)
        yield len(block)


def _whole(core: Any) -> bool:
    """Whether FAISS takes codes of whole bytes as they are."""
    plain = type(core) in (faiss.IndexPQ, faiss.IndexIVFPQ)
    return plain and core.code_size * 8 == core.pq.M * core.pq.nbits


def _add_block(index: Any, x: Float32, eta: float) -> None:
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        for place in range(index.chain.size()):
            x = apply_transform(faiss.downcast_VectorTransform(index.chain.at(place)), x)
        _add_block(index.index, x, eta)
        index.ntotal = index.index.ntotal
    elif isinstance(index, faiss.IndexRefine):
        for _ in add_blocks(index.base_index, [x], eta):
            pass
        with single_blas_thread():
            index.refine_index.add(np.ascontiguousarray(x))
        index.ntotal = index.refine_index.ntotal
    else:
        with single_blas_thread():
            index.add(np.ascontiguousarray(x))


def _add_codes(
    index: Any, chain: list[Any], core: Any, blocks: Iterable[Float32], eta: float
) -> Iterator[int]:
    """Encode here, and store the codes."""
    encode = _encoder(chain, core, eta)
    # FAISS's kernels need no large pieces; smaller ones spread better.
    small = core.pq.ksub <= FEW if eta > 1 else quantizer_is_faster(core.pq.dsub, core.pq.nbits)
    width = core.d if small else core.pq.dsub
    least = STORED_ROWS if isinstance(core, FAST | FAST_LISTS) else 1
    held: list[Bytes] = []
    for codes in parallel_map(encode, cut(blocks, width)):
        held.append(codes)
        if sum(map(len, held)) >= least:
            _store(core, np.concatenate(held))
            held = []
        yield len(codes)
    if held:
        _store(core, np.concatenate(held))
    _set_total(index, core.ntotal)


def _store(core: Any, codes: Bytes) -> None:
    """Put `codes` behind those of `core`; in an inverted file, a list number stands before each."""
    if isinstance(core, FAST):
        append_flat(core, codes)
    elif isinstance(core, FAST_LISTS):
        size = core.coarse_code_size()
        lists = np.zeros((len(codes), 8), dtype=np.uint8)
        lists[:, :size] = codes[:, :size]
        append_entries(core, lists.view("<i8")[:, 0], codes[:, size:])
    elif isinstance(core, faiss.IndexIVFPQ):
        # Held by a name of ours: FAISS's wrapper keeps a pointer to it, and nothing else.
        ids = np.arange(core.ntotal, core.ntotal + len(codes), dtype=np.int64)
        core.add_sa_codes(codes, ids)
    else:
        core.add_sa_codes(codes)


def _set_total(index: Any, total: int) -> None:
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        _set_total(index.index, total)
        index.ntotal = total


def _encoder(chain: list[Any], core: Any, eta: float) -> Callable[[Float32], Bytes]:
    """A function of rows that gives FAISS's codes, list number first; on its thread."""
    codes_of = _nearest_encoder(core.pq) if eta == 1 else _aware_encoder(chain, core.pq, eta)
    inverted = isinstance(core, faiss.IndexIVF)

    def encode(rows: Float32) -> Bytes:
        rows = np.ascontiguousarray(rows)
        for link in chain:
            rows = link.apply(rows)
        if not inverted:
            return codes_of(rows, rows)
        lists, residuals = coarse_residuals(core.quantizer, rows)
        # FAISS's layout: the list number in as few bytes as fit, little-endian, then the code.
        prefix = lists.astype("<i8")[:, None].view(np.uint8)[:, : core.coarse_code_size()]
        return np.hstack([prefix, codes_of(residuals if core.by_residual else rows, rows)])

    return encode


# Of what is quantised, and of the vectors that it is part of.
Encode = Callable[[Float32, Float32], Bytes]


def _nearest_encoder(pq: Any) -> Encode:
    codebooks = codebooks_of(pq)

    def encode(rows: Float32, _: Float32) -> Bytes:
        if quantizer_is_faster(pq.dsub, pq.nbits):
            return np.asarray(pq.compute_codes(np.ascontiguousarray(rows)))
        codes = np.empty((len(rows), pq.M), dtype=code_dtype(pq.ksub))
        nearest_codes(rows, codebooks, codes)
        return _packed(codes, pq.nbits)

    return encode


def _aware_encoder(chain: list[Any], pq: Any, eta: float) -> Encode:
    aware, origin = ScoreAwareEncoder(codebooks_of(pq)), origin_of(chain)

    def encode(rows: Float32, vectors: Float32) -> Bytes:
        return _packed(aware.encode(rows, directions(vectors - origin, eta)), pq.nbits)

    return encode


def codebooks_of(pq: Any) -> list[Float32]:
    """M arrays (ksub, dsub)."""
    return list(faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub))


def _packed(codes: npt.NDArray[Any], bits: int) -> Bytes:
    """Codes as FAISS packs them: `bits` each, one after another, the lowest bit first."""
    if bits == 8:
        return codes
    little = codes.astype("<u2").view(np.uint8).reshape(*codes.shape, 2)
    each = np.unpackbits(little, axis=2, bitorder="little")[:, :, :bits]
    return np.packbits(each.reshape(len(codes), -1), axis=1, bitorder="little")
