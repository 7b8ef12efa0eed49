"""Index files mapped into memory: opened at once, read as they are touched, never written to."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import faiss

from dqindex.errors import DQIndexError, InputError, IntegrityError, warn
from dqindex.index.anatomy import dissect
from dqindex.index.contents import leaves
from dqindex.storage.files import atomic_file
from dqindex.storage.reading import sha256_of

# Which files were verified, as they were then; beside the manifest.
VERIFIED = "verified.json"
# What would write to a mapped index: FAISS ends the process.
WRITERS = (
    "add",
    "add_with_ids",
    "add_sa_codes",
    "add_core",
    "remove_ids",
    "merge_from",
    "update_vectors",
    "train",
    "reset",
)


def map_faiss(path: Path) -> Any:
    """Map the FAISS index at `path`, whose content was verified."""
    flags = faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE
    flags |= faiss.IO_FLAG_PQ_SKIP_SDC_TABLE
    # FAISS says that a file is gone in the words it has for all else.
    path.stat()
    try:
        index = faiss.read_index(str(path), flags)
    except RuntimeError as error:
        path.stat()
        raise IntegrityError(f"{path}: FAISS cannot map it ({error})") from None
    read = sorted({type(one).__name__ for one in leaves(index) if "FastScan" in type(one).__name__})
    if read:
        warn(
            f"{path.name}: FAISS cannot map the codes of {', '.join(read)}: they were read into "
            "memory"
        )
    for name in WRITERS:
        if hasattr(index, name):
            setattr(index, name, _refuse)
    return index


def _refuse(*_: object, **__: object) -> None:
    refuse_mapped()


def refuse_mapped() -> None:
    """Say that a mapped index cannot be changed.

    Raises
    ------
    InputError
    """
    raise InputError(
        "this index is mapped from its file and cannot be changed; open it without mmap to change "
        "it"
    )


def make_tables(index: Any) -> None:
    """Make the table that an IVF-PQ searches by, which FAISS makes as it reads a whole file."""
    core = dissect(index).core
    if type(core) is faiss.IndexIVFPQ and core.by_residual and core.use_precomputed_table == 0:
        core.precompute_table()


def verify_once(folder: Path, entry: dict[str, Any], file: Any) -> None:
    """Hold `file` against its SHA-256, unless that was done since it last changed.

    Whether it changed is told by its size, its time of change and its inode.

    Raises
    ------
    IntegrityError
        If it does not match.
    """
    state = os.fstat(file.fileno())
    seen = [entry["sha256"], state.st_size, state.st_mtime_ns, state.st_ino, state.st_dev]
    known = _verified(folder)
    if known.get(entry["name"]) == seen and state.st_size == entry["bytes"]:
        return
    path = folder / entry["name"]
    file.seek(0)
    if state.st_size != entry["bytes"] or sha256_of(file) != entry["sha256"]:
        raise IntegrityError(
            f"{path}: does not match its size and SHA-256 in the manifest; the file is damaged, "
            "build the index again"
        )
    known = {name: one for name, one in known.items() if (folder / name).exists()}
    known[entry["name"]] = seen
    # Where it cannot be remembered, it is verified again the next time.
    with suppress(OSError, DQIndexError), atomic_file(folder / VERIFIED) as record:
        record.write(json.dumps(known, indent=1).encode())


def _verified(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads((folder / VERIFIED).read_bytes())
        if isinstance(found, dict):
            return found
    return {}
