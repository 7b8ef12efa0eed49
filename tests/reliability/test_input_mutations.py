"""Vectors whose file was damaged: refused in our words, or read as the file now says.

Most of these formats have no checksum, so a flipped bit of a value is another value, and no reader
can know. What an answer is held against is what the library of the format reads of the same bytes:
an answer must be true of the file. Each mutant is read in a child with a limit of memory and time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import safetensors.numpy as safetensors
from conftest import clustered

from dqindex.vectors import open_vectors
from reliability.mutants import Mutant, damaged, edited, safetensors_file, safetensors_header

# Arrow reserves 1 GiB at once, of which it uses little.
MEMORY = 3 * 2**29
N, D = 60, 6
X = clustered(N, D, seed=8)
IDS = [f"item {row}" for row in range(N)]
# Vectors, and ids or None.
Answer = tuple[np.ndarray, list[Any] | None]


class Kind(NamedTuple):
    """A format: how it is written, and how its own library reads it."""

    file: str
    write: Callable[[Path], object]
    read: Callable[[Path], Answer]


def table() -> pa.Table:
    return pa.table({"item_id": IDS, "v": pa.FixedSizeListArray.from_arrays(X.ravel(), D)})


def lists() -> pa.Table:
    return pa.table({"id": np.arange(N) * 10**12, "v": list(X.astype(np.float64))})


def of_table(found: pa.Table) -> Answer:
    (column,) = (field.name for field in found.schema if hasattr(field.type, "value_type"))
    ids = [name for name in ("item_id", "id") if name in found.column_names][:1]
    values = np.array([row for row in found[column].to_pylist()], dtype=np.float64)
    return values, found[ids[0]].to_pylist() if ids else None


def read_parquet(path: Path) -> Answer:
    return of_table(pq.read_table(path, page_checksum_verification=True, partitioning=None))


def write_parquet(path: Path) -> None:
    pq.write_table(table(), path, row_group_size=20, write_page_checksum=True)


def write_lists(path: Path) -> None:
    pq.write_table(lists(), path, compression="none", use_dictionary=False)


def write_stream(path: Path) -> None:
    with pa.ipc.new_stream(path, lists().schema) as writer:
        writer.write_table(lists(), max_chunksize=25)


def read_stream(path: Path) -> Answer:
    with pa.ipc.open_stream(path.read_bytes()) as reader:
        return of_table(reader.read_all())


def write_vecs(path: Path) -> None:
    width = np.full((N, 1), D, dtype="<i4").view("<f4")
    path.write_bytes(np.concatenate([width, X], axis=1).tobytes())


def read_vecs(path: Path) -> Answer:
    content = np.fromfile(path, "<i4")
    rows = content.reshape(-1, content[0] + 1)
    assert (rows[:, 0] == content[0]).all()
    return rows[:, 1:].copy().view("<f4"), None


def write_bin(path: Path) -> None:
    path.write_bytes(struct.pack("<II", N, D) + X.tobytes())


def read_bin(path: Path) -> Answer:
    content = path.read_bytes()
    return np.frombuffer(content, "<f4", offset=8).reshape(struct.unpack("<II", content[:8])), None


def write_hdf5(path: Path, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("train", data=X, **options)
        file["test"] = X[:3]


def read_hdf5(path: Path) -> Answer:
    with h5py.File(path) as file:
        return file["train"][:], None


KINDS = {
    "npy": Kind("v.npy", lambda path: np.save(path, X), lambda path: (np.load(path), None)),
    "npy float16": Kind(
        "v.npy", lambda path: np.save(path, X.astype("f2").T), lambda path: (np.load(path), None)
    ),
    "fvecs": Kind("v.fvecs", write_vecs, read_vecs),
    "fbin": Kind("v.fbin", write_bin, read_bin),
    "parquet": Kind("v.parquet", write_parquet, read_parquet),
    "parquet without checksums": Kind("v.parquet", write_lists, read_parquet),
    "feather": Kind(
        "v.feather",
        lambda path: feather.write_feather(table(), path, chunksize=25),
        lambda path: of_table(feather.read_table(path)),
    ),
    "arrow stream": Kind("v.arrow", write_stream, read_stream),
    "hdf5": Kind("v.hdf5", write_hdf5, read_hdf5),
    "hdf5 in chunks": Kind(
        "v.h5",
        lambda path: write_hdf5(path, chunks=(16, 6), compression="gzip", fletcher32=True),
        read_hdf5,
    ),
    "safetensors": Kind(
        "v.safetensors",
        lambda path: safetensors.save_file({"emb": X}, path),
        lambda path: (next(iter(safetensors.load_file(path).values())), None),
    ),
}


def reads(path: Path, kind: str) -> str:
    """Read everything in every way: "" where that is what the format's library reads."""
    source = open_vectors(path)
    ids = source.ids
    found = None if ids is None else ids.to_pylist()
    whole = source.read()
    assert whole.shape == (source.n, source.d)
    some = np.array([source.n - 1, 0, source.n // 2])
    np.testing.assert_array_equal(source.rows(some), whole[some])
    np.testing.assert_array_equal(np.concatenate(list(source.blocks(7))), whole)
    try:
        vectors, names = KINDS[kind].read(path)
    except Exception as error:
        return f"{source!r} where the library says {type(error).__name__}: {error}"
    with np.errstate(over="ignore"):
        same = np.array_equal(np.asarray(vectors).astype(np.float32), whole)
    if not same:
        return f"{source!r} is read otherwise by the library"
    return "" if found == names else f"ids {str(found)[:60]} for {str(names)[:60]}"


def headers(kind: str, content: bytes, every: int) -> Iterator[Mutant]:
    """The file with another header, each of a kind that has been met or may be."""
    if kind == "npy":
        for text in NPY_HEADERS:
            yield f"header {text!r}", npy(text.encode("latin1"), content[-X.nbytes :])
        for version in range(5):
            yield f"version {version}", content[:6] + bytes([version, 0]) + content[8:]
    elif kind == "fbin":
        for n, d in ((0, 0), (N, 0), (0, D), (2**32 - 1, 2**32 - 1), (D, N), (N * D, 1)):
            yield f"header {n} x {d}", struct.pack("<II", n, d) + content[8:]
    elif kind == "fvecs":
        for width in (-1, 0, 1, 2**31 - 1, N * (D + 1) - 1):
            yield f"width {width}", struct.pack("<i", width) + content[4:]
    elif kind == "safetensors":
        header, tensors = safetensors_header(content)
        for what, one in edited(header, every):
            yield f"header: {what}", safetensors_file(one, tensors)


NPY_HEADERS = (
    "",
    "{",
    "(" * 300,
    "'''",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (60, 6), ",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (60, 6), 'x': 1}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 60)}",
    "{'descr': '<f4', 'fortran_order': True, 'shape': (60, 6)}",
    "{'descr': '<f4', 'fortran_order': 1, 'shape': (60, 6)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-60, -6)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 360)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (60, 6L)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (60.0, 6)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': 360}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (360,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': ()}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 10**9)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999999999999, 6)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 6)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (60, 3)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (60, 3)}",
    "{'descr': '|V4', 'fortran_order': False, 'shape': (60, 6)}",
    "{'descr': '<U1', 'fortran_order': False, 'shape': (60, 6)}",
    "{'descr': '<m8', 'fortran_order': False, 'shape': (60, 3)}",
    "{'descr': '<c8', 'fortran_order': False, 'shape': (60, 3)}",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (60, 6)}",
    "{'descr': ('<f4', (6,)), 'fortran_order': False, 'shape': (60, 1)}",
    "{'descr': None, 'fortran_order': False, 'shape': (60, 6)}",
    "{'descr': 7, 'fortran_order': False, 'shape': (60, 6)}",
    "{'descr': '<f4\\d', 'fortran_order': False, 'shape': (60, 6)}",
    "{'descr': '<f4'}",
    "{b'descr': '<f4'}",
    "['descr']",
    "\xff\xfe",
    "9" * 5000,
)


def npy(header: bytes, values: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_vectors_are_refused_or_read_as_they_are(tally, children, long, tmp_path, kind):
    path = tmp_path / KINDS[kind].file
    KINDS[kind].write(path)
    content = path.read_bytes()
    whole = children.run(reads, path, kind, memory=MEMORY)
    assert (whole.kind, whole.value) == ("answer", ""), whole.said
    with tally("mutated vectors") as count:
        for mutants in (
            damaged(content, 40 if long else 2),
            headers(kind, content, 1 if long else 9),
        ):
            for what, mutant in mutants:
                path.write_bytes(mutant)
                outcome = children.run(reads, path, kind, memory=MEMORY, seconds=10)
                if outcome.kind == "typed":
                    count.tried("refused")
                elif outcome.kind == "answer" and outcome.value == "":
                    count.tried("as the file says")
                else:
                    count.tried()
                    count.violation(f"{kind}: {what}: {outcome.said}")
