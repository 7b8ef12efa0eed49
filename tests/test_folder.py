"""An index folder holds one whole version, whatever happens to its writer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import faiss
import numpy as np
import pytest
from conftest import clustered

from dqindex import build_index, open_index, open_vectors
from dqindex.errors import BusyError, FileFormatError, IntegrityError, StorageError
from dqindex.index.folder import write_folder


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


def test_no_index_there(tmp_path):
    with pytest.raises(StorageError, match="no index there"):
        open_index(tmp_path)
