"""Letters between items and tuples that lie on many machines: rows of one Arrow schema.

Items are at places, some ten thousand at each; tuples are in buckets. What one says to the other is
a row, so that any engine which groups the rows of a table can carry it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._types import Float64, Int64, Tokens
from dqindex.quantizer.encoding import code_dtype
from dqindex.vectors.id_hash import mixed

# An item as it waits: id, its base tuple, distortion, priority, vector.
ITEM = 0
# What a place knows of a tuple: its room; and the last item that it keeps, where it is full.
ROOM = 1
# An item asks for a tuple; `lost` is its distortion there.
WISH = 2
# A place asks how much room a tuple has.
ASK = 3
# An item asks for the tuple that it asked for before.
REST = 4


def schema_of(ids: pa.DataType) -> pa.Schema:
    """The columns of all letters; `ids` is the type of the items' ids."""
    return pa.schema(
        [
            ("kind", pa.int32()),
            ("place", pa.int32()),
            ("bucket", pa.int32()),
            ("id", ids),
            ("tuple", pa.binary()),
            ("room", pa.int64()),
            ("priority", pa.float64()),
            ("distortion", pa.float64()),
            ("lost", pa.float64()),
            ("vector", pa.list_(pa.float32())),
        ]
    )


def letters(schema: pa.Schema, n: int, **columns: Any) -> pa.Table:
    """Some letters; columns that are not given are null."""
    arrays = []
    for field in schema:
        given = columns.get(field.name)
        if given is None:
            arrays.append(pa.nulls(n, field.type))
        elif isinstance(given, int):
            arrays.append(pa.repeat(pa.scalar(given, field.type), n))
        else:
            arrays.append(given if isinstance(given, pa.ChunkedArray) else pa.array(given))
    return pa.table(arrays, schema=schema)


def of_kind(table: pa.Table, kind: int) -> pa.Table:
    """The letters of one kind."""
    return table.filter(pc.equal(table["kind"], kind))


def packed(codes: npt.NDArray[Any], sizes: list[int]) -> pa.Array:
    """Tuples, (n, T), as bytes: equal ones have equal bytes, in any order of a computer's."""
    kind = code_dtype(max(sizes)).newbyteorder(">")
    data = np.ascontiguousarray(codes, dtype=kind)
    width = data.shape[1] * kind.itemsize
    offsets = np.arange(0, len(data) * width + 1, width, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.binary(), len(data), [None, pa.py_buffer(offsets), pa.py_buffer(data.tobytes())]
    )


def unpacked(column: pa.ChunkedArray, sizes: list[int]) -> Tokens:
    """The tuples that `packed` made bytes of: (n, T) int32."""
    kind = code_dtype(max(sizes)).newbyteorder(">")
    return bytes_of(column).view(kind).reshape(-1, len(sizes)).astype(np.int32)


def bytes_of(column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """The bytes of all tuples, one behind the other."""
    chunks = [_bytes_of(chunk) for chunk in column.chunks]
    return np.concatenate([np.empty(0, dtype=np.uint8), *chunks])


def _bytes_of(tuples: pa.Array) -> npt.NDArray[np.uint8]:
    _, offsets, data = tuples.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[tuples.offset :][: len(tuples) + 1]
    return np.frombuffer(data or b"", dtype=np.uint8)[ends[0] : ends[-1]]


def spread(codes: npt.NDArray[Any], over: int) -> npt.NDArray[np.int32]:
    """A number below `over` for each of some tuples: the same for equal ones."""
    hashes = np.zeros(len(codes), dtype=np.uint64)
    for column in codes.T:
        hashes = mixed(hashes ^ column.astype(np.uint64))
    return (hashes % np.uint64(over)).astype(np.int32)


def in_order(table: pa.Table) -> Int64:
    """Rows in canonical order: larger priorities first, then smaller distortions, then ids.

    It is that of `dqindex.sids.unique.canonical_order`.
    """
    rank = np.empty(len(table), dtype=np.int64)
    rank[pc.sort_indices(table["id"]).to_numpy()] = np.arange(len(table))
    return np.lexsort((rank, numbers(table, "distortion"), -numbers(table, "priority")))


def numbers(table: pa.Table, column: str) -> Float64:
    """A column of numbers, NaN where one is null."""
    return np.asarray(table[column].cast(pa.float64()).to_numpy(), dtype=np.float64)
