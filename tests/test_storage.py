"""What goes to disk stays whole: locks, temporary files, and every step of a write."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from dqindex.errors import BusyError, InputError, StorageError
from dqindex.storage.files import TEMPORARY, atomic_file, check_writable
from dqindex.storage.lock import exclusive
from dqindex.storage.outputs import check_output, refuse_inputs


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def in_a_child(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that has said "ready"."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def killed(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()


# Locks.

HOLDS = """
    import sys, time
    from dqindex.storage.lock import exclusive
    with exclusive(sys.argv[1]):
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_lock_keeps_others_out_until_its_holder_dies(tmp_path, kind):
    path = tmp_path / "one"
    path.touch() if kind == "file" else path.mkdir()
    child = in_a_child(HOLDS, path)
    with pytest.raises(BusyError, match="one: another process is writing to it"), exclusive(path):
        pass
    with pytest.raises(BusyError), exclusive(path, wait=0.2):
        pass
    killed(child)
    with exclusive(path):
        pass
    assert names(tmp_path) == ["one"]


def test_a_lock_keeps_threads_of_one_process_apart(tmp_path):
    path = tmp_path / "count"
    path.write_text("0")

    def add():
        for _ in range(20):
            with exclusive(path, wait=30):
                number = int(path.read_text())
                # Replaced, as artefacts are: the others wait for a file that is gone by then.
                with atomic_file(path) as file:
                    file.write(str(number + 1).encode())

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "80"


def test_a_lock_of_nothing_or_without_locks_is_a_clear_error(tmp_path, monkeypatch):
    with pytest.raises(StorageError, match="none: cannot be opened"), exclusive(tmp_path / "none"):
        pass
    (tmp_path / "one").touch()

    def refuse(*_):
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(StorageError, match="one: cannot be locked") as caught,
        exclusive(tmp_path / "one"),
    ):
        pass
    assert not isinstance(caught.value, BusyError)


# Temporary files.

WRITES = """
    import sys, time
    from dqindex.storage.files import atomic_file
    with atomic_file(sys.argv[1]) as file:
        file.write(b"half")
        print("ready", flush=True)
        time.sleep(60)
"""


def test_the_next_write_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    child = in_a_child(WRITES, tmp_path / "one")
    (temporary,) = names(tmp_path)
    others = [
        f"{TEMPORARY}a name of mine",
        f"x{TEMPORARY}aaaaaaaa",
        f"{TEMPORARY}",
        f"{TEMPORARY}12345678901234567",
    ]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / f"{TEMPORARY}folder").mkdir()
    (tmp_path / "target").touch()
    (tmp_path / f"{TEMPORARY}link").symlink_to("target")
    kept = sorted([*others, "target", f"{TEMPORARY}folder", f"{TEMPORARY}link"])
    check_writable(tmp_path / "two")
    assert names(tmp_path) == sorted([temporary, *kept])  # its writer lives
    killed(child)
    with atomic_file(tmp_path / "two") as file:
        file.write(b"whole")
    assert names(tmp_path) == sorted(["two", *kept])


# Outputs.


def test_an_output_that_is_an_input_is_refused_by_whatever_name(tmp_path):
    whole = tmp_path / "whole.hdf5"
    whole.write_bytes(b"mine")
    (tmp_path / "hard.npy").hardlink_to(whole)
    (tmp_path / "soft.npy").symlink_to(whole)
    folder = tmp_path / "parts"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.parquet").touch()
    (tmp_path / "link").symlink_to(folder)
    index = tmp_path / "index"
    index.mkdir()
    (index / "manifest.json").touch()
    (index / "v.npy").touch()
    refused = [
        (whole, whole),
        (tmp_path / "hard.npy", whole),
        (tmp_path / "soft.npy", whole),
        (whole, tmp_path / "soft.npy"),
        (tmp_path / "parts" / ".." / "whole.hdf5", whole),
        (whole, f"{whole}:train"),
        (folder, folder),
        (folder / "new.parquet", folder),
        (folder / "deep" / "new.parquet", folder),
        (tmp_path / "link" / "new.parquet", folder),
        (folder / "new.parquet", tmp_path / "link"),
        (folder / "a.parquet", f"{folder}/*.parquet"),
        (index, index / "v.npy"),
        (tmp_path / "new", tmp_path / "new"),
    ]
    for output, given in refused:
        with pytest.raises(InputError, match="choose another"):
            refuse_inputs(output, None, given)
    allowed = [
        (tmp_path / "other", whole),
        (tmp_path / "parts.parquet", folder),
        (tmp_path / "new", f"{whole}:train"),
        (tmp_path, whole),
        (tmp_path / "new", "s3://bucket/new"),
    ]
    for output, given in allowed:
        refuse_inputs(output, given)
    with pytest.raises(InputError, match="choose another"):
        check_output(whole, whole)
    with pytest.raises(StorageError, match="make the folder first"):
        check_output(tmp_path / "none" / "x", whole)
    assert whole.read_bytes() == b"mine"
