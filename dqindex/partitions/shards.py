"""Shards of an index: filled where the vectors lie, sent as bytes, merged by one who has all."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import pyarrow as pa

from dqindex.errors import InputError
from dqindex.index.folder import Manifest
from dqindex.index.index import DQIndex
from dqindex.index.merging import build_like, merge_indexes
from dqindex.index.names import Names
from dqindex.partitions.columns import ID, VECTOR
from dqindex.quantizer.model import DQModel
from dqindex.vectors import open_vectors

# What one cell of a table can hold, and some room.
MOST_BYTES = 2**31 - 2**20


class Shipped(NamedTuple):
    """A trained index as it travels.

    Attributes
    ----------
    content : bytes
        As FAISS writes it.
    manifest : dict
    model : bytes or None
    ids : bytes or None
        An Arrow stream.
    """

    content: bytes
    manifest: Manifest
    model: bytes | None
    ids: bytes | None = None


def shipped(index: DQIndex, *, empty: bool = False) -> Shipped:
    """An index as bytes, with its vectors or without."""
    inner = index.index
    if empty:  # A copy: FAISS can't clone every kind.
        inner = faiss.deserialize_index(faiss.serialize_index(inner))
        inner.reset()
    model = None if index.model is None else index.model.to_bytes()
    manifest = {**index.manifest, "n": int(inner.ntotal)}
    return Shipped(
        faiss.serialize_index(inner).tobytes(),
        manifest,
        model,
        None if empty or index.names.array is None else _arrow(index.names.array),
    )


def unshipped(sent: Shipped) -> DQIndex:
    """The index that was sent."""
    inner = faiss.deserialize_index(np.frombuffer(sent.content, dtype=np.uint8))
    ids = None
    if sent.ids is not None:
        with pa.ipc.open_stream(io.BytesIO(sent.ids)) as stream:
            ids = stream.read_all()["id"].combine_chunks()
    model = None if sent.model is None else DQModel.from_bytes(sent.model, "the model")
    return DQIndex(inner, sent.manifest, Names(ids, int(inner.ntotal)), model)


def _arrow(ids: pa.Array) -> bytes:
    table = pa.table({"id": ids})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def shard(batches: Iterable[Any], like: Shipped) -> Shipped | None:
    """A shard of the rows of `batches` under the training of `like`; None of no rows.

    Raises
    ------
    InputError
        If a vector can't be used, or there are too many for one shard.
    """
    tables = (pa.table(batch).select([ID, VECTOR]) for batch in batches)
    some = (table for table in tables if table.num_rows)
    first = next(some, None)
    if first is None:
        return None
    source = open_vectors(_chain(first, some), vector_column=VECTOR, id_column=ID)
    made = shipped(build_like(source, unshipped(like), threads=1))
    if len(made.content) > MOST_BYTES or len(made.ids or b"") > MOST_BYTES:
        raise InputError(
            f"a partition of {source.n:,} rows makes a shard of {len(made.content):,} bytes, which "
            "are more than a cell of a table can hold; cut the table into more partitions"
        )
    return made


def _chain(first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from others


def merge_shards(shards: Iterable[Shipped]) -> DQIndex:
    """One index of all shards, in their order; one of them is in memory at a time, beside it."""
    with tempfile.TemporaryDirectory(prefix="dqindex-shards-") as folder:
        paths = []
        for place, one in enumerate(shards):
            paths.append(Path(folder) / f"{place:06d}")
            unshipped(one).save(paths[-1])
        return merge_indexes(paths)
