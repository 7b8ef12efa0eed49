"""`open_index`: an index folder, read or mapped."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

from dqindex._parameters import boolean, checked, one_of
from dqindex._parameters import path as a_path
from dqindex.errors import InputError, IntegrityError
from dqindex.index.folder import Manifest, read_faiss, read_ids, read_version, verified
from dqindex.index.index import DQIndex
from dqindex.index.mapping import map_faiss, verify_once
from dqindex.index.names import Names
from dqindex.places.place import Place, place
from dqindex.quantizer.model import DQModel
from dqindex.storage.reading import open_regular


@checked(folder=a_path(), mmap=boolean(), verify=one_of("once", "always"))
def open_index(folder: str | Path, *, mmap: bool = False, verify: str = "once") -> DQIndex:
    """Open an index folder.

    Every file is verified against its SHA-256 before it is parsed. With `mmap` the index is
    memory-mapped: opening takes milliseconds at any size, and memory grows with the lists that are
    searched. A mapped index can't be changed, and its files must be trusted while they are mapped.
    They are verified each time, or only the first time; ``verified.json`` in the folder (if it is
    writable) then records their size, modification time and inode.

    Parameters
    ----------
    folder : path
    mmap : bool
        FAISS can't map fast-scan codes: they are read, with a warning. The distance tables of an
        IVF-PQ are computed at the first search.
    verify : {"once", "always"}
        When to verify files that are mapped.

    Raises
    ------
    InputError
        If `mmap` is used for a folder at a URI.
    StorageError
        If there is no index.
    FileFormatError, IntegrityError
        If it is of an unknown format, or damaged.
    """
    if mmap and not isinstance(place(folder), Path):
        raise InputError(
            f"{place(folder)}: only a local folder can be mapped; open it without mmap, or copy "
            "it to this machine first"
        )
    return read_version(
        folder, lambda manifest, path: _load(manifest, path, mmap, verify == "always")
    )


def _load(manifest: Manifest, path: Any, mmap: bool, always: bool) -> DQIndex:
    model = None
    if mmap:
        index = _mapped(manifest, path, always)
    else:
        with verified(path, manifest, "index") as file:
            index = read_faiss(file)
    if index.ntotal != manifest["n"] or index.d != manifest["d"]:
        raise IntegrityError(f"{path}: the manifest and the index disagree; build it again")
    if "model" in manifest["files"]:
        with verified(path, manifest, "model") as file:
            model = DQModel.from_bytes(file.read(), file.name)
    names, version = names_in(manifest, path, mmap), (path.resolve(), manifest["files"])
    return DQIndex(index, manifest, names, model, mapped=mmap, opened=version)


def _mapped(manifest: Manifest, path: Path, always: bool) -> Any:
    for role in ("index", "ids"):
        if role not in manifest["files"]:
            continue
        if always:
            with verified(path, manifest, role):
                continue
        entry = manifest["files"][role]
        with open_regular(path / entry["name"]) as file:
            verify_once(path, entry, file)
    return map_faiss(path / manifest["files"]["index"]["name"])


def names_in(manifest: Manifest, path: Place, later: bool) -> Names:
    """The ids of a version; where they may come `later`, its file is kept open for them."""
    n, counted = int(manifest["n"]), manifest.get("counted")
    next_id = None if counted is None else int(counted["next"])
    if "ids" not in manifest["files"]:
        return Names(None, n, next_id)
    if not later:
        with verified(path, manifest, "ids") as file:
            return Names(read_ids(file, n), n, next_id)
    kept = open_regular(path / manifest["files"]["ids"]["name"])
    names = Names(lambda: read_ids(kept, n), n, next_id)
    weakref.finalize(names, kept.close)
    return names
