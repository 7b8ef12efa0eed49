"""`merge_indexes`: shards of one training become one index; `build_like` makes such shards."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import faiss

from dqindex._parameters import Rule, callback, checked, or_none, thread_count, unbounded
from dqindex._types import Progress, no_progress
from dqindex.errors import InputError
from dqindex.index.contents import FIXED, append, check_composable, empty_out, leaves
from dqindex.index.folder import Manifest, read_manifest, read_version
from dqindex.index.index import DQIndex
from dqindex.index.labels import Labels, relabel
from dqindex.index.names import Names, merged_names
from dqindex.index.opening import names_in, open_index
from dqindex.index.score_aware import score_aware_of
from dqindex.places.place import place, shown
from dqindex.vectors import open_vectors

# What a manifest says of the vectors that an index holds, not of its training.
OF_THE_VECTORS = ("n", "counted", "embeds_ids", "target")


@checked(progress=or_none(callback()))
def merge_indexes(
    indexes: Sequence[DQIndex | str | Path], *, progress: Progress | None = None
) -> DQIndex:
    """Merge indexes that share a training, one after another.

    It equals the index that adding all of them in this order would make: the same codes in every
    list, in the same order (for a graph, the codes are inserted one by one). If the indexes number
    their vectors, the numbers of the second follow those of the first.

    Parameters
    ----------
    indexes : sequence of DQIndex or folders
        They are not changed. Of several folders, memory holds one at a time, and the result.
    progress : callable, optional
        Called with (what, done, total): "merge", in vectors.

    Returns
    -------
    DQIndex
        With the search parameters, settings and model of the first.

    Raises
    ------
    InputError
        If trainings or metrics differ, an id is in two of them, or one is given twice.
    SpecError
        If FAISS gives no way to take such an index apart.
    StorageError, FileFormatError, IntegrityError
        If a folder can't be opened.
    """
    if isinstance(indexes, str | bytes | Path) or not isinstance(indexes, Sequence):
        raise InputError(f"indexes is {indexes!r}; give a list of indexes or folders")
    if not indexes:
        raise InputError("no index to merge; give at least one")
    owners = [_owner(one, number) for number, one in enumerate(indexes)]
    manifests = [_manifest_of(one) for one in indexes]
    _refuse_twice(indexes, manifests, owners)
    _check_alike(manifests, owners)
    names = merged_names([_names_of(one) for one in indexes], owners)
    report, done = progress or no_progress, 0
    merged: DQIndex | None = None
    for one, owner in zip(indexes, owners, strict=True):
        if merged is None:
            merged = _to_change(one)
            check_composable(merged.index, merged.spec)
            training, done = merged.training, merged.n
        else:
            part = _opened(one)
            if part.training != training:
                raise InputError(_other_training(owners[0], owner))
            append(merged.index, part.index, Labels(part.names, part.embeds_ids).rows)
            done += part.n
        report("merge", min(done, names.n), names.n)
    assert merged is not None  # noqa: S101 (told to the type checker; there is at least one)
    embeds = bool(_manifest_of(indexes[0]).get("embeds_ids"))
    return _made(merged, merged.index, names, embeds)


@checked(
    like=Rule(lambda value: isinstance(value, DQIndex | str | Path), "an index or a folder"),
    block_rows=or_none(unbounded(1)),
    threads=thread_count(),
    progress=or_none(callback()),
)
def build_like(
    vectors: Any,
    like: DQIndex | str | Path,
    *,
    block_rows: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> DQIndex:
    """Build an index with the training of another: a shard for a merge, or a rebuild.

    Parameters
    ----------
    vectors : array (n, d), path, or VectorSource
    like : DQIndex or folder
        It is not changed.
    block_rows, threads, progress
        As in `build_index`.

    Returns
    -------
    DQIndex

    Raises
    ------
    InputError, NonFiniteError, RangeError, FileFormatError
        If the vectors are unusable.
    StorageError, FileFormatError, IntegrityError
        If the folder can't be opened.
    """
    source = open_vectors(vectors)
    opened = _to_change(like)
    empty_out(opened.index)
    ids = source.ids
    names = Names(None if ids is None else ids[:0], 0)
    made = _made(opened, opened.index, names, embeds=False)
    made.add(source, block_rows=block_rows, threads=threads, progress=progress)
    if _manifest_of(like).get("embeds_ids"):
        _embed(made)
    return made


def _made(like: DQIndex, index: Any, names: Names, embeds: bool) -> DQIndex:
    manifest = {name: like.manifest[name] for name in like.manifest if name not in OF_THE_VECTORS}
    trained = (manifest.pop("distortion", None) or {}).get("trained")
    manifest["n"] = names.n
    if trained is not None:
        manifest["distortion"] = {"trained": trained}
    made = DQIndex(index, manifest, names, like.model)
    if embeds:
        _embed(made)
    return made


def _embed(made: DQIndex) -> None:
    """As in another index, whose ids may be a count like these."""
    if made.names.plain:
        made.manifest = {**made.manifest, "embeds_ids": True}
    else:
        made.embed_ids()


def _copied(one: DQIndex) -> Any:
    """A FAISS index of its own; FAISS's clone of one that is mapped is mapped as well."""
    if not one.mapped and not any(isinstance(leaf, FIXED) for leaf in leaves(one.index)):
        # Of some kinds it makes none, or one that can't be searched.
        with suppress(RuntimeError):
            return faiss.clone_index(one.index)
    return faiss.deserialize_index(faiss.serialize_index(one.index))


def _opened(one: DQIndex | str | Path) -> DQIndex:
    """As it is, or read."""
    return one if isinstance(one, DQIndex) else open_index(one)


def _to_change(one: DQIndex | str | Path) -> DQIndex:
    """One that may be changed, whose lists hold rows."""
    opened = _opened(one)
    if opened is one:
        opened = DQIndex(_copied(one), one.manifest, one.names, one.model)
    if opened.embeds_ids:
        relabel(opened.index, Labels(opened.names, True).rows)
    return opened


def _owner(one: Any, number: int) -> str:
    if isinstance(one, DQIndex):
        return f"index {number}"
    if isinstance(one, str | Path):
        return shown(str(one))
    raise InputError(f"indexes: {one!r} is not an index; give a DQIndex or a folder")


def _manifest_of(one: DQIndex | str | Path) -> Manifest:
    return one.manifest if isinstance(one, DQIndex) else read_manifest(one)


def _names_of(one: DQIndex | str | Path) -> Names:
    if isinstance(one, DQIndex):
        return one.names
    return read_version(one, lambda manifest, path: names_in(manifest, path, later=False))


def _refuse_twice(
    indexes: Sequence[DQIndex | str | Path], manifests: Sequence[Manifest], owners: Sequence[str]
) -> None:
    """Refuse the same index again: the object, the folder, or what was opened from that folder."""
    seen: dict[Hashable, str] = {}
    for one, manifest, owner in zip(indexes, manifests, owners, strict=True):
        keys: list[Hashable] = []
        if isinstance(one, DQIndex):
            keys, version = [id(one)], one.published
        else:
            version = place(one).resolve(), manifest["files"]
        if version is not None:
            folder, files = version
            keys.append((folder, *sorted(entry["sha256"] for entry in files.values())))
        first = next((seen[key] for key in keys if key in seen), None)
        if first is not None:
            raise InputError(
                f"{owner}: is given twice, first as {first}, and the result would hold each of its "
                "vectors twice; give each index once"
            )
        seen |= dict.fromkeys(keys, owner)


def _check_alike(manifests: Sequence[Manifest], owners: Sequence[str]) -> None:
    """Refuse, before anything is loaded, what the manifests tell apart."""
    first = manifests[0]
    for manifest, owner in zip(manifests, owners, strict=True):
        for field in ("metric", "d"):
            if manifest[field] != first[field]:
                raise InputError(
                    f"{owner}: its {field} is {manifest[field]}, and that of {owners[0]} "
                    f"{first[field]}; merge indexes of one training"
                )
        weights = [score_aware_of(one) for one in (manifest, first)]
        if weights[0] != weights[1]:
            raise InputError(
                f"{owner}: its codes have score_aware {weights[0]:g}, and those of {owners[0]} "
                f"{weights[1]:g}; merge indexes of one training"
            )
        known = [one.get("training") for one in (first, manifest)]
        if None not in known and known[0] != known[1]:
            raise InputError(_other_training(owners[0], owner))


def _other_training(first: str, other: str) -> str:
    return (
        f"{other}: was trained apart from {first}, so that its codes mean other things; build it "
        f"with --like {first} (build_like), or add its vectors"
    )
