"""What OpenOneRec reads: a table ``pid``, ``sid``, and the items of every ID.

It takes IDs of three tokens, each below 8,192, and packs them into one number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

import pyarrow as pa

from dqindex.errors import FileFormatError, InputError
from dqindex.places.place import Place
from dqindex.sids.map import SidMap
from dqindex.sids.readers import Found, Layout, as_item, json_object, matrix
from dqindex.sids.tuples import TupleRows
from dqindex.storage.files import HashingFile

LEVELS = 3
SIZE = 8192
COUNTS = ("count", "count_after_downsample")


def check_sizes(sids: SidMap) -> None:
    """Refuse a map whose IDs are not what it takes.

    Raises
    ------
    InputError
    """
    if len(sids.sizes) != LEVELS or max(sids.sizes) > SIZE:
        raise InputError(
            f"OpenOneRec takes IDs of {LEVELS} tokens of at most {SIZE:,} codes; this map has "
            f"{' x '.join(map(str, sids.sizes))}: use the format table"
        )


def write_reverse(sids: SidMap, file: HashingFile, column: str) -> None:
    """One object: an ID packed into a number, to its items, the first that a lookup takes first.

    Raises
    ------
    InputError
        If the ids are text, which it does not take.
    """
    ids = sids.item_ids
    if column in COUNTS:
        raise InputError(f"the field of ids is {column!r}, as one of the counts is; give another")
    if not pa.types.is_integer(ids.type):
        raise InputError(
            f"OpenOneRec's reverse map takes ids that are whole numbers; these are {ids.type}: use "
            "the format reverse"
        )
    known = TupleRows(sids.codes, sids.sizes, sids.priority)
    file.write(b"{")
    for place in range(len(known.starts) - 1):
        rows = known.order[known.starts[place] : known.starts[place + 1]]
        a, b, c = sids.codes[rows[0]].tolist()
        # What it counts is not known here: one each, so that the first stays first.
        items = [{column: name, **dict.fromkeys(COUNTS, 1)} for name in _names(ids, rows)]
        entry = f'{", " if place else ""}"{(a * SIZE + b) * SIZE + c}": {json.dumps(items)}'
        file.write(entry.encode())
    file.write(b"}")


def _names(ids: pa.Array, rows: Any) -> list[int]:
    names: list[int] = ids.take(pa.array(rows)).to_pylist()
    return names


def read_reverse(file: TextIO, path: Place, layout: Layout) -> Found:
    """One object: an ID packed into a number, to its items.

    Raises
    ------
    FileFormatError
    """
    column = layout.ids or "pid"
    ids, codes = [], []
    for packed, items in json_object(file.read(), str(path)).items():
        where = f"{path}, ID {packed!r}"
        if not packed.isascii() or not packed.isdecimal() or int(packed) >= SIZE**LEVELS:
            raise FileFormatError(f"{where}: is not a number below {SIZE**LEVELS:,}")
        for name in _items(items, column, where):
            ids.append(name)
            codes.append([int(packed) // SIZE**power % SIZE for power in (2, 1, 0)])
    return Found(matrix(codes, path), ids)


def _items(items: Any, column: str, where: str) -> Iterator[Any]:
    if not isinstance(items, list) or not all(
        isinstance(one, dict) and column in one for one in items
    ):
        raise FileFormatError(f"{where}: must have a list of objects with the field {column!r}")
    for one in items:
        yield as_item(one[column], where)
