"""Readers of the formats that generative recommenders write: see `dqindex.sids.formats`.

Each checks the record that it reads, and says which item, line or token is wrong.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TextIO

import numpy as np
import numpy.typing as npt

from dqindex.errors import FileFormatError, InputError
from dqindex.places.place import Place
from dqindex.sids.vocabulary import Spelling
from dqindex.vectors.ids import INT64_MAX

# Codes are int32.
MOST_CODE = 2**31 - 1
UINT64_MAX = 2**64 - 1
WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,19}")


class Layout(NamedTuple):
    """How a foreign map is laid out, where a format leaves that open.

    Attributes
    ----------
    ids, codes : str or None
        Names of the columns, or fields; None for those that we write.
    spelling : Spelling
        How tokens are written as text.
    """

    ids: str | None = None
    codes: str | None = None
    spelling: Spelling = Spelling()


class Found(NamedTuple):
    """What a file says.

    Attributes
    ----------
    codes : (n, T) int32
    ids : list or None
        One an item.
    sizes : list of T ints or None
        Where the file knows them.
    """

    codes: npt.NDArray[np.int32]
    ids: list[Any] | None
    sizes: list[int] | None = None


def read_csv(file: TextIO, path: Place, layout: Layout) -> Found:
    """Ids and tokens, one item a line; a first line of names is optional."""
    rows = _csv_rows(file, path)
    if not rows:
        raise FileFormatError(f"{path}: is empty; give a map of semantic IDs")
    names = rows[0][1] if _is_header(rows) else None
    if names is not None:
        rows = rows[1:]
    if (layout.ids or layout.codes) and names is None:
        raise InputError(f"{path}: has no header line; leave out the names of its columns")
    width = len(names if names is not None else rows[0][1])
    id_place, code_place = _places(layout, names, rows, path)
    if code_place is None and width < 2:
        raise FileFormatError(
            f"{path}: no columns of tokens; CSV has the id and the tokens of an item on a line, "
            "between commas"
        )
    ids, codes = [], []
    for line, cells in rows:
        where = f"{path}, line {line}"
        if len(cells) != width:
            raise FileFormatError(f"{where}: has {len(cells)} cells, the first line {width}")
        ids.append(cells[id_place])
        if code_place is not None:
            tokens = re.split(r"[\s,]+", cells[code_place].strip("[]() \t"))
        else:
            tokens = cells[:id_place] + cells[id_place + 1 :]
        codes.append([_number(token, where) for token in tokens])
    return Found(matrix(codes, path), own_ids(ids))


def _csv_rows(file: TextIO, path: Place) -> list[tuple[int, list[str]]]:
    """Lines that are not empty, with their numbers."""
    reader = csv.reader(file)
    try:
        return [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise FileFormatError(f"{path}, line {reader.line_num}: not CSV ({error})") from None


def _is_header(rows: list[tuple[int, list[str]]]) -> bool:
    """Whether the first line has names: tokens that are no numbers, or an id unlike the others."""
    first, others = rows[0][1], rows[1:]
    if not all(token.strip().isdecimal() for token in first[1:]):
        return True
    numbered = all(WHOLE_NUMBER.fullmatch(cells[0]) for _, cells in others)
    return bool(others) and numbered and not WHOLE_NUMBER.fullmatch(first[0])


def _places(
    layout: Layout, names: list[str] | None, rows: list[tuple[int, list[str]]], path: Place
) -> tuple[int, int | None]:
    """The columns of the ids and of the tokens; None where each token has a column of its own."""
    names = names or []
    id_place = _place(layout.ids, names, path) if names and layout.ids else 0
    if names and layout.codes:
        return id_place, _place(layout.codes, names, path)
    if "codes" not in names or len(names) < 2 or not rows:
        return id_place, None
    codes = names.index("codes")
    if layout.ids is None:
        id_place = names.index("item_id") if "item_id" in names else int(codes == 0)
    # Where all are single numbers, it is one token among others.
    tokens = [cell for at, cell in enumerate(rows[0][1]) if at != id_place]
    return id_place, None if all(token.strip().isdecimal() for token in tokens) else codes


def _place(name: str, names: list[str], path: Place) -> int:
    if name not in names:
        raise InputError(f"{path}: no column {name!r}; it has {', '.join(names)}")
    return names.index(name)


def _number(text: str, where: str) -> int:
    text = text.strip()
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise FileFormatError(f"{where}: token {text!r} is not a whole number of at least 0")
    return int(text)


def read_jsonl(file: TextIO, path: Place, layout: Layout) -> Found:
    """One object a line: an id and its tokens."""
    id_name, code_name = layout.ids or "item_id", layout.codes or "codes"
    ids, codes = [], []
    for where, record in _json_lines(file, path):
        ids.append(as_item(field(record, id_name, where), where))
        codes.append(field(record, code_name, where))
    return Found(matrix(codes, path), ids)


def read_reverse(file: TextIO, path: Place, layout: Layout) -> Found:
    """One object a line: tokens, and the items that have them."""
    id_name, code_name = layout.ids or "items", layout.codes or "codes"
    ids, codes = [], []
    for where, record in _json_lines(file, path):
        items = field(record, id_name, where)
        if not isinstance(items, list):
            raise FileFormatError(f"{where}: {id_name!r} is {_short(items)}; it must be a list")
        ids += [as_item(item, where) for item in items]
        codes += [field(record, code_name, where)] * len(items)
    return Found(matrix(codes, path), ids)


def read_lc_rec(file: TextIO, path: Place, layout: Layout) -> Found:
    """One object: id to tokens, in a list or merged, whose letters tell their levels."""
    items = json_object(file.read(), str(path))
    pattern, spelling = layout.spelling.pattern(), layout.spelling
    key = "letter" if "letter" in pattern.groupindex else "level"
    levels: list[str] = []
    codes = []
    for item, text in items.items():
        where = f"{path}, item {item!r}"
        found = {}
        for parts in _tokens(text, spelling, pattern, where):
            if parts[key] in found:
                raise FileFormatError(f"{where}: has two tokens of level {parts[key]!r}")
            found[parts[key]] = int(parts["code"])
        order = sorted(found, key=lambda name: (len(name), name))
        levels = levels or order
        if order != levels:
            raise FileFormatError(
                f"{where}: has levels {', '.join(found) or 'none'}, the first item "
                f"{', '.join(levels)}; all need the same"
            )
        codes.append([found[level] for level in levels])
    return Found(matrix(codes, path), own_ids(list(items)))


def _tokens(
    text: Any, spelling: Spelling, pattern: re.Pattern[str], where: str
) -> Iterator[re.Match[str]]:
    """The tokens of one item, in a list or merged, without its marks."""
    begin, end = spelling.begin, spelling.end
    if not isinstance(text, list | str):
        raise FileFormatError(f"{where}: {_short(text)} is not a list of tokens")
    if isinstance(text, str):
        marked = text.startswith(begin) and text.endswith(end) and len(text) >= len(begin + end)
        inside: str | list[Any] = text[len(begin) : len(text) - len(end)]
    else:
        marked = (not begin or text[:1] == [begin]) and (not end or text[-1:] == [end])
        inside = text[bool(begin) : len(text) - bool(end)]
    if not marked:
        raise FileFormatError(f"{where}: {_short(text)} lacks the marks {begin!r} and {end!r}")
    place = 0
    while place < len(inside):
        if isinstance(inside, str):
            parts, rest = pattern.match(inside, place), inside[place:]
            place = parts.end() if parts else place
        else:
            rest, place = inside[place], place + 1
            parts = pattern.fullmatch(rest) if isinstance(rest, str) else None
        if parts is None:
            like = "60".join(spelling.around(0))
            raise FileFormatError(f"{where}: token {_short(rest)} is not like {like}")
        yield parts


def read_offset(file: TextIO, path: Place, layout: Layout) -> Found:
    """One object: id to tokens of one vocabulary, beside the offsets of its levels."""
    record = json_object(file.read(), str(path))
    items = field(record, "items", str(path))
    if not isinstance(items, dict):
        raise FileFormatError(f"{path}: 'items' is {_short(items)}; it must be an object")
    tokens = matrix(list(items.values()), path)
    offsets, sizes = (
        matrix([field(record, name, str(path))], path)[0] for name in ("offsets", "code_sizes")
    )
    levels = tokens.shape[1]
    if not len(offsets) == len(sizes) == levels:
        raise FileFormatError(
            f"{path}: {len(offsets)} offsets and {len(sizes)} code_sizes for {levels} tokens an "
            "item"
        )
    codes = tokens - offsets
    wrong = np.argwhere((codes < 0) | (codes >= sizes))
    if len(wrong):
        row, level = wrong[0]
        raise FileFormatError(
            f"{path}, item {list(items)[row]!r}: token {tokens[row, level]} is not of level "
            f"{level}, whose tokens are {offsets[level]} to {offsets[level] + sizes[level] - 1}"
        )
    return Found(codes, own_ids(list(items)), sizes.tolist())


READERS: dict[str, Callable[[TextIO, Place, Layout], Found]] = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "lc-rec": read_lc_rec,
    "offset": read_offset,
    "reverse": read_reverse,
}


def matrix(codes: list[Any], path: Place) -> npt.NDArray[np.int32]:
    """Lists of tokens, all as long, as (n, T) int32.

    Raises
    ------
    FileFormatError
    """
    if not codes:
        raise FileFormatError(f"{path}: a map without items")
    width = len(codes[0]) if isinstance(codes[0], list) else 0
    for place, one in enumerate(codes):
        if not isinstance(one, list) or {type(token) for token in one} != {int}:
            raise FileFormatError(
                f"{path}, item {place}: codes are {_short(one)}; they must be a list of whole "
                "numbers"
            )
        if len(one) != width:
            raise FileFormatError(
                f"{path}, item {place}: has {len(one)} tokens, the first {width}; all need the "
                f"same number"
            )
        if min(one) < 0 or max(one) > MOST_CODE:
            wrong = min(one) if min(one) < 0 else max(one)
            raise FileFormatError(f"{path}, item {place}: code {wrong} is not a token")
    return np.array(codes, dtype=np.int32)


def own_ids(names: list[str]) -> list[Any]:
    """Text that is whole numbers throughout comes back as numbers, if 64 bits hold them all."""
    if not all(WHOLE_NUMBER.fullmatch(name) for name in names):
        return names
    numbers = [int(name) for name in names]
    lowest, highest = min(numbers), max(numbers)
    fits = lowest >= -INT64_MAX - 1 and highest <= (INT64_MAX if lowest < 0 else UINT64_MAX)
    return numbers if fits else names


def _json_lines(file: TextIO, path: Place) -> Iterator[tuple[str, dict[str, Any]]]:
    for line, text in enumerate(file, 1):
        if text.strip():
            yield f"{path}, line {line}", json_object(text, f"{path}, line {line}")


def json_object(text: str, where: str) -> dict[str, Any]:
    """An object in which no name stands twice.

    Raises
    ------
    FileFormatError
    """

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = Counter(name for name, _ in pairs)
            twice = names.most_common(1)[0][0]
            raise FileFormatError(f"{where}: {twice!r} occurs twice; each may occur once")
        return found

    try:
        record = json.loads(text, object_pairs_hook=distinct)
    except FileFormatError:
        raise
    # JSON nested too deep ends in a RecursionError.
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{where}: not JSON ({error})") from None
    if not isinstance(record, dict):
        raise FileFormatError(f"{where}: is {_short(record)}; it must be a JSON object")
    return record


def field(record: dict[str, Any], name: str, where: str) -> Any:
    """A field that must be there.

    Raises
    ------
    FileFormatError
    """
    if name not in record:
        raise FileFormatError(f"{where}: no field {name!r}; it has {', '.join(record) or 'none'}")
    return record[name]


def as_item(value: Any, where: str) -> Any:
    """An id that JSON holds.

    Raises
    ------
    FileFormatError
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise FileFormatError(f"{where}: the id {_short(value)} is not a whole number or a text")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
