"""Outputs that are inputs as well: refused before anything is read or written."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from dqindex.errors import InputError
from dqindex.storage.files import check_writable


def check_output(output: Path | str, *inputs: Path | str | None) -> None:
    """Fail now if a file cannot be made at `output`, or if that would destroy one of `inputs`.

    Raises
    ------
    InputError, StorageError
    """
    refuse_inputs(output, *inputs)
    check_writable(output)


def refuse_inputs(output: Path | str, *inputs: Path | str | None) -> None:
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
    output = Path(output)
    for text in inputs:
        for given in _files_of(text):
            if _same(output, given):
                raise InputError(
                    f"{output}: is the input {given} as well, which would be replaced; choose "
                    "another output"
                )
            if given.is_dir() and _within(output, given):
                raise InputError(
                    f"{output}: lies in the folder {given}, which is an input; choose another place"
                )
            if _within(given, output) and (output / "manifest.json").exists():
                raise InputError(
                    f"{output}: holds the input {given}, which would be replaced; choose another "
                    "output"
                )


def _files_of(text: Path | str | None) -> Iterator[Path]:
    """What an input's name stands for."""
    if text is None or "\0" in str(text):
        return
    whole = str(text)
    head, colon, _ = whole.rpartition(":")
    if Path(whole).exists():
        yield Path(whole)
    elif colon and Path(head).exists():
        yield Path(head)
    elif glob.has_magic(whole):
        yield from map(Path, glob.glob(whole, recursive=True))  # noqa: PTH207 (absolute too)
    else:
        yield Path(whole)


def _same(one: Path, other: Path) -> bool:
    """Whether two names lead to one file; hard and symbolic links do."""
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute() == other.absolute()


def _within(path: Path, folder: Path) -> bool:
    """Whether `path`, which need not exist, lies below `folder`, links followed."""
    return folder.resolve() in path.resolve().parents
