"""Where the rows of an IVF are in its lists, and what their codes stand for."""

from __future__ import annotations

import itertools
from typing import Any

import faiss
import numpy as np

from dqindex._types import Float32, Int64
from dqindex.index.codes import list_codes, list_ids, lists_of


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
    numbers = places.list[rows]
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    edges = [*starts.tolist(), len(rows)]
    out = np.empty((len(rows), index.d), dtype=np.float32)
    for start, stop in itertools.pairwise(edges):
        group = order[start:stop]
        number = int(numbers[group[0]])
        out[group] = _decode_list(index, number, places.offset[rows[group]])
    return out


def _decode_list(index: Any, number: int, offsets: Int64) -> Float32:
    quantizer = quantizer_of(index)
    if quantizer is not None:
        codes = np.ascontiguousarray(list_codes(index, number)[offsets])
        decoded: Float32 = quantizer.decode(codes)
        if index.by_residual:
            decoded += index.quantizer.reconstruct(number)
        return decoded
    if isinstance(index, ONE_BY_ONE):
        one_by_one = np.empty((len(offsets), index.d), dtype=np.float32)
        for out, offset in zip(one_by_one, offsets.tolist(), strict=True):
            index.reconstruct_from_offset(number, offset, faiss.swig_ptr(out))
        return one_by_one
    # FAISS's codes for themselves: the list number in as few bytes as fit, then the code.
    head = np.frombuffer(number.to_bytes(8, "little"), dtype=np.uint8)[: index.coarse_code_size()]
    codes = list_codes(index, number)[offsets]
    full = np.hstack([np.broadcast_to(head, (len(codes), len(head))), codes])
    alone: Float32 = index.sa_decode(np.ascontiguousarray(full))
    return alone


ADDITIVE_FAST = (faiss.IndexIVFAdditiveQuantizerFastScan, faiss.IndexAdditiveQuantizerFastScan)
ONE_BY_ONE = (faiss.IndexIVFPQR, faiss.IndexIVFFastScan, faiss.IndexIVFFlatPanorama)


def quantizer_of(index: Any) -> Any:
    """What decodes codes where FAISS's own way does not, else None.

    Its ``sa_decode`` and ``reconstruct`` end the process for fast-scan lists that were read from a
    file, and take flat codes from the wrong places where a block holds more than 32.
    """
    if type(index) in (faiss.IndexIVFPQ, faiss.IndexIVFPQFastScan, faiss.IndexPQFastScan):
        return index.pq
    if isinstance(index, ADDITIVE_FAST):
        names = ("rq", "lsq", "prq", "plsq")
        return next(getattr(index, name) for name in names if hasattr(index, name))
    return None
