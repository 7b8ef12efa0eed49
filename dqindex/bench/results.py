"""A file of results: JSON lines, appended one by one.

An ``index`` line tells of an index: method, data, machine, build, bytes. The ``point`` lines after
it tell what it does at one setting of its search parameters; ``job`` joins them.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from dqindex._parameters import integer, number_at_least, one_of, size, text
from dqindex.errors import FileFormatError, StorageError
from dqindex.storage.files import refusals, storage_error
from dqindex.storage.lock import exclusive
from dqindex.storage.reading import read_regular
from dqindex.storage.records import Each, Format, Maybe, Named, Record, Shape, check_fields

REMEDY = "remove the line, and measure again"
# Version 1 had no checksum of a line.
FORMAT_VERSION = 2
FORMAT = Format(
    name="dqindex-bench",
    version=FORMAT_VERSION,
    what="a result of 'dqindex bench run'; give another file",
    short="results",
    remedy=REMEDY,
    schema={"kind": one_of("index", "point"), "job": text()},
)
# What every line begins with; also one that was cut off, as far as it goes.
HEAD = f'{{"format": "{FORMAT.name}", "format_version": '.encode()
_SHARES: Shape = Named(number_at_least(0))
KINDS: dict[str, Shape] = {"index": {"points": integer(0)}, "point": {"key": text()}}
# What the reports read. A line with a checksum is what was written; others are held against this.
REPORTED: dict[str, Shape] = {
    "index": {
        "method": text(),
        "library": text(),
        "versions": Named(text()),
        "build": Named(number_at_least(0)),
        "bytes": {"per_vector": number_at_least(0)},
        "memory": {"before": Maybe(size(0)), "build_peak": Maybe(size(0))},
        "subspaces": Maybe(
            {
                "before": Each(number_at_least(0)),
                "after": Each(number_at_least(0)),
                "codebooks": Maybe(
                    Each(
                        {
                            "size": integer(1),
                            "used": integer(0),
                            "perplexity": number_at_least(0),
                        }
                    )
                ),
            }
        ),
        "data": {
            "name": text(),
            "key": text(),
            "n": size(1),
            "d": integer(1),
            "metric": text(),
            "queries": integer(1),
        },
        "machine": {"cores": integer(1), "cpu": text()},
        "command": text(),
    },
    "point": {
        "parameters": Named(number_at_least(0)),
        "threads": integer(1),
        "k": integer(1),
        "recall": {"id": _SHARES, "distance": _SHARES},
        "batch": {name: number_at_least(0) for name in ("qps", "qps_low", "qps_high")},
        "single": {name: number_at_least(0) for name in ("p50_ms", "p95_ms", "p99_ms")},
    },
}


def read_results(paths: Iterable[str | Path]) -> list[Record]:
    """The points of one or several files, each with what is known of its index.

    A line that was cut off at the end is left out, and one that is there twice counts once.

    Raises
    ------
    StorageError
        If a file is missing.
    FileFormatError
        If it holds anything else.
    """
    records: list[Record] = []
    known: set[str] = set()
    for path in paths:
        try:
            content = read_regular(path)
        except OSError as error:
            raise storage_error(path, "be read", error) from None
        lines, _ = _parse(content, path)
        indexes = {line["job"]: line for line in lines if line["kind"] == "index"}
        for number, line in enumerate(lines, start=1):
            if line["kind"] == "point":
                if line["job"] not in indexes:
                    raise FileFormatError(
                        f"{path}: line {number} is a point of job {line['job']}, for whose index "
                        f"there is no line; {REMEDY}"
                    )
                written = json.dumps(line, sort_keys=True)
                if written not in known:
                    known.add(written)
                    records.append({**indexes[line["job"]], **line})
    return records


def _parse(content: bytes, path: str | Path) -> tuple[list[Record], int]:
    """The records, and the length of what is whole.

    Raises
    ------
    FileFormatError, IntegrityError
        If a line is damaged, or no result; but the last may be cut off.
    """
    *lines, rest = content.split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        source = f"{path}: line {number}"
        if not line.startswith(HEAD):
            raise FileFormatError(f"{source} is not {FORMAT.what}")
        record = FORMAT.parse(line, source)
        check_fields(record, KINDS[record["kind"]], source, REMEDY)
        if record["format_version"] < FORMAT.sealed:
            check_fields(record, REPORTED[record["kind"]], source, REMEDY)
            if record["kind"] == "point":
                _check_recall(record, source)
        records.append(record)
    if rest and not _cut_off(rest):
        raise FileFormatError(f"{path}: line {len(lines) + 1} is not {FORMAT.what}")
    return records, len(content) - len(rest)


def _check_recall(record: Record, source: str) -> None:
    """Of each point the reports show these."""
    k = record["k"]
    for kind, measure in (("distance", f"{k}@{k}"), ("distance", f"1@{k}"), ("distance", "1@1")):
        if measure not in record["recall"][kind]:
            raise FileFormatError(f"{source}: recall.{kind}.{measure} is missing; {REMEDY}")
    if f"{k}@{k}" not in record["recall"]["id"]:
        raise FileFormatError(f"{source}: recall.id.{k}@{k} is missing; {REMEDY}")


def _cut_off(rest: bytes) -> bool:
    """Whether what stands after the last line's end is the beginning of a line, and no more."""
    if not rest.startswith(HEAD[: len(rest)]):
        return False
    try:
        text = rest.decode()
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return True
    # A whole line with anything behind it has lost its end in another way.
    return end == len(text)


class ResultsFile:
    """Results that are being added to.

    Attributes
    ----------
    done : set of str
        Keys of the points that are there.
    indexes : set of str
        Jobs (a method with all its settings) whose index is told of.
    complete : set of str
        Jobs of which every point is there.
    """

    def __init__(self, path: Path, file: FileIO) -> None:
        self._path, self._file = path, file
        with refusals(path, "be read"):
            file.seek(0)
            content = file.readall()
        records, whole = _parse(content, path)
        with refusals(path, "be written"):
            # What a kill cut off.
            file.truncate(whole)
            file.seek(whole)
        there = Counter(line["job"] for line in records if line["kind"] == "point")
        self.done = {str(line["key"]) for line in records if line["kind"] == "point"}
        self.indexes = {str(line["job"]) for line in records if line["kind"] == "index"}
        self.complete = {
            line["job"]
            for line in records
            if line["kind"] == "index" and there[line["job"]] >= line["points"]
        }

    def append(self, kind: str, record: Record) -> None:
        """Write a line, so that it survives whatever happens next.

        Raises
        ------
        StorageError
            If the disk is full; what was there stays readable.
        """
        line = FORMAT.write({"kind": kind, **record})
        rest = memoryview(json.dumps(line).encode() + b"\n")
        with refusals(self._path, "be written"):
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        if kind == "index":
            self.indexes.add(str(record["job"]))
        else:
            self.done.add(str(record["key"]))


@contextmanager
def open_results(path: str | Path) -> Iterator[ResultsFile]:
    """Open results to add to; the file is made if need be.

    Raises
    ------
    BusyError
        If another run is writing to it.
    StorageError, FileFormatError
        If it can't be written, or holds something else.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise StorageError(f"{path}: is a folder, a device or a pipe; name a file")
    made = not path.exists()
    with refusals(path, "be written"):
        # Unbuffered: what a full disk refuses must not be tried again on closing.
        file = path.open("a+b", buffering=0)
    with file, exclusive(path, who="another run"):
        try:
            yield ResultsFile(path, file)
        finally:
            with suppress(OSError):
                if made and not os.fstat(file.fileno()).st_size:
                    path.unlink(missing_ok=True)
