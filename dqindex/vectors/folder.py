"""Files of a set: a folder, a tree of folders, a glob, a list of them, in an order that is said.

The order of rows is the order of the files, then of the rows in each. Files of a folder or glob
are in natural order of their path (``part-2`` before ``part-10``), those of a list as listed.
Names that start with ``_`` or ``.`` are skipped, as Arrow and Spark do. A folder called
``key=value`` gives all rows below it a column `key` (hive partitions). Of a folder that Hugging
Face `datasets` saved, the files that its ``state.json`` names are read, and no caches beside them.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from dqindex.errors import FileFormatError, InputError, StorageError
from dqindex.places.ahead import ahead
from dqindex.places.missing import not_there
from dqindex.places.place import Place, RemotePath, files_below, is_glob, matching, place
from dqindex.vectors.parts import ARROW, PARQUET, Part, open_part

# Files behind a network that are opened at a time.
REQUESTS = 8
# What Hugging Face `datasets` calls what it writes beside the data of a set, and of several.
STATE, SPLITS = "state.json", "dataset_dict.json"
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class _File(NamedTuple):
    path: Place
    # key=value of the folders it lies in.
    keys: dict[str, str]


def open_parts(paths: Iterable[str | Path]) -> list[Part]:
    """The Parquet and Arrow files that `paths` (files, folders, globs) stand for, in order.

    Raises
    ------
    StorageError
        If there is no such path.
    FileFormatError
        If a folder or glob holds none, or one is malformed.
    """
    files = [file for path in paths for file in _files_of(path)]
    kinds = _key_kinds(files)
    tasks = [
        partial(
            open_part,
            file.path,
            {key: _value(kinds[key], value) for key, value in file.keys.items()},
        )
        for file in files
    ]
    if any(isinstance(file.path, RemotePath) for file in files):
        return list(ahead(tasks, REQUESTS))
    return [task() for task in tasks]


def natural_key(path: str) -> list[tuple[int, int, str]]:
    """Sorts digits by their number and the rest as text, folder by folder."""
    key: list[tuple[int, int, str]] = []
    for name in path.split("/"):
        for piece in re.split(r"(\d+)", name):
            if piece.isascii() and piece.isdigit():
                key.append((1, int(piece), piece))
            elif piece:
                key.append((2, 0, piece))
        key.append((0, 0, ""))
    return key


def _files_of(path: str | Path) -> list[_File]:
    root = place(path)
    if is_glob(path):
        plain = _plain_steps(root)
        files = [
            file
            for found in matching(path)
            for file in ([found] if not found.is_dir() else _in_folder(found))
            if not _is_hidden(file.parts[plain:])
        ]
        # A pattern asks for no state.json: it is looked for where there may be caches.
        states = {
            file.with_name(STATE) for file in files if re.fullmatch(r"cache-.*\.arrow", file.name)
        }
        files = _saved(files, [state for state in states if state.is_file()])
        if not files:
            raise StorageError(f"{root}: no file matches; give a pattern of Parquet or Arrow files")
    else:
        if not root.exists():
            raise not_there(root, "give a file, a folder or a pattern of Parquet or Arrow files")
        if not root.is_dir():
            return [_File(root, _keys(root.parent.parts))]
        files = _in_folder(root)
    tables = [file for file in set(files) if file.suffix.lower() in PARQUET + ARROW]
    if not tables:
        raise FileFormatError(
            f"{root}: holds no Parquet or Arrow files ({', '.join(PARQUET + ARROW)})"
        )
    ordered = sorted(tables, key=lambda file: natural_key(file.as_posix()))
    return [_File(file, _keys(file.parent.parts)) for file in ordered]


def _in_folder(folder: Any) -> list[Any]:
    depth = len(folder.parts)
    files = [file for file in files_below(folder) if not _is_hidden(file.parts[depth:])]
    for file in files:
        if file.name == SPLITS:
            splits = _read_json(file).get("splits")
            if isinstance(splits, list) and splits:
                names = ", ".join(f"{file.parent}/{split}" for split in splits)
                raise InputError(f"{file.parent}: is a DatasetDict; name one of its sets: {names}")
    return _saved(files, [file for file in files if file.name == STATE])


def _saved(files: list[Any], states: list[Any]) -> list[Any]:
    """`files` without what lies beside the data of a saved data set, as its state says."""
    for state in states:
        listed = _read_json(state).get("_data_files")
        if not isinstance(listed, list):
            continue
        named = {str(one.get("filename")) for one in listed if isinstance(one, dict)}
        beside = [file for file in files if file.parent == state.parent]
        missing = named - {file.name for file in beside}
        if missing and state in files:
            raise FileFormatError(
                f"{state.parent}: {min(missing)}, which its {STATE} names, is missing; save the "
                "data set again"
            )
        files = [file for file in files if file.parent != state.parent or file.name in named]
    return files


def _read_json(file: Any) -> dict[str, Any]:
    """What a JSON file holds; nothing where it holds something else."""
    try:
        found = json.loads(file.read_bytes())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _plain_steps(pattern: Place) -> int:
    """How many steps of a pattern come before the first that holds a wildcard."""
    magic = [glob.has_magic(step) for step in pattern.parts]
    return magic.index(True)


def _is_hidden(steps: Iterable[str]) -> bool:
    return any(step.startswith(("_", ".")) for step in steps)


def _keys(folders: Iterable[str]) -> dict[str, str]:
    found = (re.fullmatch(r"([^=]+)=(.*)", folder) for folder in folders)
    return {match[1]: unquote(match[2]) for match in found if match is not None}


def _key_kinds(files: list[_File]) -> dict[str, type]:
    """For each key int if its every value is a number written as one (not 007), else str."""
    kinds: dict[str, type] = {}
    for file in files:
        for key, value in file.keys.items():
            number = re.fullmatch(r"0|-?[1-9]\d{0,17}", value) or value == NULL_PARTITION
            kinds[key] = kinds.get(key, int) if number else str
    return kinds


def _value(kind: type, value: str) -> Any:
    if value == NULL_PARTITION:
        raise InputError(f"a folder is called {value}: its rows have no value; move them elsewhere")
    return kind(value)
