"""The vectors inside a FAISS index: left out, or put in other places; their codes stay the same.

FAISS removes and merges for some kinds of index, and moves vectors within their lists as it does.
Here an index is always rewritten to what it would be had the vectors that it now holds been added
in their order: lists ascend, numbers of rows have no gaps, and what was removed is gone from memory
and from files.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Int64
from dqindex.errors import SpecError

Bytes = npt.NDArray[np.uint8]
# Where the rows of an index go: the new row of each, -1 for those that are left out.
Part = tuple[Any, Int64]
ROWS = 65536


def compose(index: Any, parts: Sequence[Part], total: int) -> None:
    """Make `index` hold the rows of `parts`, each at its new row; together they fill 0 … total - 1.

    Parts are `index` itself, or indexes of the same training.

    Raises
    ------
    SpecError
        If FAISS gives no way to take the codes of such an index apart.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        compose(index.index, [(_down(one).index, places) for one, places in parts], total)
    elif isinstance(index, faiss.IndexRefine):
        compose(index.base_index, [(_down(one).base_index, to) for one, to in parts], total)
        compose(index.refine_index, [(_down(one).refine_index, to) for one, to in parts], total)
    elif hasattr(index, "hnsw"):
        _compose_graph(index, parts, total)
    elif isinstance(index, faiss.IndexIVF):
        _compose_lists(index, [(_down(one), places) for one, places in parts], total)
    else:
        _compose_flat(index, parts, total)
    index.ntotal = total


def check_composable(index: Any, spec: str) -> None:
    """Refuse an index that `compose` cannot rewrite, before anything is done.

    Raises
    ------
    SpecError
    """
    for one in leaves(index):
        if not (isinstance(one, faiss.IndexIVF | faiss.IndexFlatCodes) or _is_fast(one)):
            raise SpecError(
                f"spec {spec!r}: vectors cannot be removed or replaced, nor indexes merged, as "
                f"FAISS's {type(one).__name__} does not give its codes out; build the index again"
            )


def leaves(index: Any) -> list[Any]:
    """The indexes that hold codes: behind transforms, below refinements and graphs."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return leaves(index.index)
    if isinstance(index, faiss.IndexRefine):
        return leaves(index.base_index) + leaves(index.refine_index)
    if hasattr(index, "hnsw"):
        return leaves(index.storage)
    return [index]


def _down(index: Any) -> Any:
    return faiss.downcast_index(index)


def _is_fast(index: Any) -> bool:
    """Whether codes lie interleaved in blocks, in the one layout that is known here."""
    return isinstance(index, faiss.IndexFastScan)


# Flat codes.


def flat_codes(index: Any) -> Bytes:
    """A copy of the codes of a flat index, shape (n, bytes)."""
    if _is_fast(index):
        packer = index.get_CodePacker()
        blocks = faiss.rev_swig_ptr(index.codes.get(), index.codes.size())
        return unpack(packer, blocks, index.ntotal)
    codes = faiss.vector_to_array(index.codes)
    return np.asarray(codes).reshape(index.ntotal, index.code_size)


def codes_at(index: Any, rows: Int64) -> Bytes:
    """The codes of `rows` of a flat index."""
    if not len(rows):
        return np.empty((0, 0), dtype=np.uint8)
    if _is_fast(index):
        packer = index.get_CodePacker()
        blocks = faiss.rev_swig_ptr(index.codes.get(), index.codes.size())
        blocks = blocks.reshape(-1, packer.block_size)
        numbers, places = np.divmod(rows, packer.nvec)
        pairs = zip(numbers.tolist(), places.tolist(), strict=True)
        return np.stack([packer.unpack_1(blocks[[number]], place) for number, place in pairs])
    held = faiss.rev_swig_ptr(index.codes.data(), index.codes.size())
    return np.array(held.reshape(-1, index.code_size)[rows])


def _compose_flat(index: Any, parts: Sequence[Part], total: int) -> None:
    codes: Bytes | None = None
    for source, places in parts:
        taken = flat_codes(_down(source))
        if codes is None:
            codes = np.empty((total, taken.shape[1]), dtype=np.uint8)
        stays = places >= 0
        codes[places[stays]] = taken[stays]
        del taken
    if codes is not None:
        set_flat_codes(index, codes)


def set_flat_codes(index: Any, codes: Bytes) -> None:
    """Replace all codes of a flat index."""
    if _is_fast(index):
        packer = index.get_CodePacker()
        faiss.copy_array_to_AlignedTable(pack(packer, codes).ravel(), index.codes)
        index.ntotal2 = -(-len(codes) // packer.nvec) * packer.nvec
    else:
        faiss.copy_array_to_vector(np.ascontiguousarray(codes).ravel(), index.codes)
    index.ntotal = len(codes)


# Lists.


def lists_of(index: Any) -> Any:
    """The inverted lists of an IVF, as what they are."""
    return faiss.downcast_InvertedLists(index.invlists)


def list_ids(lists: Any, number: int) -> Int64:
    """The ids in a list: a view of them."""
    size = lists.list_size(number)
    if not size:
        return np.empty(0, dtype=np.int64)
    ids: Int64 = faiss.rev_swig_ptr(lists.get_ids(number), size)
    return ids


def list_codes(lists: Any, number: int) -> Bytes:
    """The codes in a list, shape (n, bytes): a view, or a copy where they lie interleaved."""
    size = lists.list_size(number)
    packer = getattr(lists, "packer", None)
    if packer is not None:
        held = -(-size // packer.nvec) * packer.block_size
        return unpack(packer, faiss.rev_swig_ptr(lists.get_codes(number), held), size)
    if not size:
        return np.empty((0, lists.code_size), dtype=np.uint8)
    flat = faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size)
    return np.asarray(flat).reshape(size, lists.code_size)


def _write_list(lists: Any, number: int, ids: Int64, codes: Bytes) -> None:
    packer = getattr(lists, "packer", None)
    stored = codes if packer is None else pack(packer, codes)
    lists.resize(number, 0)
    if len(ids):
        lists.add_entries(
            number,
            len(ids),
            faiss.swig_ptr(np.ascontiguousarray(ids)),
            faiss.swig_ptr(np.ascontiguousarray(stored)),
        )


def _compose_lists(index: Any, parts: Sequence[Part], total: int) -> None:
    # A map from ids to places that FAISS was asked for would no longer be true.
    index.set_direct_map_type(faiss.DirectMap.NoMap)
    lists = lists_of(index)
    sources = [(lists_of(one), places) for one, places in parts]
    extra = _compose_extra(index, parts, total)
    for number in range(index.nlist):
        ids, codes = [], []
        for source, places in sources:
            if not source.list_size(number):
                continue
            new = places[list_ids(source, number)]
            stays = new >= 0
            ids.append(new[stays])
            codes.append(list_codes(source, number)[stays])
        if not ids:
            continue
        joined, held = np.concatenate(ids), np.concatenate(codes)
        if (joined[1:] < joined[:-1]).any():
            order = np.argsort(joined, kind="stable")
            joined, held = joined[order], held[order]
        _write_list(lists, number, joined, held)
    if extra is not None:
        faiss.copy_array_to_vector(extra.ravel(), index.refine_codes)


def _compose_extra(index: Any, parts: Sequence[Part], total: int) -> Bytes | None:
    """The second codes of an IVF-PQR, by row."""
    if not isinstance(index, faiss.IndexIVFPQR):
        return None
    width = index.refine_pq.code_size
    codes = np.empty((total, width), dtype=np.uint8)
    for source, places in parts:
        stays = places >= 0
        held = faiss.vector_to_array(source.refine_codes).reshape(-1, width)
        codes[places[stays]] = held[stays]
    return codes


# Graphs.


def _compose_graph(index: Any, parts: Sequence[Part], total: int) -> None:
    """A graph has no way to lose a node: it is made anew, over what the codes decode to."""
    storage = _down(index.storage)
    _compose_flat(storage, [(_down(one).storage, places) for one, places in parts], total)
    codes = flat_codes(storage)
    decoded = storage.reconstruct_n(0, total) if total else None
    index.reset()
    if decoded is not None:
        index.add(decoded)
        # To encode what was decoded may choose another of two equal codewords.
        set_flat_codes(storage, codes)


# Codes of four bits, interleaved in blocks.


def unpack(packer: Any, blocks: Bytes, n: int) -> Bytes:
    """The first `n` codes of interleaved `blocks`, shape (n, bytes)."""
    count = -(-n // packer.nvec)
    codes = np.zeros((count * packer.nvec, packer.code_size), dtype=np.uint8)
    blocks = np.ascontiguousarray(blocks[: count * packer.block_size])
    for block in range(count):
        packer.unpack_all(
            faiss.swig_ptr(blocks[block * packer.block_size :]),
            faiss.swig_ptr(codes[block * packer.nvec :]),
        )
    return codes[:n]


def pack(packer: Any, codes: Bytes) -> Bytes:
    """Interleave `codes`; what fills the last block is zero."""
    count = -(-len(codes) // packer.nvec)
    padded = np.zeros((count * packer.nvec, packer.code_size), dtype=np.uint8)
    padded[: len(codes)] = codes
    blocks = np.zeros(count * packer.block_size, dtype=np.uint8)
    for block in range(count):
        packer.pack_all(
            faiss.swig_ptr(padded[block * packer.nvec :]),
            faiss.swig_ptr(blocks[block * packer.block_size :]),
        )
    return blocks


# Decoding.


class Places:
    """Where each row of an IVF is: its list, and its place there."""

    def __init__(self, index: Any, rows_of: Any) -> None:
        lists = lists_of(index)
        self.list = np.full(index.ntotal, -1, dtype=np.int64)
        self.offset = np.zeros(index.ntotal, dtype=np.int64)
        for number in range(index.nlist):
            rows = rows_of(list_ids(lists, number))
            self.list[rows] = number
            self.offset[rows] = np.arange(len(rows))


def decode_lists(index: Any, places: Places, rows: Int64) -> Float32:
    """What the codes of `rows` of an IVF stand for, shape (n, d of the IVF)."""
    lists = lists_of(index)
    numbers = places.list[rows]
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    edges = [*starts.tolist(), len(rows)]
    out = np.empty((len(rows), index.d), dtype=np.float32)
    prefix = int(index.coarse_code_size())
    again = isinstance(index, faiss.IndexIVFPQR)
    for start, stop in itertools.pairwise(edges):
        group = order[start:stop]
        number = int(numbers[group[0]])
        offsets = places.offset[rows[group]]
        if isinstance(index, faiss.IndexIVFPQ | faiss.IndexIVFPQFastScan) and not again:
            # FAISS's sa_decode ends the process for fast-scan lists that were read from a file.
            out[group] = index.pq.decode(np.ascontiguousarray(list_codes(lists, number)[offsets]))
            if index.by_residual:
                out[group] += index.quantizer.reconstruct(number)
            continue
        if again or isinstance(index, faiss.IndexIVFFastScan):
            for row, offset in zip(group, offsets, strict=True):
                index.reconstruct_from_offset(number, int(offset), faiss.swig_ptr(out[row]))
            continue
        head = np.frombuffer(number.to_bytes(8, "little"), dtype=np.uint8)[:prefix]
        codes = list_codes(lists, number)[offsets]
        full = np.hstack([np.broadcast_to(head, (len(codes), prefix)), codes])
        out[group] = index.sa_decode(np.ascontiguousarray(full))
    return out
