"""What is written block by block, and what is packed: the same that was given, and whole."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

from dqindex._parameters import integer
from dqindex.errors import BusyError, FileFormatError, InputError, IntegrityError, StorageError
from dqindex.storage.files import TEMPORARY, HashingFile, atomic_file, same_file, versions
from dqindex.storage.lock import exclusive
from dqindex.storage.matrix import matrix_writer
from dqindex.storage.outputs import refuse_inputs
from dqindex.storage.reading import content, names_its_writer, open_regular, read_parquet
from dqindex.storage.records import Format, seal
from dqindex.storage.tables import table_writer, write_table
from dqindex.storage.tensors import (
    Tensors,
    load_tensors,
    pack_tensors,
    tensors_sha256,
    unpack_tensors,
)

FORM = Format("dqindex-test", 2, "a test's record", "test", "make it again", {"n": integer(1)})


# Matrices.


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
@pytest.mark.parametrize("cuts", [[], [1], [2, 5]])
def test_a_matrix_is_its_blocks_one_after_another(tmp_path, dtype, cuts):
    whole = np.arange(7 * 3).reshape(7, 3).astype(np.int64)
    for name in ("m.npy", "m.parquet"):
        with matrix_writer(tmp_path / name, (7, 3), np.dtype(dtype), column="codes") as write:
            for block in np.split(whole, cuts):
                write(block)
            assert not (tmp_path / name).exists()
    back = np.load(tmp_path / "m.npy")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, whole)
    # As numpy itself writes it, which starts the rows at a place that fits any of its dtypes.
    np.save(tmp_path / "numpy.npy", whole.astype(dtype))
    assert (tmp_path / "m.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()
    table = pq.read_table(tmp_path / "m.parquet", page_checksum_verification=True)
    assert table.schema.types == [pa.list_(pa.from_numpy_dtype(dtype), 3)]
    assert table.column("codes").to_pylist() == whole.tolist()


def test_ids_stay_beside_their_rows(tmp_path):
    ids = pa.array(["e", "d", "c", "b", "a"])
    path = tmp_path / "m.parquet"
    with matrix_writer(path, (5, 2), np.dtype(np.float32), column="v", ids=ids) as write:
        for rows in ([0, 1], [2], [3, 4]):
            write(np.repeat(np.array(rows), 2).reshape(-1, 2))
    table = pq.read_table(path)
    assert table.column_names == ["item_id", "v"]
    assert table.column("item_id").to_pylist() == ids.to_pylist()
    assert [row[0] for row in table.column("v").to_pylist()] == [0, 1, 2, 3, 4]


def test_a_matrix_has_one_of_two_suffixes(tmp_path):
    for name in ("m.csv", "m", "npy", "m.npy.gz"):
        with (
            pytest.raises(InputError, match=r"ends in neither \.npy nor \.parquet"),
            matrix_writer(tmp_path / name, (1, 1), np.dtype(np.int8), column="c"),
        ):
            pass
    assert not list(tmp_path.iterdir())


# Tables.


def test_pages_carry_checksums(tmp_path):
    table = pa.table({"n": pa.array(np.arange(5000), pa.int64())})
    with atomic_file(tmp_path / "t.parquet") as file:
        write_table(file, table, compression="none", use_dictionary=False)
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged.parquet").write_bytes(data)
    assert pq.read_table(tmp_path / "damaged.parquet").num_rows == 5000  # unnoticed by others
    with open_regular(tmp_path / "t.parquet") as file:
        assert read_parquet(file, "t", "again").equals(table)
        assert names_its_writer(file, "t", "again")
    with (
        open_regular(tmp_path / "damaged.parquet") as file,
        pytest.raises(FileFormatError, match=r"t: not a readable Parquet file \(.*\); again"),
    ):
        read_parquet(file, "t", "again")


def test_a_table_that_is_given_up_is_no_file(tmp_path):
    table = pa.table({"n": [1]})

    def give_up():
        with atomic_file(tmp_path / "t") as file, table_writer(file, table.schema) as writer:
            writer.write_table(table)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        give_up()
    assert not list(tmp_path.iterdir())


# Tensors.


def test_tensors_come_back_and_do_not_depend_on_the_order_they_are_named_in(tmp_path):
    a, b = np.arange(6.0).reshape(2, 3), np.arange(4, dtype=np.int16)
    packed = pack_tensors({"a": a.T, "b": b[::2]}, {"n": 3, "z": 1}, FORM)
    assert packed == pack_tensors({"b": b[::2], "a": a.T}, {"z": 1, "n": 3}, FORM)
    tensors, record = unpack_tensors(packed, "it", FORM)
    np.testing.assert_array_equal(tensors["a"], a.T)
    np.testing.assert_array_equal(tensors["b"], b[::2])
    assert tensors["b"].dtype == np.int16
    assert record["n"] == 3


def test_a_digest_tells_apart_all_that_tensors_are():
    base: Tensors = {"a": np.arange(6, dtype=np.int32), "b": np.zeros(3)}
    others = [
        {"a": base["a"].reshape(2, 3), "b": base["b"]},
        {"a": base["a"].astype(np.uint32), "b": base["b"]},
        {"c": base["a"], "b": base["b"]},
        {"a": base["a"][::-1], "b": base["b"]},
        {"a": base["a"]},
    ]
    digests = {tensors_sha256(one) for one in (base, *others)}
    assert len(digests) == 6
    assert tensors_sha256(dict(reversed(base.items()))) == tensors_sha256(base)
    # In memory the same, however it lies there.
    assert tensors_sha256({**base, "a": np.repeat(base["a"], 2)[::2]}) == tensors_sha256(base)


def test_a_stranger_s_tensors_are_told_from_damaged_ones(tmp_path):
    (tmp_path / "theirs").write_bytes(save({"x": np.zeros(2)}, {"format": "pt"}))
    with pytest.raises(FileFormatError, match="a safetensors file, but not one of dqindex"):
        load_tensors(tmp_path / "theirs", FORM)
    packed = pack_tensors({"x": np.zeros(2)}, {"n": 1}, FORM)
    (size,) = struct.unpack("<Q", packed[:8])
    header = json.loads(packed[8 : 8 + size])
    # Another value, with the seal that it would have: only the tensors' digest can tell.
    stored = json.loads(header["__metadata__"]["dqindex"])
    stored["sha256"] = tensors_sha256({"x": np.ones(2)})
    stored["checksum"] = seal(stored)
    forged = save({"x": np.zeros(2)}, {"dqindex": json.dumps(stored)})
    with pytest.raises(IntegrityError, match="its tensors do not match their checksum"):
        unpack_tensors(forged, "it", FORM)
    with pytest.raises(StorageError, match="none: no such file; give a test's record"):
        load_tensors(tmp_path / "none", FORM)


def test_what_a_library_says_is_one_line_of_ours():
    with (
        pytest.raises(FileFormatError, match=r"^f: not a readable Parquet file \(a b\); again$"),
        content("f", "Parquet", "again"),
    ):
        raise ValueError("a\n  b")
    with pytest.raises(FileFormatError, match=r"^mine$"), content("f", "Parquet", "again"):
        raise FileFormatError("mine")
    with pytest.raises(RuntimeError), content("f", "safetensors", "again"):
        raise RuntimeError


# Temporary files, against what others do meanwhile.


def test_a_temporary_file_that_a_sweep_took_is_made_again(tmp_path, monkeypatch):
    """A sweep may lock and remove the file between its making and its own lock."""
    real, made = tempfile.mkstemp, []

    def mkstemp(**options):
        handle, name = real(**options)
        made.append(name)
        if len(made) < 3:
            os.unlink(name)  # noqa: PTH108 (a name)
        return handle, name

    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
    open_before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (names)
    with atomic_file(tmp_path / "one") as file:
        file.write(b"whole")
    assert len(made) == 3
    assert (tmp_path / "one").read_bytes() == b"whole"
    assert len(os.listdir("/proc/self/fd")) == open_before  # noqa: PTH208 (names)


def test_files_are_written_where_there_are_no_locks_and_nothing_is_swept(tmp_path, monkeypatch):
    left = tmp_path / f"{TEMPORARY}aaaaaaaa"
    left.touch()

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with atomic_file(tmp_path / "one") as file:
        file.write(b"whole")
    assert sorted(one.name for one in tmp_path.iterdir()) == [left.name, "one"]


def test_one_file_is_known_by_all_its_names(tmp_path):
    (tmp_path / "one").write_bytes(b"x")
    (tmp_path / "hard").hardlink_to(tmp_path / "one")
    (tmp_path / "other").write_bytes(b"x")
    with (tmp_path / "one").open() as file:
        assert same_file(file.fileno(), tmp_path / "one")
        assert same_file(file.fileno(), str(tmp_path / "hard"))
        assert not same_file(file.fileno(), tmp_path / "other")
        assert not same_file(file.fileno(), tmp_path / "none")
    device = os.open("/dev/null", os.O_RDONLY)
    try:
        assert not same_file(device, tmp_path / "one")
    finally:
        os.close(device)


def test_a_write_is_counted_in_bytes_of_whatever_it_is_given(tmp_path):
    with (tmp_path / "one").open("wb") as raw:
        file = HashingFile(raw, tmp_path / "one")
        assert file.size == 0
        for data in (b"", b"ab", np.zeros((3, 2), dtype=np.float64).data):
            file.write(data)
        assert file.size == 50


def test_versions_are_those_of_what_computes():
    import faiss

    import dqindex

    assert versions() == {
        "dqindex": dqindex.__version__,
        "faiss": faiss.__version__,
        "numpy": np.__version__,
    }


# Waiting for a lock, by a clock of its own.


class Clock:
    """Time that passes by sleeping alone; `at` calls a function once a time is reached."""

    def __init__(self, monkeypatch):
        self.now, self._calls = 1000.0, []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self._sleep)

    def at(self, seconds, call):
        self._calls.append((self.now + seconds, call))

    def _sleep(self, seconds):
        assert seconds > 0
        self.now += seconds
        due = [one for one in self._calls if one[0] <= self.now]
        self._calls = [one for one in self._calls if one not in due]
        for _, call in due:
            call()


@pytest.mark.parametrize(("wait", "free_at", "had"), [(2, 0.5, True), (2, 3, False), (0, 1, False)])
def test_a_writer_waits_as_long_as_it_was_told(tmp_path, monkeypatch, wait, free_at, had):
    path = tmp_path / "one"
    path.touch()
    clock = Clock(monkeypatch)
    holder = exclusive(path)
    holder.__enter__()
    clock.at(free_at, lambda: holder.__exit__(None, None, None))
    began = clock.now
    if had:
        with exclusive(path, wait=wait):
            assert free_at <= clock.now - began < free_at + 0.2
    else:
        with (
            pytest.raises(BusyError, match="one: the neighbour is writing to it; wait"),
            exclusive(path, wait=wait, who="the neighbour"),
        ):
            pass
        assert wait <= clock.now - began < wait + 0.2
        holder.__exit__(None, None, None)
    with exclusive(path):
        pass


def test_a_lock_is_of_the_file_that_stands_there(tmp_path, monkeypatch):
    """Whoever waited gets the lock of a file that was replaced meanwhile: it must ask again."""
    path = tmp_path / "one"
    path.write_text("old")
    clock = Clock(monkeypatch)
    first = exclusive(path)
    first.__enter__()
    second = []

    def replace_and_let_go():
        with atomic_file(path) as file:
            file.write(b"new")
        taken = exclusive(path)  # of the new file, before the waiting one has it
        taken.__enter__()
        second.append(taken)
        first.__exit__(None, None, None)
        clock.at(1, lambda: taken.__exit__(None, None, None))

    clock.at(1, replace_and_let_go)
    began = clock.now
    with exclusive(path, wait=5):
        assert path.read_text() == "new"
        assert clock.now - began >= 2  # not before the holder of the new file let go
    assert len(second) == 1


def test_no_handle_is_left_open_by_locks(tmp_path):
    path = tmp_path / "one"
    path.touch()

    def handles():
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (names)

    before = handles()
    with exclusive(path):
        for _ in range(3):
            with pytest.raises(BusyError), exclusive(path):
                pass
        assert handles() == before + 1
    assert handles() == before


# Outputs.


def test_names_of_inputs_that_are_no_files_are_compared_as_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is the input"):
        refuse_inputs("new", tmp_path / "new")
    refuse_inputs("new", "other", "a\0b", None)
    Path("m.json").touch()
    Path("i").mkdir()
    Path("i/v.npy").touch()
    refuse_inputs("i", "i/v.npy")  # a folder without an index is not replaced
    Path("i/manifest.json").touch()
    with pytest.raises(InputError, match="holds the input"):
        refuse_inputs("i", "i/v.npy")
    Path("a.npy").touch()
    with pytest.raises(InputError, match="is the input"):
        refuse_inputs("a.npy", "*.npy")
