"""Writers of the formats that generative recommenders read: see `dqindex.sids.formats`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dqindex.errors import InputError
from dqindex.sids import openonerec, trie
from dqindex.sids.map import SidMap
from dqindex.sids.tuples import TupleRows
from dqindex.sids.vocabulary import LC_REC, Spelling, level_offsets
from dqindex.storage.files import HashingFile
from dqindex.storage.tables import table_writer

# Items that are written at a time.
ROWS = 65536


class Settings(NamedTuple):
    """How a map is written, where a format leaves that open.

    Attributes
    ----------
    start : int
        The first token of the vocabulary.
    token, begin, end : str
        See `Spelling`.
    merged : bool
        One string an item, and no list.
    id_column, codes_column : str or None
        Names of columns, or JSON fields; by default those of the format.
    """

    start: int = 0
    token: str = LC_REC
    begin: str = ""
    end: str = ""
    merged: bool = False
    id_column: str | None = None
    codes_column: str | None = None

    @property
    def spelling(self) -> Spelling:
        """How tokens are written as text."""
        return Spelling(self.token, self.begin, self.end)

    def columns(self, ids: str, codes: str) -> tuple[str, str]:
        """Names of the columns, where the format calls them `ids` and `codes`.

        Raises
        ------
        InputError
            If both are to have one name.
        """
        found = self.id_column or ids, self.codes_column or codes
        if found[0] == found[1]:
            raise InputError(f"the columns of ids and codes are both {found[0]!r}; give two names")
        return found


def _rows(sids: SidMap) -> Iterator[tuple[Any, list[int]]]:
    ids = sids.item_ids
    for start in range(0, len(sids), ROWS):
        names = ids.slice(start, ROWS).to_pylist()
        yield from zip(names, sids.codes[start : start + ROWS].tolist(), strict=True)


def _write_csv(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    ids, column = settings.columns("item_id", "")
    columns = [column] if column else [f"token_{level}" for level in range(len(sids.sizes))]
    if ids in columns:
        raise InputError(f"the column of ids is {ids!r}, as one of the tokens is; give another")
    writer.writerow([ids, *columns])
    for name, codes in _rows(sids):
        writer.writerow([name, ",".join(map(str, codes))] if column else [name, *codes])
        if buffer.tell() > 2**20:
            file.write(buffer.getvalue().encode())
            buffer.seek(0)
            buffer.truncate()
    file.write(buffer.getvalue().encode())


def _write_jsonl(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    ids, column = settings.columns("item_id", "codes")
    for name, codes in _rows(sids):
        line = json.dumps({ids: name, column: codes}, ensure_ascii=False)
        file.write(f"{line}\n".encode())


def _write_object(file: HashingFile, rows: Iterator[tuple[Any, Any]]) -> None:
    """One JSON object, an entry at a time."""
    file.write(b"{")
    for place, (name, value) in enumerate(rows):
        entry = f"{json.dumps(str(name), ensure_ascii=False)}: {json.dumps(value)}"
        file.write(f"{', ' if place else ''}{entry}".encode())
    file.write(b"}")


def _write_lc_rec(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    spelling = settings.spelling.to_write(merged=settings.merged)
    around = [spelling.around(level) for level in range(len(sids.sizes))]
    begin, end = ([mark] if mark else [] for mark in (spelling.begin, spelling.end))

    def spelled(codes: list[int]) -> list[str] | str:
        tokens = (
            f"{before}{code}{behind}" for (before, behind), code in zip(around, codes, strict=True)
        )
        found = [*begin, *tokens, *end]
        return "".join(found) if settings.merged else found

    _write_object(file, ((item, spelled(codes)) for item, codes in _rows(sids)))


def _write_offset(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    offsets = level_offsets(sids.sizes, settings.start)
    head = {
        "vocabulary_size": settings.start + int(sum(sids.sizes)),
        "offsets": offsets.tolist(),
        "code_sizes": sids.sizes,
    }
    file.write(f'{json.dumps(head)[:-1]}, "items": '.encode())
    _write_object(
        file, ((item, (np.array(codes) + offsets).tolist()) for item, codes in _rows(sids))
    )
    file.write(b"}")


def _write_reverse(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    items, column = settings.columns("items", "codes")
    known = TupleRows(sids.codes, sids.sizes, sids.priority)
    ids = sids.item_ids
    for start, end in pairwise(known.starts.tolist()):
        rows = known.order[start:end]
        line = {column: sids.codes[rows[0]].tolist(), items: ids.take(rows).to_pylist()}
        file.write(f"{json.dumps(line, ensure_ascii=False)}\n".encode())


def _write_table(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    _table(sids, file, settings.columns("item_id", "codes"))


def _table(sids: SidMap, file: HashingFile, columns: tuple[str, str]) -> None:
    """Parquet of two columns and nothing of ours, a group of rows at a time."""
    ids = sids.item_ids
    schema = pa.schema([(columns[0], ids.type), (columns[1], pa.list_(pa.int32()))])
    levels = len(sids.sizes)
    with table_writer(file, schema, compression="zstd") as writer:
        for start in range(0, len(sids), ROWS):
            codes = np.ascontiguousarray(sids.codes[start : start + ROWS], dtype=np.int32)
            ends = np.arange(0, codes.size + 1, levels, dtype=np.int32)
            lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(codes.ravel()))
            writer.write_table(pa.table([ids.slice(start, ROWS), lists], schema=schema))


def _write_openonerec(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    _table(sids, file, settings.columns("pid", "sid"))


def _write_openonerec_reverse(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    openonerec.write_reverse(sids, file, settings.columns("pid", "")[0])


def _write_trie(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    trie.write_arrays(sids, file, settings.start)


def _write_trie_json(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    trie.write_json(sids, file, settings.start)


def _write_vocabulary(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    for token in settings.spelling.to_write().vocabulary(sids.sizes):
        file.write(f"{token}\n".encode())


def _write_vocabulary_json(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    tokens = list(settings.spelling.to_write().vocabulary(sids.sizes))
    file.write(json.dumps(tokens, ensure_ascii=False).encode())


# By format, and for those of several kinds of files by the end of the name as well.
WRITERS: dict[str, Callable[[SidMap, HashingFile, Settings], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "lc-rec": _write_lc_rec,
    "offset": _write_offset,
    "reverse": _write_reverse,
    "table": _write_table,
    "openonerec": _write_openonerec,
    "openonerec-reverse": _write_openonerec_reverse,
    "trie.npz": _write_trie,
    "trie.json": _write_trie_json,
    "vocabulary.txt": _write_vocabulary,
    "vocabulary.json": _write_vocabulary_json,
}
