"""What goes to disk stays whole: locks, temporary files, and every step of a write."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from dqindex._parameters import integer, number, number_at_least, text
from dqindex.errors import BusyError, FileFormatError, InputError, IntegrityError, StorageError
from dqindex.places.scratch import scratch_file
from dqindex.storage.files import (
    TEMPORARY,
    TEMPORARY_NAME,
    HashingFile,
    atomic_file,
    check_writable,
    storage_error,
)
from dqindex.storage.lock import exclusive
from dqindex.storage.outputs import check_output, refuse_inputs
from dqindex.storage.reading import open_regular, read_regular
from dqindex.storage.records import Each, Format, Maybe, Named, any_number, anything, seal
from dqindex.storage.scratch import scratch_matrix


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


# Every step of a write.


def test_data_are_on_disk_before_the_name_is_and_the_name_after(tmp_path, monkeypatch):
    steps = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle):
        target = Path(f"/proc/self/fd/{handle}").readlink()
        steps.append(("fsync", target.name, target.stat().st_size if target.is_file() else None))
        real_fsync(handle)

    def replace(self, other):
        steps.append(("replace", self.name, Path(other).name))
        return real_replace(self, other)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    with atomic_file(tmp_path / "one") as file:
        file.write(b"content")
    (temporary,) = {name for step, name, _ in steps if step == "replace"}
    assert TEMPORARY_NAME.fullmatch(temporary)
    assert steps == [
        ("fsync", temporary, 7),
        ("replace", temporary, "one"),
        ("fsync", tmp_path.name, None),
    ]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000, 0o027])
def test_a_file_has_the_mode_that_any_program_gives_one(tmp_path, mask):
    before = os.umask(mask)
    try:
        with atomic_file(tmp_path / "one") as file:
            file.write(b"x")
        assert os.umask(mask) == mask  # as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o666 & ~mask


def test_what_was_written_is_counted_and_hashed(tmp_path):
    with atomic_file(tmp_path / "one", rename=lambda file: file.sha256[:8]) as file:
        assert file.writable()
        assert file.write(b"abc") == 3
        assert file.write(memoryview(np.zeros((2, 2), dtype=np.int64))) == 32
    data = b"abc" + bytes(32)
    assert (file.size, file.sha256) == (35, hashlib.sha256(data).hexdigest())
    assert names(tmp_path) == [file.sha256[:8]]
    assert (tmp_path / file.sha256[:8]).read_bytes() == data


def test_an_error_of_the_writer_itself_stays_what_it_is(tmp_path):
    (tmp_path / "one").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "one"):
        (tmp_path / "none").read_bytes()
    assert names(tmp_path) == ["one"]
    assert (tmp_path / "one").read_text() == "old"


@pytest.mark.parametrize("failing", ["write", "fsync", "fchmod", "unlink", "mkstemp"])
def test_what_the_system_refuses_is_said(tmp_path, monkeypatch, failing):
    (tmp_path / "one").write_text("old")

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    if failing == "write":
        with pytest.raises(StorageError, match=r"one: cannot be written \(File too large\)"):
            HashingFile(_Refusing(), tmp_path / "one").write(b"x")
        return
    holder = {"unlink": Path, "mkstemp": tempfile}.get(failing, os)
    with monkeypatch.context() as patch:
        patch.setattr(holder, failing, refuse)
        write = check_writable if failing == "unlink" else overwrite
        with pytest.raises(StorageError, match=r"one: cannot be written .* not read-only"):
            write(tmp_path / "one")
    assert (tmp_path / "one").read_text() == "old"
    check_writable(tmp_path / "one")
    assert names(tmp_path) == ["one"]


def overwrite(path):
    with atomic_file(path) as file:
        file.write(b"new")


class _Refusing:
    def write(self, _):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "; free some space"),
        (errno.EDQUOT, "; free some of your quota"),
        (errno.EACCES, "; check its permissions"),
        (errno.EPERM, "; check its permissions"),
        (errno.ENOENT, "; make the folder first, or correct the path"),
        (errno.ENOTDIR, "; a part of the path is a file; correct it"),
        (errno.EISDIR, "; this is a folder; name a file"),
        (errno.EIO, ""),
    ],
)
def test_a_refusal_has_its_remedy(code, remedy):
    error = storage_error("p", "be read", OSError(code, os.strerror(code)))
    assert str(error) == f"p: cannot be read ({os.strerror(code)}){remedy}"
    assert str(storage_error("p", "be read", OSError("words"))) == "p: cannot be read (words)"


@pytest.mark.parametrize("kind", ["folder", "fifo", "device"])
def test_outputs_that_are_no_files_are_left_alone(tmp_path, kind):
    path = tmp_path / "one"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    word = "is a folder" if kind == "folder" else "is a device or a pipe"
    for write in (check_writable, lambda path: atomic_file(path).__enter__()):
        with pytest.raises(StorageError, match=word):
            write(path)
    assert names(tmp_path) == ["one"]
    with pytest.raises(StorageError, match=word):
        read_regular(path)


# Records.

FORM = Format(
    "dqindex-test",
    2,
    "a test's record",
    "test",
    "make it again",
    {
        "n": integer(1),
        "maybe": Maybe(text()),
        "list": Each({"a": integer(0)}),
        "named": Named(any_number()),
    },
)
WHOLE = {"n": 1, "list": [{"a": 0}, {"a": 2}], "named": {"x": 0.1, "y": float("nan")}}


def test_a_record_comes_back_however_it_is_spaced():
    written = FORM.write(WHOLE)
    assert str(FORM.parse(json.dumps(written, indent=3, sort_keys=True), "f")) == str(
        dict(sorted(written.items()))
    )
    with pytest.raises(IntegrityError, match="f: does not match its checksum; damaged or edited"):
        FORM.check({**written, "extra": 1}, "f")
    with pytest.raises(IntegrityError):
        FORM.check({name: written[name] for name in written if name != "checksum"}, "f")
    # Version 1 has no checksum, and is held against the schema alone.
    old = {**WHOLE, "format": FORM.name, "format_version": 1}
    assert FORM.check({**old, "extra": 1}, "f")["extra"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "f: n is 0; it must be an integer from 1 to 2147483647; make it again"),
        ({"n": None}, "n is None"),
        ({"maybe": 3}, "maybe is 3; it must be text"),
        ({"list": {}}, "list is {}; it must be a list"),
        ({"list": [{"a": 0}, {"a": -1}]}, r"list\[1\].a is -1"),
        ({"list": [{}]}, r"list\[0\].a is missing"),
        ({"list": [3]}, r"list\[0\] is 3; it must be an object"),
        ({"named": {"x": "y"}}, "named.x is 'y'; it must be a number"),
        ({"named": {"x": True}}, "named.x is True"),
        ({"named": []}, r"named is \[\]; it must be an object"),
        ({"named": {"x": "y" * 58}}, "named.x is 'y{58}'; it must"),
        ({"named": {"x": "y" * 59}}, "named.x is 'y{59}…; it must"),
    ],
)
def test_a_field_that_is_wrong_is_named(change, message):
    record = {**WHOLE, **change, "format": FORM.name, "format_version": 1}
    with pytest.raises(FileFormatError, match=message):
        FORM.check(record, "f")


def test_a_seal_is_of_what_a_record_says():
    # Files that are out there carry seals of this form.
    assert (
        seal({"b": [1, 0.5], "a": None})
        == hashlib.sha256(b'{"a":null,"b":[1,0.5]}').hexdigest()[:32]
    )
    assert seal({"a": None, "b": (1, 0.5), "checksum": "x"}) == seal({"b": [1, 0.5], "a": None})
    assert FORM.write(WHOLE) == {
        **WHOLE,
        "format": "dqindex-test",
        "format_version": 2,
        "checksum": seal({**WHOLE, "format": "dqindex-test", "format_version": 2}),
    }


def test_anything_is_anything_and_a_number_is_a_number():
    values: list[object] = [None, 0, "", [], {}]
    assert all(anything().holds(value) for value in values)
    assert all(any_number().holds(one) for one in (1, 0.5, float("nan")))
    for wrong in (True, "1", None):
        assert not any_number().holds(wrong)


@pytest.mark.parametrize("version", [0, 3, -1, "2", 2.0, None])
def test_a_version_that_is_not_known_is_refused(version):
    record = {**WHOLE, "format": FORM.name, "format_version": version}
    message = f"f: test format {version}, this dqindex reads 2; upgrade dqindex"
    with pytest.raises(FileFormatError, match=re.escape(message)):
        FORM.check(record, "f")
    with pytest.raises(FileFormatError, match="f: not a test's record"):
        FORM.check({**record, "format": "other"}, "f")
    # An older version has no checksum: one that has it was edited.
    with pytest.raises(IntegrityError):
        FORM.check({**FORM.write(WHOLE), "format_version": 1}, "f")
    for data in ("", "{", "[" * 100_000):
        with pytest.raises(FileFormatError, match="f: not JSON"):
            FORM.parse(data, "f")


def test_a_file_that_is_not_there_is_told_from_one_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StorageError, match="loop: cannot be read"):
        open_regular(tmp_path / "loop")
    (tmp_path / "one").write_bytes(b"abc")
    with open_regular(tmp_path / "one") as file:
        assert file.name == str(tmp_path / "one")
        assert file.read() == b"abc"
    assert read_regular(str(tmp_path / "one")) == b"abc"


def test_a_number_that_no_float_holds_is_no_number():
    assert not number(more_than=0).holds(10**400)
    assert not number_at_least(0).holds(10**400)


# Scratch.


def test_scratch_is_the_room_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = scratch_matrix(3, 5)
    assert made.shape == (3, 5)
    assert not made.any()
    made[2] = 1
    assert made.sum() == 5
    with scratch_file(60) as file:
        assert os.fstat(file.fileno()).st_size == 60
    with scratch_file() as file:
        assert os.fstat(file.fileno()).st_size == 0
        file.write(b"x")
    assert names(tmp_path) == []


@pytest.mark.parametrize("why", ["No such file or directory|No usable", "No space left on device"])
def test_no_room_for_scratch_is_said(tmp_path, monkeypatch, why):
    if why.startswith("No such"):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    else:

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=rf"no room for 60 bytes \(({why}).*\); set TMPDIR"):
        scratch_matrix(3, 5)
