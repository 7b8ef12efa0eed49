"""What `DQIndex.save` writes: the files of a version, and what its manifest says of them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from dqindex.errors import BusyError, DQIndexError
from dqindex.index.folder import IndexWriter, Manifest, read_manifest, write_faiss, write_ids
from dqindex.index.names import Names
from dqindex.index.parameters import in_force
from dqindex.index.weight import code_bytes
from dqindex.places.place import Place
from dqindex.quantizer.model import DQModel

# Fields of a manifest that its writer gives.
WRITTEN = ("files", "format", "format_version", "checksum")
# A folder, and the files of the version in it.
Version = tuple[Place, dict[str, Any]]


def manifest_of(index: Any, before: Manifest, names: Names, training: str) -> Manifest:
    """The manifest of a FAISS index as it is now; `before` says where it comes from."""
    now, chosen = in_force(index), before["search_parameters"]
    own = {name: before[name] for name in before if name not in WRITTEN}
    return {
        **own,
        "n": int(index.ntotal),
        "bytes_per_vector": code_bytes(index),
        "search_parameters": {name: now.get(name, value) for name, value in chosen.items()},
        "training": training,
        "counted": names.record(),
        "embeds_ids": bool(before.get("embeds_ids", False)),
    }


def write_files(writer: IndexWriter, index: Any, names: Names, model: DQModel | None) -> None:
    """Write the data files of a version."""
    writer.write("index", lambda file: write_faiss(index, file))
    ids = names.array
    if ids is not None:
        writer.write("ids", lambda file: write_ids(ids, file))
    if model is not None:
        content = model.to_bytes()
        writer.write("model", lambda file: file.write(content))


def check_version(folder: Place, opened: Version | None) -> None:
    """Refuse to replace a version of `folder` that is not the one that was opened from there.

    Raises
    ------
    BusyError
    """
    if opened is None or opened[0] != folder.resolve():
        return
    files = opened[1]
    # What can't be read is no version that could be lost.
    with suppress(DQIndexError):
        files = read_manifest(folder)["files"]
    if files != opened[1]:
        raise BusyError(
            f"{folder}: another version was published since this index was opened, and would be "
            "lost; open it again and repeat the change"
        )
