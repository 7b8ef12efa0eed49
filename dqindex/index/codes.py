"""The codes in a FAISS index: those of a flat one, and those in each list of an IVF."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from dqindex._types import Int64
from dqindex.index.interleaved import Bytes, layout_of

# What holds codes in blocks.
FAST = faiss.IndexFastScan
FAST_LISTS = faiss.IndexIVFFastScan


def flat_codes(index: Any) -> Bytes:
    """The codes of a flat index, shape (n, bytes): a copy."""
    if isinstance(index, FAST):
        return layout_of(index).unpack(_blocks(index))[: index.ntotal]
    return np.array(_flat(index))


def codes_at(index: Any, rows: Int64) -> Bytes:
    """The codes of `rows` of a flat index."""
    if isinstance(index, FAST):
        return layout_of(index).at(_blocks(index), rows)
    return np.array(_flat(index)[rows])


def set_flat_codes(index: Any, codes: Bytes) -> None:
    """Replace all codes of a flat index."""
    if isinstance(index, FAST):
        layout = layout_of(index)
        faiss.copy_array_to_AlignedTable(layout.pack(codes), index.codes)
        index.ntotal2 = -(-len(codes) // layout.rows) * layout.rows
    else:
        faiss.copy_array_to_vector(np.ascontiguousarray(codes).ravel(), index.codes)
    index.ntotal = len(codes)


def append_flat(index: Any, codes: Bytes) -> None:
    """Put `codes` behind those of a flat index."""
    if not isinstance(index, FAST):
        index.add_sa_codes(np.ascontiguousarray(codes))
        return
    layout, n = layout_of(index), int(index.ntotal)
    whole = n // layout.rows
    blocks = _blocks(index)
    tail = layout.unpack(blocks[whole * layout.block :])[: n - whole * layout.rows]
    more = layout.pack(np.concatenate([tail, codes]))
    content = np.concatenate([blocks[: whole * layout.block], more])
    faiss.copy_array_to_AlignedTable(content, index.codes)
    index.ntotal = n + len(codes)
    index.ntotal2 = -(-index.ntotal // layout.rows) * layout.rows


def _flat(index: Any) -> Bytes:
    """A view."""
    if not index.ntotal:
        return np.empty((0, index.code_size), dtype=np.uint8)
    held: Bytes = faiss.rev_swig_ptr(index.codes.data(), index.codes.size())
    return held.reshape(index.ntotal, index.code_size)


def _blocks(index: Any) -> Bytes:
    """A view."""
    if not index.ntotal:
        return np.empty(0, dtype=np.uint8)
    held: Bytes = faiss.rev_swig_ptr(index.codes.get(), index.codes.size())
    layout = layout_of(index)
    return held[: -(-index.ntotal // layout.rows) * layout.block]


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


def list_codes(index: Any, number: int, first: int = 0) -> Bytes:
    """The codes in a list of an IVF, shape (n, bytes): a view, or a copy of what is interleaved.

    Of a fast-scan index, from the block `first` on.
    """
    lists = lists_of(index)
    size = lists.list_size(number)
    if isinstance(index, FAST_LISTS):
        layout = layout_of(index)
        if not size:
            return np.empty((0, layout.width), dtype=np.uint8)
        held = -(-size // layout.rows) * layout.block
        blocks = faiss.rev_swig_ptr(lists.get_codes(number), held)[first * layout.block :]
        return layout.unpack(blocks)[: size - first * layout.rows]
    if not size:
        return np.empty((0, lists.code_size), dtype=np.uint8)
    flat = faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size)
    return np.asarray(flat).reshape(size, lists.code_size)


def write_list(index: Any, number: int, ids: Int64, codes: Bytes) -> None:
    """Replace what a list of an IVF holds."""
    lists = lists_of(index)
    lists.resize(number, 0)
    _add_entries(index, lists, number, ids, codes)


def append_list(index: Any, number: int, ids: Int64, codes: Bytes) -> None:
    """Put entries behind those of a list of an IVF."""
    if not len(ids):
        return
    lists = lists_of(index)
    if not isinstance(index, FAST_LISTS):
        _add_entries(index, lists, number, ids, codes)
        return
    layout, size = layout_of(index), lists.list_size(number)
    whole = size // layout.rows * layout.block
    tail = list_codes(index, number, size // layout.rows)[: size % layout.rows]
    lists.resize(number, size + len(ids))
    list_ids(lists, number)[size:] = ids
    held = -(-(size + len(ids)) // layout.rows) * layout.block
    blocks = faiss.rev_swig_ptr(lists.get_codes(number), held)
    blocks[whole:] = layout.pack(np.concatenate([tail, codes]))


def append_entries(index: Any, numbers: Int64, codes: Bytes) -> None:
    """Put rows behind those of an IVF of fast-scan codes: row i into the list ``numbers[i]``."""
    index.set_direct_map_type(faiss.DirectMap.NoMap)
    first, order = int(index.ntotal), np.argsort(numbers, kind="stable")
    filled, starts = np.unique(numbers[order], return_index=True)
    for number, rows in zip(filled, np.split(order, starts[1:]), strict=True):
        append_list(index, int(number), first + rows, codes[rows])
    index.ntotal = first + len(codes)


def _add_entries(index: Any, lists: Any, number: int, ids: Int64, codes: Bytes) -> None:
    if not len(ids):
        return
    # FAISS takes codes that are packed already, but counts the vectors.
    stored = layout_of(index).pack(codes) if isinstance(index, FAST_LISTS) else codes
    ids, stored = np.ascontiguousarray(ids), np.ascontiguousarray(stored)
    lists.add_entries(number, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(stored))
