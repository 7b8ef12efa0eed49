"""What goes to disk and how it stays whole: every write is checked, and published by a rename."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from dqindex._version import __version__
from dqindex.errors import InputError, StorageError
from dqindex.places.place import Place, RemotePath, place
from dqindex.places.put import check_put, put
from dqindex.places.scratch import scratch_file

TEMPORARY = ".dqindex-tmp-"
# The names of temporary files, and nothing else that starts alike.
TEMPORARY_NAME = re.compile(re.escape(TEMPORARY) + r"[A-Za-z0-9_]{1,16}")

# What the files of an index may be called: others are not looked for in a manifest.
INDEX_NAME = re.compile(r"manifest\.json|[a-z]+-[0-9a-f]{16}\.(faiss|parquet|safetensors)")


def storage_error(path: Place | str, action: str, error: OSError) -> StorageError:
    """One line for what the system refused, with a remedy where there is an obvious one."""
    remedy = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some of your quota",
        errno.EFBIG: "the file system or a limit (ulimit -f) refuses a file of this size",
        errno.EACCES: "check its permissions",
        errno.EPERM: "check its permissions",
        errno.EROFS: "choose a place on a file system that is not read-only",
        errno.ENOENT: "make the folder first, or correct the path",
        errno.ENOTDIR: "a part of the path is a file; correct it",
        errno.EISDIR: "this is a folder; name a file",
    }.get(error.errno or 0)
    text = f"{path}: cannot {action} ({error.strerror or error})"
    return StorageError(f"{text}; {remedy}" if remedy else text)


@contextmanager
def refusals(path: Place | str, action: str) -> Iterator[None]:
    """What the system refuses inside, as a `StorageError` that names `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, action, error) from None


def fsync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class HashingFile(io.RawIOBase):
    """A binary file that hashes and counts what it takes, and takes all or raises."""

    def __init__(self, file: IO[bytes], path: Place | str = "the file") -> None:
        super().__init__()
        self._file, self._path = file, path
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Write all of `data` (bytes-like).

        Raises
        ------
        StorageError
            If the disk is full, or the system refuses otherwise.
        """
        with refusals(self._path, "be written"):
            self._file.write(data)
        self._hash.update(data)
        size = memoryview(data).nbytes
        self.size += size
        return size

    @property
    def sha256(self) -> str:
        """Hex digest of all that was written."""
        return self._hash.hexdigest()


def same_file(handle: int, path: Path | str) -> bool:
    """Whether `path` still leads to the file that is open as `handle`."""
    opened = os.fstat(handle)
    try:
        there = os.stat(path)  # noqa: PTH116 (of a string as well)
    except OSError:
        return False
    return (opened.st_dev, opened.st_ino) == (there.st_dev, there.st_ino)


def _try_lock(handle: int) -> bool:
    """Whether the lock of an open file is had now; never where a file system has none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _spare_index(path: Place) -> None:
    """Refuse a file in the place of one that an index consists of; only the index replaces it."""
    if not INDEX_NAME.fullmatch(path.name):
        return
    try:
        found = json.loads((path.parent / "manifest.json").read_bytes())
        named = [one["name"] for one in found["files"].values() if one]
        ours = found["format"] == "dqindex-index"
    # No manifest, or one of something else.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    if ours and path.name in ("manifest.json", *named):
        raise InputError(
            f"{path}: is a part of the index in {path.parent}, which would be destroyed; choose "
            "another place"
        )


def sweep_temporary(folder: Path) -> None:
    """Remove the temporary files of writers that died: those that nobody holds.

    A writer holds the lock of its temporary file until the file has its final name.
    """
    with suppress(OSError):
        names = [name for name in os.listdir(folder) if TEMPORARY_NAME.fullmatch(name)]  # noqa: PTH208 (names)
        for name in names:
            _sweep_one(folder / name)


def _sweep_one(path: Path) -> None:
    with suppress(OSError):
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if (
                stat.S_ISREG(os.fstat(handle).st_mode)
                and _try_lock(handle)
                and same_file(handle, path)
            ):
                path.unlink()
        finally:
            os.close(handle)


def _temporary(path: Path) -> tuple[int, Path]:
    """An open and locked temporary file beside `path`: its handle and its name."""
    try:
        kind = path.stat().st_mode
    except OSError:
        pass  # Nothing there yet, or the write below says what is wrong.
    else:
        if stat.S_ISDIR(kind):
            raise StorageError(f"{path}: is a folder; name a file")
        if not stat.S_ISREG(kind):
            raise StorageError(f"{path}: is a device or a pipe; name a file")
    sweep_temporary(path.parent)
    while True:
        try:
            handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        except OSError as error:
            raise storage_error(path, "be written", error) from None
        # Another writer's sweep may have been quicker than the lock: then make another.
        if not _try_lock(handle) or same_file(handle, name):
            return handle, Path(name)
        os.close(handle)


@contextmanager
def atomic_file(
    path: Place | str,
    rename: Callable[[HashingFile], str] | None = None,
    *,
    of_index: bool = False,
) -> Iterator[HashingFile]:
    """Write a file under a temporary name in the same folder; publish it whole, or not at all.

    An object of a store is written to a temporary file here first, and put as one.

    Parameters
    ----------
    path : path
        Where the file appears when the block ends without an error. A file that stands there is
        replaced in one step, and untouched if anything fails.
    rename : callable, optional
        Gives the final name (in the same folder) from what was written, for names by content.
    of_index : bool
        It is a file of an index, which may replace what the index consists of.

    Raises
    ------
    InputError
        If another's file would replace one that an index consists of.
    StorageError
        If the folder is missing or not writable, or the disk is full.
    BusyError
        If it is held (`dqindex.storage.lock.exclusive`), and its store says that another process
        has replaced it.
    """
    path = place(path)
    if not of_index:
        _spare_index(path)
    if isinstance(path, RemotePath):
        with scratch_file() as raw:
            file = HashingFile(raw, path)
            yield file
            with refusals(path, "be written"):
                raw.flush()
            put(raw, file.size, path if rename is None else path.with_name(rename(file)))
        return
    handle, temporary = _temporary(path)
    raw = os.fdopen(handle, "wb")
    try:
        file = HashingFile(raw, path)
        yield file
        with refusals(path, "be written"):
            raw.flush()
            os.fsync(handle)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(handle, 0o666 & ~mask)
            final = path if rename is None else path.with_name(rename(file))
            # Still open, and so still locked: no sweep takes it.
            temporary.replace(final)
            fsync_folder(path.parent)
    finally:
        with suppress(OSError):
            raw.close()
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(path: Place | str, *, of_index: bool = False) -> None:
    """Fail now, not after an hour's work, if a file cannot be made at `path`.

    Raises
    ------
    InputError, StorageError
        As `atomic_file`.
    """
    path = place(path)
    if not of_index:
        _spare_index(path)
    if isinstance(path, RemotePath):
        check_put(path)
        return
    handle, temporary = _temporary(path)
    try:
        with refusals(path, "be written"):
            temporary.unlink()
    finally:
        os.close(handle)


def versions() -> dict[str, str]:
    """Versions of what makes the numbers."""
    import faiss

    return {"dqindex": __version__, "faiss": faiss.__version__, "numpy": np.__version__}
