"""What comes back from disk: regular files only, and what a library says of them in our words."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError

from dqindex.errors import FileFormatError, StorageError
from dqindex.places.content import RemoteContent, fetched
from dqindex.places.place import Place, RemotePath, place
from dqindex.storage.files import refusals, storage_error

# What reading a file with each library raises where its content is damaged. Arrow decodes names as
# it goes, and any size that a file claims may be too much for the memory.
LIBRARIES: dict[str, tuple[type[Exception], ...]] = {
    "Parquet": (pa.ArrowException, OSError, ValueError, MemoryError),
    "safetensors": (SafetensorError, ValueError, TypeError, KeyError, AttributeError, MemoryError),
}

# Bytes that are hashed at a time.
HASHED = 2**20


@contextmanager
def content(name: str | Place, library: str, remedy: str) -> Iterator[None]:
    """What `library` raises inside, as one line about the file called `name`.

    Raises
    ------
    FileFormatError
    """
    try:
        yield
    except LIBRARIES[library] as error:
        if isinstance(error, FileFormatError):
            raise
        said = " ".join(str(error).split())
        raise FileFormatError(f"{name}: not a readable {library} file ({said}); {remedy}") from None


def sha256_of(file: IO[bytes]) -> str:
    """SHA-256 (hex) of what is left of an open file."""
    digest = hashlib.sha256()
    while piece := file.read(HASHED):
        digest.update(piece)
    return digest.hexdigest()


def open_regular(path: Place | str) -> BufferedReader:
    """A regular file, open for reading; a device or a pipe could be read for ever.

    Of an object of a store, a copy in a temporary file.

    Raises
    ------
    FileNotFoundError
        If there is none: what should be there, the caller knows.
    StorageError
        If it is no regular file, or cannot be read.
    """
    path = place(path)
    if isinstance(path, RemotePath):
        with fetched(RemoteContent(path)) as copy:
            # Another handle of the same file, under the name that messages tell.
            handle = os.dup(copy.fileno())
        os.lseek(handle, 0, os.SEEK_SET)
        return open(str(path), "rb", opener=lambda *_: handle)
    try:
        # A pipe that nobody writes to must not be waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(path, "be read", error) from None
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        what = "a folder" if stat.S_ISDIR(kind) else "a device or a pipe"
        raise StorageError(f"{path}: is {what}; name a file")
    # Opened by its path, so that messages of what reads it name the file and not a number.
    return open(path, "rb", opener=lambda *_: handle)


def read_regular(path: Place | str) -> bytes:
    """The content of a regular file.

    Raises
    ------
    FileNotFoundError, StorageError
        As `open_regular`.
    """
    path = place(path)
    if isinstance(path, RemotePath):
        return path.read_bytes()
    with open_regular(path) as file, refusals(path, "be read"):
        return file.read()


def read_parquet(file: IO[bytes], name: str | Place, remedy: str) -> pa.Table:
    """The table in an open Parquet file, its pages verified where they carry checksums.

    Raises
    ------
    FileFormatError
        If it is not Parquet, or damaged.
    """
    with content(name, "Parquet", remedy):
        # Opened anew by Arrow: its threads, which may outlive this call, must not need Python's
        # lock. Where the interpreter ends then, and torch makes that slow, the process aborts.
        return pq.read_table(
            pa.OSFile(f"/dev/fd/{file.fileno()}"),
            page_checksum_verification=True,
            partitioning=None,
        )


def names_its_writer(file: IO[bytes], name: str | Place, remedy: str) -> bool:
    """Whether an open Parquet file says what wrote it, as all writers do at the footer's end.

    Zeros in a footer end it early: what stood behind them, its metadata too, is then not missed.

    Raises
    ------
    FileFormatError
        If it is not Parquet, or damaged.
    """
    with content(name, "Parquet", remedy):
        return bool(pq.read_metadata(pa.PythonFile(file, mode="r")).created_by)
