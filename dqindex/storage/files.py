"""What goes to disk and how it stays whole: every write is checked, and published by a rename."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from dqindex._version import __version__
from dqindex.errors import StorageError

TEMPORARY = ".dqindex-tmp-"
CHUNK = 4 * 2**20


def storage_error(path: Path | str, action: str, error: OSError) -> StorageError:
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


def fsync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class HashingFile(io.RawIOBase):
    """A binary file that hashes and counts what it takes, and takes all or raises."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Write all of `data` (bytes-like)."""
        self._file.write(data)
        self._hash.update(data)
        size = memoryview(data).nbytes
        self.size += size
        return size

    @property
    def sha256(self) -> str:
        """Hex digest of all that was written."""
        return self._hash.hexdigest()


def _temporary(path: Path) -> tuple[int, str]:
    """An open temporary file beside `path`: its handle and its name."""
    if path.is_dir():
        raise StorageError(f"{path}: is a folder; name a file")
    try:
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    except OSError as error:
        raise storage_error(path, "be written", error) from None
    return handle, name


@contextmanager
def atomic_file(
    path: Path | str, rename: Callable[[HashingFile], str] | None = None
) -> Iterator[HashingFile]:
    """Write a file under a temporary name in the same folder; publish it whole, or not at all.

    Parameters
    ----------
    path : path
        Where the file appears when the block ends without an error. A file that stands there is
        replaced in one step, and untouched if anything fails.
    rename : callable, optional
        Gives the final name (in the same folder) from what was written, for names by content.

    Raises
    ------
    StorageError
        If the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    handle, name = _temporary(path)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as raw:
            file = HashingFile(raw)
            yield file
            raw.flush()
            os.fsync(raw.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        final = path if rename is None else path.with_name(rename(file))
        temporary.replace(final)
        fsync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, "be written", error) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(path: Path | str) -> None:
    """Fail now, not after an hour's work, if a file cannot be made at `path`."""
    path = Path(path)
    handle, name = _temporary(path)
    os.close(handle)
    Path(name).unlink()


def versions() -> dict[str, str]:
    """Versions of what makes the numbers."""
    import faiss

    return {"dqindex": __version__, "faiss": faiss.__version__, "numpy": np.__version__}


# Tensors: models.
