"""A list of ids to choose items by: text with an id a line, a column of a table, or a ``.npy``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO

import pyarrow as pa

from dqindex.errors import FileFormatError, InputError, StorageError
from dqindex.places.missing import not_there
from dqindex.places.place import place
from dqindex.vectors.files import require_regular
from dqindex.vectors.id_file import read_ids
from dqindex.vectors.layout import ID_NAMES
from dqindex.vectors.parts import ARROW, PARQUET, open_part

# Python reads no integer of many more digits, wherever its limit is set.
INTEGER = re.compile(r"-?[0-9]{1,600}")


def read_id_list(
    given: str | Path | IO[bytes], *, integers: bool, column: str | None = None
) -> pa.Array | list[int]:
    """Ids from a file, of which one may stand twice.

    Parameters
    ----------
    given : path or open binary file
        A Parquet or Arrow file, a 1-d ``.npy``, or text (UTF-8) with an id a line, which an open
        file and a file of any other name are. Empty lines are no ids.
    integers : bool
        Whether the lines of a text are to be integers.
    column : str, optional
        Of a table: by default its only one, else ``item_id`` or ``id``.

    Returns
    -------
    pyarrow.Array, or list of int
        A list where no integer type holds them all.

    Raises
    ------
    StorageError, FileFormatError
        If there is no such file, or it can't be read.
    InputError
        If a line is no integer where those are wanted, or a column is missing.
    """
    if not isinstance(given, str | Path):
        return _lines(given, "standard input", integers)
    path = place(given)
    if path.suffix.lower() not in (".npy", *PARQUET, *ARROW):
        if column is not None:
            raise InputError(f"{path}: is text, which has no columns; leave out the id column")
        if not path.exists():
            raise not_there(path, "give a file of ids")
        require_regular(path)
        try:
            with path.open("rb") as file:
                return _lines(file, str(path), integers)
        except OSError as error:
            raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from None
    if column is None and path.suffix != ".npy" and path.is_file():
        names = open_part(path).schema.names
        if len(names) > 1:
            column = next((name for name in ID_NAMES if name in names), None)
    return read_ids(path, column)


def _lines(file: IO[bytes], name: str, integers: bool) -> pa.Array | list[int]:
    try:
        text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{name}: is not UTF-8 (byte {error.start}); give text with an id a line, Parquet, "
            "Arrow or .npy"
        ) from None
    lines = [line.rstrip("\r") for line in text.split("\n")]
    if not integers:
        return pa.array([line for line in lines if line], pa.large_string())
    values = []
    for number, line in enumerate(lines, start=1):
        word = line.strip()
        if word and not INTEGER.fullmatch(word):
            raise InputError(
                f"{name}: line {number} is {line[:80]!r}, and the ids of this index are integers; "
                "give one a line"
            )
        if word:
            values.append(int(word))
    return _integers(values)


def _integers(values: list[int]) -> pa.Array | list[int]:
    """As they are where no type of 64 bits holds them: no index can have some of these."""
    for kind in (pa.int64(), pa.uint64()):
        try:
            return pa.array(values, kind)
        except (OverflowError, pa.ArrowException):
            continue
    return values
