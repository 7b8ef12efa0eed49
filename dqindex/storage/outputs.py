"""Outputs that are inputs as well: refused before anything is read or written."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from dqindex.errors import InputError
from dqindex.places.place import Place, RemotePath, is_glob, matching, place
from dqindex.storage.files import check_writable


def check_output(output: Place | str, *inputs: Place | str | None) -> None:
    """Fail now if a file cannot be made at `output`, or if that would destroy one of `inputs`.

    Raises
    ------
    InputError, StorageError
    """
    refuse_inputs(output, *inputs)
    check_writable(output)


def refuse_inputs(output: Place | str, *inputs: Place | str | None) -> None:
    """Refuse an output that is one of the inputs, by whatever name, or lies within one.

    Parameters
    ----------
    output : path
        A file, or a folder that holds an index.
    *inputs : path or None
        Files, folders, globs, and ``FILE:PART``; other outputs too, which need not exist yet.

    Raises
    ------
    InputError
    """
    made = place(output)
    for text in inputs:
        for given in _files_of(text):
            if _same(made, given):
                raise InputError(
                    f"{made}: is the input {given} as well, which would be replaced; choose "
                    "another output"
                )
            if _within(made, given) and given.is_dir():
                raise InputError(
                    f"{made}: lies in the folder {given}, which is an input; choose another place"
                )
            if _within(given, made) and (made / "manifest.json").exists():
                raise InputError(
                    f"{made}: holds the input {given}, which would be replaced; choose another "
                    "output"
                )


def _files_of(text: Place | str | None) -> Iterator[Place]:
    """What an input's name stands for."""
    if text is None or "\0" in str(text):
        return
    found = place(text)
    whole = found.uri if isinstance(found, RemotePath) else str(found)
    head, colon, _ = whole.rpartition(":")
    if isinstance(found, RemotePath):
        if is_glob(found):
            yield from matching(found)
        else:
            yield place(re.sub(r"(\.(?:hdf5|h5|safetensors)):.*", r"\1", whole))
    elif Path(whole).exists():
        yield Path(whole)
    elif colon and Path(head).exists():
        yield Path(head)
    elif glob.has_magic(whole):
        yield from map(Path, glob.glob(whole, recursive=True))  # noqa: PTH207 (absolute too)
    else:
        yield Path(whole)


def _same(one: Place, other: Place) -> bool:
    """Whether two names lead to one file; hard and symbolic links do."""
    if isinstance(one, RemotePath) or isinstance(other, RemotePath):
        return one == other
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute() == other.absolute()


def _within(path: Place, folder: Place) -> bool:
    """Whether `path`, which need not exist, lies below `folder`, links followed."""
    if isinstance(path, RemotePath) or isinstance(folder, RemotePath):
        if isinstance(path, Path) or isinstance(folder, Path):
            return False
        return path.within(folder)
    return folder.resolve() in path.resolve().parents
