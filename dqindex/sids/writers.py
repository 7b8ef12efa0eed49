"""Writers of the formats that generative recommenders read: see `dqindex.sids.formats`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from dqindex.sids.map import SidMap
from dqindex.sids.tuples import TupleSet
from dqindex.sids.vocabulary import level_name, level_offsets
from dqindex.storage.files import HashingFile

# Items that are written at a time.
ROWS = 65536


class Settings(NamedTuple):
    """How a map is written, where a format leaves that open.

    Attributes
    ----------
    start : int
        The first token of the vocabulary.
    """

    start: int = 0


def _rows(sids: SidMap) -> Iterator[tuple[Any, list[int]]]:
    ids = sids.item_ids
    for start in range(0, len(sids), ROWS):
        names = ids.slice(start, ROWS).to_pylist()
        yield from zip(names, sids.codes[start : start + ROWS].tolist(), strict=True)


def _write_csv(sids: SidMap, file: HashingFile, settings: Settings) -> None:
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


def _write_jsonl(sids: SidMap, file: HashingFile, settings: Settings) -> None:
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


def _write_lc_rec(sids: SidMap, file: HashingFile, settings: Settings) -> None:
    names = [level_name(level) for level in range(len(sids.sizes))]
    _write_object(
        file,
        (
            (item, [f"<{name}_{code}>" for name, code in zip(names, codes, strict=True)])
            for item, codes in _rows(sids)
        ),
    )


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
    known = TupleSet(sids.codes, sids.sizes)
    order = np.argsort(known.numbers, kind="stable")
    if sids.priority is not None:
        order = np.lexsort((-sids.priority, known.numbers))
    ids = sids.item_ids
    start = 0
    for count in known.counts.tolist():
        rows = order[start : start + count]
        start += count
        line = {"codes": sids.codes[rows[0]].tolist(), "items": ids.take(rows).to_pylist()}
        file.write(f"{json.dumps(line, ensure_ascii=False)}\n".encode())


WRITERS: dict[str, Callable[[SidMap, HashingFile, Settings], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "lc-rec": _write_lc_rec,
    "offset": _write_offset,
    "reverse": _write_reverse,
}
