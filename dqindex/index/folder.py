"""The folder that holds an index: published by its manifest, whole for every reader."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, TypeVar

import faiss
import pyarrow as pa

from dqindex._parameters import boolean, integer, number_at_least, one_of, size, text
from dqindex.errors import DQIndexError, FileFormatError, IntegrityError, StorageError
from dqindex.places.missing import not_there
from dqindex.places.place import Place, RemotePath, State, place
from dqindex.places.put import check_scheme
from dqindex.storage.files import (
    TEMPORARY_NAME,
    HashingFile,
    atomic_file,
    check_writable,
    refusals,
    sweep_temporary,
)
from dqindex.storage.lock import exclusive
from dqindex.storage.reading import open_regular, read_parquet, read_regular, sha256_of
from dqindex.storage.records import Each, Format, Maybe, Named, Record, any_number
from dqindex.storage.tables import write_table
from dqindex.vectors.ids import check_ids

MANIFEST = "manifest.json"
# Version 1 had no checksum of the manifest itself.
FORMAT_VERSION = 2
# Role in the manifest -> suffix of the data file, whose name carries a hash of its content.
ROLES = {"index": ".faiss", "ids": ".parquet", "model": ".safetensors"}
HASH_DIGITS = 16
DATA_NAME = re.compile(
    "|".join(
        rf"{role}-[0-9a-f]{{{HASH_DIGITS}}}{re.escape(suffix)}" for role, suffix in ROLES.items()
    )
)
REMEDY = "build the index again"
DATA_FILE = {"name": text(), "sha256": text(), "bytes": size(0)}
FORMAT = Format(
    name="dqindex-index",
    version=FORMAT_VERSION,
    what="the manifest of a dqindex index",
    short="index",
    remedy=REMEDY,
    schema={
        "files": {"index": DATA_FILE, "ids": Maybe(DATA_FILE), "model": Maybe(DATA_FILE)},
        "spec": text(),
        "metric": one_of("l2", "ip", "cosine"),
        "n": size(0),
        "d": integer(1),
        "bytes_per_vector": number_at_least(0),
        "search_parameters": Named(number_at_least(0)),
        # How `add` encodes depends on it; the others are told, and not used again.
        "settings": {"score_aware": Maybe(number_at_least(1))},
        "transform": Maybe(
            {
                "n_subspaces": integer(1),
                "d_out": integer(1),
                "imbalance": any_number(),
                "subspace_variances": Each(any_number()),
                "variances": Each(any_number()),
            }
        ),
        "versions": Named(text()),
        # What came later, and older manifests lack: see `dqindex.index.index`.
        "training": Maybe(text()),
        "distortion": Maybe(Named(number_at_least(0))),
        "counted": Maybe({"next": size(0)}),
        "embeds_ids": Maybe(boolean()),
    },
)
READ_ATTEMPTS = 6
# A data file that no manifest names is its writer's for so long.
LEFT_BEHIND = timedelta(days=1)
# FAISS makes a table of at most this size for an IVF-PQ as it reads it.
TABLE_BYTES = 2**31 + 1
# The limit is global to FAISS: one reader at a time may change it.
_LIMIT = threading.Lock()

T = TypeVar("T")
Manifest = Record


class IndexWriter:
    """Writes one new version of an index folder; see `write_folder`."""

    def __init__(self, folder: Place) -> None:
        self._folder = folder
        self.files: dict[str, dict[str, Any]] = {}
        self.committed = False

    def write(self, role: str, content: Callable[[HashingFile], object]) -> None:
        """Write the data file of `role` by calling `content` with an open binary file."""
        suffix = ROLES[role]

        def name(file: HashingFile) -> str:
            return f"{role}-{file.sha256[:HASH_DIGITS]}{suffix}"

        with atomic_file(self._folder / role, rename=name, of_index=True) as file:
            content(file)
        self.files[role] = {"name": name(file), "sha256": file.sha256, "bytes": file.size}

    def commit(self, manifest: Manifest) -> None:
        """Publish: from here on readers see the new version."""
        record = FORMAT.write({**manifest, "files": self.files})
        with atomic_file(self._folder / MANIFEST, of_index=True) as file:
            file.write((json.dumps(record, indent=2, sort_keys=True) + "\n").encode())
        self.committed = True


@contextmanager
def write_folder(path: Place | str, *, wait: float = 0.0) -> Iterator[IndexWriter]:
    """Hold the folder for writing; it is made if need be.

    Whatever happens inside, afterwards the folder holds one whole version, the old or the new,
    and nothing else of ours. What is not ours is not touched. A folder that was made here is
    removed if nothing was committed.

    At a URI nobody is kept waiting or out: of writers at once, the first to put its manifest wins,
    and the others find that it is no longer the one that they set out to replace.

    Parameters
    ----------
    path : path
    wait : float
        Seconds to wait for another writer; 0 refuses at once.

    Raises
    ------
    BusyError
        If another process is writing to it for longer than that; at a URI, if another has written
        it meanwhile.
    StorageError
        If it can't be made or written, or holds files but no index.
    """
    folder = place(path)
    if isinstance(folder, RemotePath):
        with _write_remote(folder) as writer:
            yield writer
        return
    made = not folder.exists()
    if not made and not folder.is_dir():
        raise StorageError(f"{folder}: is a file; name a new folder, or one with an index")
    with refusals(folder, "be made or opened"):
        folder.mkdir(exist_ok=True)
    with exclusive(folder, wait=wait):
        named = _own_files(folder)
        try:
            _sweep(folder, named)
            # Fail now, not after an hour's work.
            check_writable(folder / MANIFEST, of_index=True)
            yield IndexWriter(folder)
        finally:
            _sweep(folder, named)
            with suppress(OSError):
                if made and not any(folder.iterdir()):
                    folder.rmdir()


@contextmanager
def _write_remote(folder: RemotePath) -> Iterator[IndexWriter]:
    check_scheme(folder)
    if folder.is_file():
        raise StorageError(f"{folder}: is a file; name a new folder, or one with an index")
    with exclusive(folder / MANIFEST):
        named = _own_files(folder)
        check_writable(folder / MANIFEST, of_index=True)
        writer = IndexWriter(folder)
        yield writer
    # What a writer puts that is refused stays: by its content it may be another's as well.
    if writer.committed:
        _sweep_remote(folder, named)


def _own_files(folder: Place) -> set[str]:
    """The data files of the version that stands in `folder`, if this is a folder to write to.

    Raises
    ------
    StorageError
        If it holds files, but no index of ours.
    """
    try:
        stands = read_regular(folder / MANIFEST)
    except FileNotFoundError:
        with refusals(folder, "be read"):
            strangers = [file.name for file in folder.iterdir() if not _looks_ours(file)]
        if strangers:
            raise StorageError(
                f"{folder}: holds files, but no index ({min(strangers)}); choose a new or an "
                "empty folder"
            ) from None
        return set()
    try:
        return _data_files(FORMAT.parse(stands, str(folder / MANIFEST)))
    except DQIndexError as error:
        if not _is_manifest(stands):
            raise StorageError(
                f"{folder}: its {MANIFEST} is not that of an index ({error}); choose another folder"
            ) from None
    # A damaged manifest of ours may be replaced, but nothing that it names is taken for ours.
    return set()


def _is_manifest(content: bytes) -> bool:
    """Whether it is JSON of our format in a known version, whatever else is wrong with it."""
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(record, dict)
        and record.get("format") == FORMAT.name
        and record.get("format_version") in range(1, FORMAT_VERSION + 1)
    )


def _data_files(manifest: Manifest) -> set[str]:
    return {entry["name"] for entry in manifest["files"].values() if entry is not None}


def _looks_ours(file: Place) -> bool:
    """As `_may_go`, but what would have to be fetched for that is told by its name."""
    if isinstance(file, RemotePath):
        return DATA_NAME.fullmatch(file.name) is not None
    return _may_go(file, set())


def _may_go(file: Any, named: set[str]) -> bool:
    """Whether a file is ours: by name a data file, and `named` by a manifest or by its content."""
    if TEMPORARY_NAME.fullmatch(file.name):
        return True
    if not DATA_NAME.fullmatch(file.name) or file.is_symlink():
        return False
    if file.name in named:
        return True
    try:
        with open_regular(file) as opened:
            digest = sha256_of(opened)
    except (OSError, StorageError):
        return False
    return bool(file.stem.endswith(f"-{digest[:HASH_DIGITS]}"))


def _sweep(folder: Path, named: set[str]) -> None:
    """Remove data files of ours that the manifest does not name, and what dead writers left.

    Parameters
    ----------
    folder : Path
    named : set of str
        Data files of the version that stood there before.
    """
    sweep_temporary(folder)
    with suppress(OSError, DQIndexError):
        kept = _data_files(read_manifest(folder)) if (folder / MANIFEST).exists() else set()
        for file in folder.iterdir():
            if (
                file.name not in kept
                and not TEMPORARY_NAME.fullmatch(file.name)
                and _may_go(file, named)
            ):
                file.unlink(missing_ok=True)


def _sweep_remote(folder: RemotePath, named: set[str]) -> None:
    """Remove what was `named` by the version before, and what writers left that died.

    Those are told by their age: a younger file may be of a writer that puts its manifest next.
    """
    with suppress(OSError, DQIndexError):
        kept = _data_files(read_manifest(folder))
        now = (folder / MANIFEST).state()
        for file in folder.iterdir():
            if file.name in kept or not DATA_NAME.fullmatch(file.name):
                continue
            if file.name in named or (_is_old(file, now) and _may_go(file, set())):
                file.unlink()


def _is_old(file: RemotePath, now: State | None) -> bool:
    """Whether it was put long before now, by the clock of its store."""
    state = file.state()
    if state is None or now is None or state.changed is None or now.changed is None:
        return False
    age: timedelta = now.changed - state.changed
    return age > LEFT_BEHIND


def read_manifest(path: Place | str) -> Manifest:
    """The manifest of an index folder, checked field by field.

    Raises
    ------
    StorageError
        If there is none.
    FileFormatError
        If it is malformed, or of a format that this version does not read.
    IntegrityError
        If it is not what was written.
    """
    folder = place(path)
    file = folder / MANIFEST
    try:
        content = read_regular(file)
    except (FileNotFoundError, StorageError) as error:
        if folder.is_file():
            raise StorageError(
                f"{folder}: is a file; give an index folder (DIR), as 'dqindex build' makes it"
            ) from None
        if isinstance(error, StorageError):
            raise
        raise not_there(
            folder, "give a folder made by 'dqindex build'", f"no index there (no {MANIFEST})"
        ) from None
    manifest = FORMAT.parse(content, str(file))
    files = {role: entry for role, entry in manifest["files"].items() if entry is not None}
    for role, entry in files.items():
        name, digest = entry["name"], entry["sha256"]
        if role not in ROLES or name != f"{role}-{digest[:HASH_DIGITS]}{ROLES.get(role)}":
            raise FileFormatError(
                f"{file}: files.{role} names {name!r}, which is not a data file of an index; "
                f"{REMEDY}"
            )
    return {**manifest, "files": files}


def read_version(path: Place | str, load: Callable[[Manifest, Any], T]) -> T:
    """Call `load` with the manifest; again if a writer replaced the version meanwhile.

    Raises
    ------
    IntegrityError
        If a data file is missing, or does not match its checksum.
    """
    folder = place(path)
    missing = ""
    for attempt in range(READ_ATTEMPTS):
        try:
            return load(read_manifest(folder), folder)
        except FileNotFoundError as error:
            missing = str(error.filename)
            time.sleep(0.01 * 2**attempt)
    raise IntegrityError(f"{missing}: is missing, but the manifest lists it; build the index again")


@contextmanager
def verified(folder: Place, manifest: Manifest, role: str) -> Iterator[IO[bytes]]:
    """The data file of `role`, open, after its size and SHA-256 were verified.

    What is then read is what was verified, even if a writer replaces the version meanwhile.
    """
    entry = manifest["files"][role]
    path: Place = folder / entry["name"]
    with open_regular(path) as file, refusals(path, "be read"):
        size = os.fstat(file.fileno()).st_size
        if size != entry["bytes"]:
            raise IntegrityError(
                f"{path}: is {size} bytes, the manifest says {entry['bytes']}; the file is "
                "damaged, build the index again"
            )
        if sha256_of(file) != entry["sha256"]:
            raise IntegrityError(
                f"{path}: does not match its SHA-256 in the manifest; the file is damaged, build "
                "the index again"
            )
        file.seek(0)
        yield file


def write_ids(ids: pa.Array, file: HashingFile) -> None:
    """The catalogue's ids, one a row."""
    write_table(file, pa.table({"id": ids}))


def read_ids(file: IO[bytes], n: int) -> pa.Array:
    """The ids of `n` vectors.

    Raises
    ------
    FileFormatError, InputError
        If it is not the ids' file of an index, or has other than `n` distinct ids.
    """
    table = read_parquet(file, file.name, REMEDY)
    if table.column_names != ["id"]:
        raise FileFormatError(f"{file.name}: has columns {table.column_names}, not 'id'; {REMEDY}")
    return check_ids(table.column("id"), n, file.name)


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
