"""An index folder holds one whole version, whatever happens to its writer."""

from __future__ import annotations

import copy
import functools
import json
import operator
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from conftest import clustered

from dqindex import build_index, open_index, open_vectors
from dqindex.errors import (
    BusyError,
    DQIndexError,
    FileFormatError,
    InputError,
    IntegrityError,
    StorageError,
)
from dqindex.index.folder import read_version, write_folder
from dqindex.places.place import place
from dqindex.storage.files import atomic_file, check_writable
from dqindex.storage.outputs import check_output
from dqindex.storage.records import seal


@pytest.fixture(scope="module")
def index():
    x = clustered(2000, 16)
    return build_index(open_vectors(x, ids=np.arange(2000)), "DQ4,IVF8,PQ4")


@pytest.fixture(scope="module")
def other():
    return build_index(clustered(1500, 16, seed=9), "DQ4,PQ4")


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_new_version_replaces_the_old(tmp_path, index, other):
    folder = tmp_path / "i"
    index.save(folder)
    assert len(content(folder)) == 4  # manifest, index, ids, model
    other.save(folder)
    assert len(content(folder)) == 3
    assert open_index(folder).n == 1500
    assert open_index(folder).ids is None


def test_the_same_index_has_the_same_bytes(tmp_path, index):
    index.save(tmp_path / "a")
    index.save(tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    index.save(tmp_path / "a")
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("successes", [0, 1, 2, 3, 4, 5, 6])
def test_a_failure_at_any_step_leaves_the_old_version(
    tmp_path, index, other, monkeypatch, failing, successes
):
    folder = tmp_path / "i"
    other.save(folder)
    before = content(folder)
    holder, name = (os, "fsync") if failing == "fsync" else (Path, "replace")
    real = getattr(holder, name)
    left = successes

    def flaky(*args):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, os.strerror(28))
        return real(*args)

    monkeypatch.setattr(holder, name, flaky)
    failed = False
    try:
        index.save(folder)
    except StorageError:
        failed = True
    monkeypatch.undo()
    # Once the manifest is renamed the new version stands, even if its fsync then failed.
    assert content(folder) == before or open_index(folder).n == 2000
    assert failed or open_index(folder).n == 2000
    assert not [name for name in content(folder) if "tmp" in name]


def test_a_failed_first_save_leaves_no_folder(tmp_path, index, monkeypatch):
    def refuse(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError):
        index.save(tmp_path / "i")
    assert not (tmp_path / "i").exists()


def test_a_killed_writer_is_cleaned_up_after(tmp_path, index, other):
    folder = tmp_path / "i"
    other.save(folder)
    before = content(folder)
    script = f"""
        import os, time
        from dqindex.index.folder import write_folder
        with write_folder({str(folder)!r}) as writer:
            writer.write("index", lambda file: file.write(b"half an index"))
            open({str(folder / ".dqindex-tmp-x")!r}, "w").close()
            print("ready", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with pytest.raises(BusyError, match="another process is writing"):
        index.save(folder)
    assert open_index(folder).n == 1500  # readers see the old version meanwhile
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert open_index(folder).n == 1500
    with pytest.raises(RuntimeError, match="give up"), write_folder(folder):
        raise RuntimeError("give up")
    assert content(folder) == before


def test_readers_see_whole_versions_while_a_writer_works(tmp_path, index, other):
    folder = tmp_path / "i"
    other.save(folder)
    stop, seen, errors = threading.Event(), set(), []

    def read():
        while not stop.is_set():
            try:
                opened = open_index(folder)
                seen.add((opened.n, opened.spec))
            except Exception as error:
                errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(40):
        index.save(folder)
        other.save(folder)
    stop.set()
    for reader in readers:
        reader.join()
    assert not errors
    assert seen <= {(2000, "DQ4,IVF8,PQ4"), (1500, "DQ4,PQ4")}


def test_foreign_folders_are_left_alone(tmp_path, index):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="holds files, but no index"):
        index.save(tmp_path)
    assert content(tmp_path) == {"notes.txt": b"mine"}
    with pytest.raises(StorageError, match=r"notes\.txt"):
        index.save(tmp_path / "notes.txt")
    with pytest.raises(StorageError, match="make the folder first"):
        index.save(tmp_path / "none" / "i")


@pytest.mark.parametrize("role", ["index", "ids", "model"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "grow"])
def test_damage_is_noticed_before_anything_is_parsed(tmp_path, index, role, damage, monkeypatch):
    folder = tmp_path / "i"
    index.save(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    file = folder / manifest["files"][role]["name"]
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 4
    file.write_bytes(data[:-1] if damage == "cut" else data + b"x" if damage == "grow" else data)
    if damage == "remove":
        file.unlink()
    if role == "index":
        monkeypatch.setattr(faiss, "read_index", lambda *_: pytest.fail("parsed"))
    with pytest.raises(IntegrityError, match=file.name):
        open_index(folder)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", FileFormatError, "not JSON"),
        ("[]", FileFormatError, "not the manifest"),
        ('{"format": "dqindex-index", "format_version": 3}', FileFormatError, "upgrade dqindex"),
        ('{"format": "dqindex-index", "format_version": true}', FileFormatError, "upgrade dqindex"),
        ('{"format": "dqindex-index", "format_version": 1}', FileFormatError, "files is missing"),
        ('{"format": "dqindex-index", "format_version": 2}', IntegrityError, "checksum"),
        ("[" * 100_000, FileFormatError, "not JSON"),
    ],
)
def test_bad_manifests(tmp_path, text, error, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(error, match=message):
        open_index(tmp_path)


# What is not ours.


def test_names_that_look_like_ours_are_not_ours(tmp_path, index):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("model-00001-of-00002.safetensors", "index-prod.faiss", "ids-2024.parquet"):
        (theirs / name).write_text("not dqindex's\n")
    # By name one of ours, but the hash is not the content's.
    (theirs / "index-0123456789abcdef.faiss").write_text("not dqindex's\n")
    before = content(theirs)
    with pytest.raises(StorageError, match=r"holds files, but no index \(ids-2024\.parquet\)"):
        index.save(theirs)
    assert content(theirs) == before
    # Beside an index they stay, whatever is done to it.
    index.save(tmp_path / "i")
    for name, data in before.items():
        (tmp_path / "i" / name).write_bytes(data)
    other_index = build_index(clustered(500, 16, seed=3), "PQ4x4")
    other_index.save(tmp_path / "i")
    assert len(content(tmp_path / "i")) == 4 + 2
    assert {name: content(tmp_path / "i")[name] for name in before} == before


def test_what_a_killed_writer_left_is_ours_by_its_content(tmp_path, index, other):
    other.save(tmp_path / "whole")
    folder = tmp_path / "i"
    folder.mkdir()
    for name, data in content(tmp_path / "whole").items():
        if name != "manifest.json":
            (folder / name).write_bytes(data)
    (folder / ".dqindex-tmp-a1b2c3d4").touch()
    index.save(folder)
    assert len(content(folder)) == 4
    assert open_index(folder).n == 2000


def test_a_damaged_data_file_goes_with_its_version(tmp_path, index, other):
    index.save(tmp_path)
    (damaged,) = tmp_path.glob("index-*.faiss")
    damaged.write_bytes(b"damaged")
    other.save(tmp_path)
    assert len(content(tmp_path)) == 3
    assert not damaged.exists()


@pytest.mark.parametrize(
    "text", ["{}", "[]", "not JSON", '{"format": "other"}', '{"format": "dqindex-index"}', ""]
)
def test_a_foreign_manifest_is_left_alone(tmp_path, index, text):
    (tmp_path / "manifest.json").write_text(text)
    (tmp_path / "index-0123456789abcdef.faiss").write_text("mine")
    before = content(tmp_path)
    with pytest.raises(StorageError, match=r"its manifest\.json is not that of an index"):
        index.save(tmp_path)
    assert content(tmp_path) == before


def test_a_damaged_manifest_of_ours_is_replaced(tmp_path, index, other):
    other.save(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"n": 1500', '"n": 1501'))
    with pytest.raises(IntegrityError, match=r"manifest\.json: does not match its checksum"):
        open_index(tmp_path)
    index.save(tmp_path)
    assert open_index(tmp_path).n == 2000
    assert len(content(tmp_path)) == 4


def places(value, path=()):
    """The path of every field."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*path, name))


ODD: tuple[object, ...] = (None, -1, True, 2**31, 10**400, "../x", "", [], {}, 0.5)


@pytest.mark.parametrize("version", [1, 2])
def test_a_manifest_with_any_field_edited_is_refused_or_answers_alike(tmp_path, version):
    source = Path(__file__).parent / "golden" / f"index-v{version}"
    folder = tmp_path / "i"
    shutil.copytree(source, folder)
    written = json.loads((source / "manifest.json").read_text())
    queries = np.load(source.with_suffix(".npz"))["x"][:5]
    true = open_index(folder).search(queries, 3)
    refused = 0
    cases = [(path, value) for path in places(written) for value in ("gone", *ODD)]
    for path, value in cases:
        record = copy.deepcopy(written)
        parent = functools.reduce(operator.getitem, path[:-1], record)
        if value == "gone":
            del parent[path[-1]]
        else:
            parent[path[-1]] = value
        (folder / "manifest.json").write_text(json.dumps(record))
        try:
            found = open_index(folder).search(queries, 3)
        except DQIndexError:
            refused += 1
        else:
            assert version == 1, (path, value)
            if path != ("files", "ids"):  # which version 1 could not tell from none
                assert found.ids.tolist() == true.ids.tolist(), (path, value)
    assert refused == len(cases) if version == 2 else refused > len(cases) / 2


@pytest.mark.parametrize("role", ["index", "ids", "model", "manifest"])
@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "loop"])
def test_only_regular_files_are_read(tmp_path, index, role, kind):
    index.save(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    name = "manifest.json" if role == "manifest" else manifest["files"][role]["name"]
    path = tmp_path / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    with pytest.raises((StorageError, IntegrityError), match=name):
        open_index(tmp_path)
    if role == "manifest":
        with pytest.raises(StorageError, match=name):
            index.save(tmp_path)
        assert os.path.lexists(path)


def test_the_folder_that_was_waited_for_may_be_gone(tmp_path, index, monkeypatch):
    """A writer that fails removes the folder that it made; the next makes its own."""
    folder = tmp_path / "i"
    with pytest.raises(RuntimeError), write_folder(folder):
        raise RuntimeError
    assert not folder.exists()
    index.save(folder)
    assert open_index(folder).n == 2000


def test_faiss_may_allocate_what_a_search_table_takes_and_no_more(tmp_path, index, monkeypatch):
    index.save(tmp_path)
    before = faiss.get_deserialization_vector_byte_limit()
    real, limits = faiss.read_index, []

    def read(*args):
        limits.append(faiss.get_deserialization_vector_byte_limit())
        return real(*args)

    monkeypatch.setattr(faiss, "read_index", read)
    open_index(tmp_path)
    # 2 GiB is FAISS's own default of the most that it makes as a table.
    assert limits == [2 * 1024**3 + 1]
    assert faiss.get_deserialization_vector_byte_limit() == before


def test_no_index_there(tmp_path):
    with pytest.raises(StorageError, match="no index there"):
        open_index(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../index-{digest}.faiss",
        "index-{digest}.safetensors",
        "model-{digest}.faiss",
        "index-0000000000000000.faiss",
        "index-{digest}.faiss.bak",
    ],
)
def test_a_manifest_names_files_by_their_role_and_content(tmp_path, index, name):
    """Also one that was written with its checksum: what it names may be another's file."""
    index.save(tmp_path / "i")
    path = tmp_path / "i" / "manifest.json"
    record = json.loads(path.read_text())
    entry = record["files"]["index"]
    other = name.format(digest=entry["sha256"][:16])
    (tmp_path / "i" / entry["name"]).rename(tmp_path / "i" / other)
    entry["name"] = other
    path.write_text(json.dumps({**record, "checksum": seal(record)}))
    with pytest.raises(FileFormatError, match=r"files\.index names '.*', which is not a data file"):
        open_index(tmp_path / "i")


def test_a_reader_waits_longer_each_time_for_a_version_that_is_replaced(tmp_path, monkeypatch):
    index = build_index(clustered(300, 8), "DQ4,PQ4x4")
    index.save(tmp_path)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)

    def load(manifest, folder):
        if len(waits) < 4:
            raise FileNotFoundError(2, "gone", "a file")
        return manifest["n"]

    assert read_version(tmp_path, load) == 300
    assert len(waits) == 4
    assert waits == sorted(set(waits))
    assert 0.1 < sum(waits) < 1

    def never(manifest, folder):
        raise FileNotFoundError(2, "gone", "a file")

    with pytest.raises(IntegrityError, match="a file: is missing, but the manifest lists it"):
        read_version(tmp_path, never)


def destroyed(folder, index, write):
    """What `write` would have done to each file of the index in `folder`; all are refused."""
    index.save(str(folder))
    paths: list[Any] = list(place(str(folder)).iterdir())
    before = {path.name: path.read_bytes() for path in paths if not path.name.startswith(".")}
    assert len(before) >= 4
    for path in paths:
        if path.name in before:
            with pytest.raises(InputError, match=r"is a part of the index in"):
                write(path)
    assert {name: (place(str(folder)) / name).read_bytes() for name in before} == before


def put_bytes(path):
    with atomic_file(path) as file:
        file.write(b"something else")


@pytest.mark.parametrize("write", [put_bytes, check_writable, check_output])
def test_no_file_replaces_a_part_of_an_index(tmp_path, index, write):
    destroyed(tmp_path / "i", index, write)


@pytest.mark.parametrize("write", [put_bytes, check_output])
def test_no_object_replaces_a_part_of_an_index(s3, index, write):
    destroyed(f"{s3}/i", index, write)


def test_names_of_an_index_are_free_where_there_is_none(tmp_path):
    for content in (None, "{}", "[]", "no json", '{"format": "other", "files": {}}'):
        if content is not None:
            (tmp_path / "manifest.json").write_text(content)
        for name in ("ids-0123456789abcdef.parquet", "manifest.json"):
            put_bytes(tmp_path / name)
            assert (tmp_path / name).read_bytes() == b"something else"


def test_a_manifest_that_is_no_text_is_said_without_words_of_codecs(tmp_path, index):
    index.save(tmp_path / "i")
    (tmp_path / "i" / "manifest.json").write_bytes(b"\x93NUMPY\xff")
    with pytest.raises(FileFormatError, match="not JSON, and no text") as caught:
        open_index(tmp_path / "i")
    assert "codec" not in str(caught.value)
