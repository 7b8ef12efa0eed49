"""The folder that holds an index: published by its manifest, whole for every reader."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import faiss

from dqindex.errors import BusyError, FileFormatError, IntegrityError, StorageError
from dqindex.storage.files import TEMPORARY, HashingFile, atomic_file, storage_error

MANIFEST = "manifest.json"
FORMAT = "dqindex-index"
FORMAT_VERSION = 1
# Role in the manifest -> suffix of the data file, whose name carries a hash of its content.
ROLES = {"index": ".faiss", "ids": ".parquet", "model": ".safetensors"}
READ_ATTEMPTS = 6
# FAISS makes a table of at most this size for an IVF-PQ as it reads it.
TABLE_BYTES = 2**31 + 1
# The limit is global to FAISS: one reader at a time may change it.
_LIMIT = threading.Lock()

T = TypeVar("T")
Manifest = dict[str, Any]


class IndexWriter:
    """Writes one new version of an index folder; see `write_folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, dict[str, Any]] = {}

    def write(self, role: str, content: Callable[[HashingFile], object]) -> None:
        """Write the data file of `role` by calling `content` with an open binary file."""
        suffix = ROLES[role]
        with atomic_file(
            self._folder / role, rename=lambda file: f"{role}-{file.sha256[:16]}{suffix}"
        ) as file:
            content(file)
        self._files[role] = {
            "name": f"{role}-{file.sha256[:16]}{suffix}",
            "sha256": file.sha256,
            "bytes": file.size,
        }

    def commit(self, manifest: Manifest) -> None:
        """Publish: from here on readers see the new version."""
        record = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "files": self._files,
            **manifest,
        }
        with atomic_file(self._folder / MANIFEST) as file:
            file.write((json.dumps(record, indent=2, sort_keys=True) + "\n").encode())


@contextmanager
def write_folder(path: Path | str) -> Iterator[IndexWriter]:
    """Hold the folder for writing; it is made if need be.

    Whatever happens inside, afterwards the folder holds one whole version, the old or the new,
    and nothing else of ours. A folder that was made here is removed if nothing was committed.

    Raises
    ------
    BusyError
        If another process is writing to it.
    StorageError
        If it can't be made or written, or holds files but no index.
    """
    folder = Path(path)
    made = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise storage_error(folder, "be made or opened", error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(
                f"{folder}: another process is writing to it; wait for it to end"
            ) from None
        if not (folder / MANIFEST).exists() and any(
            not _is_ours(file.name) for file in folder.iterdir()
        ):
            raise StorageError(
                f"{folder}: holds files, but no index; choose a new or an empty folder"
            )
        try:
            _sweep(folder)
            with atomic_file(folder / "probe", rename=lambda _: f"{TEMPORARY}probe"):
                pass
            yield IndexWriter(folder)
        finally:
            _sweep(folder)
            if made and not any(folder.iterdir()):
                folder.rmdir()
    finally:
        os.close(handle)


def _is_ours(name: str) -> bool:
    return name.startswith(TEMPORARY) or any(
        name.startswith(f"{role}-") and name.endswith(suffix) for role, suffix in ROLES.items()
    )


def _sweep(folder: Path) -> None:
    """Remove data files that the manifest does not name, and temporary ones."""
    with suppress(OSError, FileFormatError):
        manifest = folder / MANIFEST
        kept = set()
        if manifest.exists():
            kept = {entry["name"] for entry in read_manifest(folder)["files"].values()}
        for file in folder.iterdir():
            if _is_ours(file.name) and file.name not in kept:
                file.unlink(missing_ok=True)


def read_manifest(path: Path | str) -> Manifest:
    """The manifest of an index folder.

    Raises
    ------
    StorageError
        If there is none.
    FileFormatError
        If it is malformed, or of a format that this version does not read.
    """
    folder = Path(path)
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise StorageError(
            f"{folder}: no index there (no {MANIFEST}); give a folder made by 'dqindex build'"
        ) from None
    except OSError as error:
        raise storage_error(file, "be read", error) from None
    except ValueError as error:
        raise FileFormatError(f"{file}: not JSON ({error}); build the index again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FileFormatError(f"{file}: not the manifest of a dqindex index")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise FileFormatError(
            f"{file}: index format {manifest.get('format_version')}, this dqindex reads "
            f"{FORMAT_VERSION}; upgrade dqindex"
        )
    names = [entry.get("name", "") for entry in manifest.get("files", {}).values()]
    if "index" not in manifest.get("files", {}) or not all(
        _is_ours(name) and name == Path(name).name for name in names
    ):
        raise FileFormatError(f"{file}: names data files that are not an index's; build it again")
    return manifest


def read_version(path: Path | str, load: Callable[[Manifest, Path], T]) -> T:
    """Call `load` with the manifest; again if a writer replaced the version meanwhile.

    Raises
    ------
    IntegrityError
        If a data file is missing, or does not match its checksum.
    """
    folder = Path(path)
    missing = ""
    for attempt in range(READ_ATTEMPTS):
        try:
            return load(read_manifest(folder), folder)
        except FileNotFoundError as error:
            missing = str(error.filename)
            time.sleep(0.01 * 2**attempt)
    raise IntegrityError(
        f"{missing}: is missing, though the manifest names it; build the index again"
    )


@contextmanager
def checked(folder: Path, manifest: Manifest, role: str) -> Iterator[IO[bytes]]:
    """The data file of `role`, open, after its size and SHA-256 were verified.

    What is then read is what was verified, even if a writer replaces the version meanwhile.
    """
    entry = manifest["files"][role]
    path: Path = folder / entry["name"]
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != entry["bytes"]:
            raise IntegrityError(
                f"{path}: is {size} bytes, the manifest says {entry['bytes']}; the file is "
                "damaged, build the index again"
            )
        if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
            raise IntegrityError(
                f"{path}: does not match its SHA-256 in the manifest; the file is damaged, build "
                "the index again"
            )
        file.seek(0)
        yield file


def write_faiss(index: faiss.Index, file: IO[bytes] | HashingFile) -> None:
    """Serialise through Python, where a short write is an error (FAISS's own says nothing)."""
    faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def read_faiss(file: IO[bytes]) -> faiss.Index:
    """Read an index; no vector in it may claim more memory than the file or a search table has."""
    size = os.fstat(file.fileno()).st_size
    with _LIMIT:
        before = faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_vector_byte_limit(max(size, TABLE_BYTES))
        try:
            return faiss.read_index(faiss.PyCallbackIOReader(file.read))
        except RuntimeError as error:
            raise IntegrityError(f"{file.name}: FAISS cannot read it ({error})") from None
        finally:
            faiss.set_deserialization_vector_byte_limit(before)
