"""Indexes that are mapped from their files: opened at once, never written to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import clustered

from dqindex import build_index, build_like, merge_indexes, open_index, open_vectors
from dqindex.errors import DQWarning, InputError, IntegrityError

X = clustered(600, 8, seed=2)
QUERIES = clustered(5, 8, seed=3)
SPECS = ("Flat", "DQ2,PQ2x4", "DQ2,IVF4,PQ2x4", "IVF4,SQ8", "DQ2,IVF4,PQ2x4,RFlat", "HNSW4")
# What is done to it, each in turn; what comes of it is a line.
CHILD = """
import sys, numpy as np, dqindex
from dqindex.errors import InputError
x = np.load(sys.argv[1])
for folder in sys.argv[2:]:
    index = dqindex.open_index(folder, mmap=True)
    before = index.search(x[:5], 4).ids
    for change in (
        lambda: index.add(x[:3], ids=["a", "b", "c"]),
        lambda: index.remove(["item 1"]),
        lambda: index.update(x[:1], ["item 1"]),
        lambda: index.embed_ids(),
        lambda: index.index.add(x[:3]),
        lambda: index.index.reset(),
        lambda: index.index.remove_ids(np.array([1])),
        lambda: index.index.train(x),
    ):
        try:
            change()
            print("changed")
        except InputError as error:
            print("refused", "mapped" in str(error))
    print("same", (index.search(x[:5], 4).ids == before).all(), len(index))
"""
READING = """
import sys, dqindex
def read():
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
import numpy as np
dqindex.open_index(sys.argv[2], mmap=True).search(np.ones((1, 64)), 3)
out = []
for _ in range(2):
    first, held = read(), resident()
    index = dqindex.open_index(sys.argv[1], mmap=True)
    out += [read() - first, resident() - held]
index.search(np.ones((1, 64)), 3)
print(*out, resident() - held)
"""


def saved(folder: Path, spec: str, *, named: bool = True) -> Path:
    ids = [f"item {row}" for row in range(len(X))] if named else None
    build_index(open_vectors(X, ids=ids), spec).save(folder)
    return folder


def run(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("spec", SPECS)
def test_a_mapped_index_answers_as_one_that_was_read(tmp_path, spec):
    folder = saved(tmp_path / "index", spec)
    read, mapped = open_index(folder), open_index(folder, mmap=True)
    assert mapped.mapped
    assert not read.mapped
    for ask in (
        lambda index: index.search(QUERIES, 5),
        lambda index: index.search(QUERIES, 5, filter=["item 3", "item 5"]),
        lambda index: index.range_search(QUERIES, 3.0),
    ):
        one, other = ask(read), ask(mapped)
        assert one.ids.tolist() == other.ids.tolist()
        np.testing.assert_allclose(one.distances, other.distances, rtol=1e-5)
    assert np.array_equal(read.reconstruct(["item 9"]), mapped.reconstruct(["item 9"]))
    assert "item 9" in mapped
    assert mapped.ids.equals(read.ids)


def test_no_write_to_it_ends_the_process(tmp_path):
    np.save(tmp_path / "x.npy", X)
    folders = [saved(tmp_path / str(place), spec) for place, spec in enumerate(SPECS)]
    lines = run(CHILD, tmp_path / "x.npy", *folders).splitlines()
    assert lines == (["refused True"] * 8 + [f"same True {len(X)}"]) * len(SPECS)


def test_it_is_opened_without_reading_it(tmp_path):
    """Bytes that are read, and that are held, by the first time, the second, and a search."""
    large = np.random.default_rng(0).random((100_000, 64), dtype=np.float32)
    build_index(large, "Flat").save(tmp_path / "large")
    build_index(large[:100], "Flat").save(tmp_path / "small")
    sizes = [int(one) for one in run(READING, tmp_path / "large", tmp_path / "small").split()]
    first_read, first_held, second_read, second_held, searched = sizes
    assert first_read > large.nbytes  # hashed, once
    assert max(second_read, first_held, second_held) < 2_000_000
    assert searched > 0.9 * large.nbytes


def test_a_mapped_index_is_a_source_for_others(tmp_path):
    mapped = open_index(saved(tmp_path / "index", "DQ2,IVF4,PQ2x4", named=False), mmap=True)
    shard = build_like(X[:50], mapped)
    merged = merge_indexes([mapped, shard])
    assert len(merged) == 650
    assert len(mapped) == 600
    merged.add(X[:5])
    mapped.save(tmp_path / "copy")
    again = open_index(tmp_path / "copy")
    assert again.search(QUERIES, 5).ids.tolist() == mapped.search(QUERIES, 5).ids.tolist()


def test_codes_that_cannot_be_mapped_are_read_with_a_warning(tmp_path):
    folder = saved(tmp_path / "index", "DQ2,IVF4,PQ2x4fs")
    with pytest.warns(DQWarning, match="were read into memory"):
        mapped = open_index(folder, mmap=True)
    with pytest.raises(InputError, match="mapped"):
        mapped.add(X[:1], ids=["new"])


def data_file(folder: Path) -> Path:
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    return folder / str(files["index"]["name"])


def test_what_was_verified_is_remembered_until_it_changes(tmp_path):
    folder = saved(tmp_path / "index", "Flat")
    file = data_file(folder)
    open_index(folder, mmap=True)
    known = json.loads((folder / "verified.json").read_bytes())
    assert file.name in known
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    with file.open("r+b") as opened:
        opened.write(content)
    with pytest.raises(IntegrityError, match="SHA-256"):
        open_index(folder, mmap=True)
    # Size, time and inode are all that is looked at, unless it is asked for.
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    open_index(folder, mmap=True)
    for wrong in ({"mmap": True, "verify": "always"}, {}):
        with pytest.raises(IntegrityError, match="SHA-256"):
            open_index(folder, **wrong)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"x": 3}', b"\xff", b"null"])
def test_a_damaged_memory_of_it_is_none(tmp_path, content):
    folder = saved(tmp_path / "index", "Flat")
    (folder / "verified.json").write_bytes(content)
    assert len(open_index(folder, mmap=True)) == len(X)
    file = data_file(folder)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    (folder / "verified.json").write_bytes(content)
    with pytest.raises(IntegrityError):
        open_index(folder, mmap=True)


def test_a_mapped_version_stays_while_another_is_published(tmp_path):
    folder = saved(tmp_path / "index", "DQ2,IVF4,PQ2x4")
    mapped, read = open_index(folder, mmap=True), open_index(folder)
    before = mapped.search(QUERIES, 5).ids.tolist()
    writer = open_index(folder)
    writer.remove([f"item {row}" for row in range(300)])
    writer.save(folder)
    assert not (set(before[0]) <= set(writer.ids.to_pylist()))
    assert mapped.search(QUERIES, 5).ids.tolist() == before
    assert read.search(QUERIES, 5).ids.tolist() == before
    assert "item 1" in mapped
    assert len(open_index(folder, mmap=True)) == 300
