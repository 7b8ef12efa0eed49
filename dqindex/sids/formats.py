"""Maps in the formats that generative recommenders read, and back.

- ``parquet``: as `dqindex.sids.map_file` writes it.
- ``csv``: ``item_id,token_0,token_1,…``.
- ``jsonl``: ``{"item_id": …, "codes": […]}`` a line.
- ``lc-rec``: ``{"0": ["<a_60>", "<b_159>", …], …}``, one letter a level (aa, ab after z).
- ``offset``: ``{"vocabulary_size", "offsets", "code_sizes", "items": {id: [token, …]}}``: one
  contiguous vocabulary, the code plus the offset of its level.
- ``npy``: the matrix of codes alone, in the map's order.
- ``reverse``: ``{"codes": […], "items": […]}`` a line: which items have an ID.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex.errors import FileFormatError, InputError, StorageError
from dqindex.sids import map_file
from dqindex.sids.map import SidMap
from dqindex.sids.tuples import TupleSet
from dqindex.storage.files import HashingFile, atomic_file
from dqindex.storage.matrix import matrix_writer
from dqindex.vectors.ids import check_ids

FORMATS = ("parquet", "csv", "jsonl", "lc-rec", "offset", "npy", "reverse")
ROWS = 65536


def export(sids: SidMap, path: str | Path, form: str) -> None:
    """Write a map in one of `FORMATS`, whole or not at all.

    Raises
    ------
    InputError
        If the format is unknown.
    StorageError
        If the file can't be written.
    """
    if form not in FORMATS:
        raise InputError(f"format is {form!r}; use one of {', '.join(FORMATS)}")
    if form == "parquet":
        map_file.write_map(sids, path)
    elif form == "npy":
        with matrix_writer(
            path, (len(sids), sids.codes.shape[1]), np.dtype(np.int32), column="codes"
        ) as write:
            write(sids.codes)
    else:
        with atomic_file(path) as file:
            WRITERS[form](sids, file)


def read(path: str | Path, form: str | None = None) -> SidMap:
    """Read a map in any of `FORMATS`; by default the one that the file's name and content show.

    Foreign maps have no model: sizes are the largest code plus one, where the file says no more.

    Raises
    ------
    StorageError, FileFormatError
        If the file is missing or not a map in that format.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"{path}: no such file; give a map of semantic IDs")
    form = form or _guess(path)
    if form == "parquet":
        return map_file.read_map(path)
    try:
        if form == "npy":
            return _map(np.load(path, allow_pickle=False), None, path)
        with path.open(encoding="utf-8") as file:
            return READERS[form](file, path)
    except (ValueError, KeyError, TypeError, EOFError, AttributeError, csv.Error) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path}: not a map in the format {form} ({error})") from None


def _guess(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".npy", ".csv"):
        return suffix[1:]
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b'{"codes"'):
        return "reverse"
    if head.startswith((b'{"vocabulary_size"', b'{"offsets"')):
        return "offset"
    if suffix == ".jsonl" or head.startswith(b'{"item_id"'):
        return "jsonl"
    return "lc-rec"


def _rows(sids: SidMap) -> Iterator[tuple[Any, list[int]]]:
    ids = sids.item_ids
    for start in range(0, len(sids), ROWS):
        names = ids.slice(start, ROWS).to_pylist()
        yield from zip(names, sids.codes[start : start + ROWS].tolist(), strict=True)


def _write_csv(sids: SidMap, file: HashingFile) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["item_id", *(f"token_{level}" for level in range(len(sids.sizes)))])
    for name, codes in _rows(sids):
        writer.writerow([name, *codes])
        if buffer.tell() > 2**20:
            file.write(buffer.getvalue().encode())
            buffer.seek(0)
            buffer.truncate()
    file.write(buffer.getvalue().encode())


def _write_jsonl(sids: SidMap, file: HashingFile) -> None:
    for name, codes in _rows(sids):
        line = json.dumps({"item_id": name, "codes": codes}, ensure_ascii=False)
        file.write(f"{line}\n".encode())


def _write_object(file: HashingFile, rows: Iterator[tuple[Any, Any]]) -> None:
    """One JSON object, an entry at a time."""
    file.write(b"{")
    for place, (name, value) in enumerate(rows):
        entry = f"{json.dumps(str(name), ensure_ascii=False)}: {json.dumps(value)}"
        file.write(f"{', ' if place else ''}{entry}".encode())
    file.write(b"}")


def level_name(level: int) -> str:
    """Letters of a level: a, b, …, z, aa, ab, and so on."""
    name = ""
    level += 1
    while level:
        level, letter = divmod(level - 1, 26)
        name = chr(ord("a") + letter) + name
    return name


def _write_lc_rec(sids: SidMap, file: HashingFile) -> None:
    names = [level_name(level) for level in range(len(sids.sizes))]
    _write_object(
        file,
        (
            (item, [f"<{name}_{code}>" for name, code in zip(names, codes, strict=True)])
            for item, codes in _rows(sids)
        ),
    )


def _write_offset(sids: SidMap, file: HashingFile) -> None:
    offsets = np.cumsum([0, *sids.sizes[:-1]])
    head = {
        "vocabulary_size": int(sum(sids.sizes)),
        "offsets": offsets.tolist(),
        "code_sizes": sids.sizes,
    }
    file.write(f'{json.dumps(head)[:-1]}, "items": '.encode())
    _write_object(
        file, ((item, (np.array(codes) + offsets).tolist()) for item, codes in _rows(sids))
    )
    file.write(b"}")


def _write_reverse(sids: SidMap, file: HashingFile) -> None:
    known = TupleSet(sids.codes, sids.sizes)
    order = np.argsort(known.numbers, kind="stable")
    ids = sids.item_ids
    start = 0
    for count in known.counts.tolist():
        rows = order[start : start + count]
        start += count
        line = {"codes": sids.codes[rows[0]].tolist(), "items": ids.take(rows).to_pylist()}
        file.write(f"{json.dumps(line, ensure_ascii=False)}\n".encode())


WRITERS: dict[str, Callable[[SidMap, HashingFile], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "lc-rec": _write_lc_rec,
    "offset": _write_offset,
    "reverse": _write_reverse,
}


def _map(codes: Any, ids: list[Any] | None, path: Path, sizes: list[int] | None = None) -> SidMap:
    try:
        array = np.asarray(codes)
    except ValueError:
        raise FileFormatError(f"{path}: items have different numbers of tokens") from None
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "iu" or array.min() < 0:
        raise FileFormatError(f"{path}: is not a matrix of tokens (shape {array.shape})")
    array = array.astype(np.int32)
    return SidMap(
        array,
        array,
        np.full(len(array), np.nan, dtype=np.float32),
        sizes or [int(one) + 1 for one in array.max(axis=0)],
        None if ids is None else check_ids(ids, len(array), str(path)),
    )


def _own_ids(names: list[Any]) -> list[Any] | pa.Array:
    """Text that is whole numbers throughout comes back as numbers."""
    if names and all(
        isinstance(name, str) and re.fullmatch(r"0|-?[1-9]\d{0,17}", name) for name in names
    ):
        return [int(name) for name in names]
    return names


def _read_csv(file: Any, path: Path) -> SidMap:
    rows = csv.reader(file)
    next(rows)
    names, codes = [], []
    for row in rows:
        names.append(row[0])
        codes.append([int(token) for token in row[1:]])
    return _map(codes, list(_own_ids(names)), path)


def _read_jsonl(file: Any, path: Path) -> SidMap:
    lines = [json.loads(line) for line in file if line.strip()]
    return _map([line["codes"] for line in lines], [line["item_id"] for line in lines], path)


def _read_lc_rec(file: Any, path: Path) -> SidMap:
    items: dict[str, list[str]] = json.load(file)
    codes = [[int(token.rpartition("_")[2].rstrip(">")) for token in one] for one in items.values()]
    return _map(codes, list(_own_ids(list(items))), path)


def _read_offset(file: Any, path: Path) -> SidMap:
    record = json.load(file)
    tokens: npt.NDArray[np.int64] = np.array(list(record["items"].values()))
    codes = tokens - np.array(record["offsets"])
    return _map(codes, list(_own_ids(list(record["items"]))), path, record["code_sizes"])


def _read_reverse(file: Any, path: Path) -> SidMap:
    names, codes = [], []
    for line in file:
        record = json.loads(line)
        names += record["items"]
        codes += [record["codes"]] * len(record["items"])
    return _map(codes, names, path)


READERS: dict[str, Callable[[Any, Path], SidMap]] = {
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "lc-rec": _read_lc_rec,
    "offset": _read_offset,
    "reverse": _read_reverse,
}
