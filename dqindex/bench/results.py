"""A file of results: JSON lines, appended one by one.

An ``index`` line tells of an index: method, data, machine, build, bytes. The ``point`` lines after
it tell what it does at one setting of its search parameters; ``job`` joins them.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from dqindex.errors import BusyError, FileFormatError, StorageError
from dqindex.storage.files import storage_error

FORMAT = "dqindex-bench"
FORMAT_VERSION = 1

Record = dict[str, Any]


def read_results(paths: Iterable[str | Path]) -> list[Record]:
    """The points of one or several files, each with what is known of its index.

    A line that was cut off at the end is left out.

    Raises
    ------
    StorageError
        If a file is missing.
    FileFormatError
        If it holds anything else.
    """
    records: list[Record] = []
    for path in paths:
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise storage_error(path, "be read", error) from None
        lines, _ = _parse(content, path)
        indexes = {line["job"]: line for line in lines if line["kind"] == "index"}
        records += [{**indexes[line["job"]], **line} for line in lines if line["kind"] == "point"]
    return records


def _parse(content: bytes, path: str | Path) -> tuple[list[Record], int]:
    """The records, and the length of what is whole."""
    records, whole = [], 0
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not line.endswith(b"\n"):
            break
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise FileFormatError(
                f"{path}: line {number} is not a result of 'dqindex bench run'; give another file"
            )
        if record.get("format_version") != FORMAT_VERSION:
            raise FileFormatError(
                f"{path}: line {number} is of format {record.get('format_version')}, this dqindex "
                f"reads {FORMAT_VERSION}; upgrade dqindex"
            )
        records.append(record)
        whole += len(line)
    return records, whole


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
        file.seek(0)
        records, whole = _parse(file.read(), path)
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
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind}
        rest = memoryview(json.dumps({**head, **record}).encode() + b"\n")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise storage_error(self._path, "be written", error) from None
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
    if path.is_dir():
        raise StorageError(f"{path}: is a folder; name a file")
    made = not path.exists()
    try:
        # Unbuffered: what a full disk refuses must not be tried again on closing.
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise storage_error(path, "be written", error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(f"{path}: another run is writing to it; wait for it to end") from None
        try:
            yield ResultsFile(path, file)
        finally:
            if made and not os.fstat(file.fileno()).st_size:
                path.unlink(missing_ok=True)
