"""`Part`: a table that is read by groups of rows. A set of vectors is one or several of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dqindex.errors import FileFormatError
from dqindex.vectors.files import damage, require_regular

PARQUET = (".parquet", ".parq", ".pq")
ARROW = (".arrow", ".feather", ".ipc")


class Part(ABC):
    """A table, its rows in groups that can be read alone.

    Attributes
    ----------
    name : str
        What messages call it.
    schema : pyarrow.Schema
        With the columns that its path gives.
    constants : dict of str to value
        What those are: the same in every row.
    group_rows : list of int
    index : str or None
        The column that a frame names its rows by.
    """

    name: str
    schema: pa.Schema
    constants: dict[str, Any]
    group_rows: list[int]
    index: str | None = None

    def __init__(
        self,
        name: str,
        schema: pa.Schema,
        group_rows: list[int],
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.group_rows = group_rows
        # What a file says of itself is nearer the truth than the folder that it lies in.
        self.constants = {
            key: value for key, value in (constants or {}).items() if key not in schema.names
        }
        for key, value in self.constants.items():
            schema = schema.append(pa.field(key, pa.scalar(value).type))
        self.schema = schema

    @abstractmethod
    def _read(
        self, groups: Sequence[int], columns: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Batches of those groups in order, with `columns` of the table itself."""

    def batches(
        self, columns: list[str], rows: int, groups: Sequence[int] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Batches of at most `rows` rows, in order, with those columns in any order.

        Raises
        ------
        FileFormatError
            If the part can't be read, or holds another number of rows than it says.
        """
        groups = range(len(self.group_rows)) if groups is None else groups
        stored = [column for column in columns if column not in self.constants]
        seen = 0
        with damage(f"{self.name}: cannot be read to its end; damaged, write it again"):
            for batch in self._read(groups, stored, rows):
                for start in range(0, batch.num_rows, rows):
                    piece = batch.slice(start, rows)
                    seen += piece.num_rows
                    yield self._with_constants(piece, columns)
        claimed = sum(self.group_rows[group] for group in groups)
        if seen != claimed:
            raise FileFormatError(
                f"{self.name}: holds {seen} rows where it says {claimed}; damaged, write it again"
            )

    def _with_constants(self, batch: pa.RecordBatch, columns: list[str]) -> pa.RecordBatch:
        arrays, names = list(batch.columns), list(batch.schema.names)
        for column in columns:
            if column in self.constants:
                arrays.append(pa.repeat(pa.scalar(self.constants[column]), batch.num_rows))
                names.append(column)
        return pa.RecordBatch.from_arrays(arrays, names=names)

    def column(self, name: str) -> pa.ChunkedArray:
        """A whole column, its text checked to be text."""
        kind = self.schema.field(name).type
        chunks = [batch.column(0) for batch in self.batches([name], 2**20)]
        with damage(f"{self.name}: column {name!r} is damaged; write the file again"):
            for chunk in chunks:
                chunk.validate(full=True)
        return pa.chunked_array(chunks, kind if not chunks else chunks[0].type)


class ParquetPart(Part):
    """A Parquet file, by its row groups. Page checksums are verified where it has them."""

    def __init__(self, path: Path, constants: Mapping[str, Any] | None = None) -> None:
        self._path = path
        with damage(f"{path}: not a readable Parquet file"):
            require_regular(path)
            with self._open() as file:
                self._metadata = file.metadata
                schema = file.schema_arrow
                groups = [
                    self._metadata.row_group(group).num_rows
                    for group in range(self._metadata.num_row_groups)
                ]
            schema.names  # noqa: B018 (decodes them)
            if min(groups, default=0) < 0:
                raise ValueError("a row group has fewer than 0 rows")
        super().__init__(str(path), schema, groups, constants)

    def _open(self, metadata: Any = None) -> pq.ParquetFile:
        return pq.ParquetFile(
            self._path,
            metadata=metadata,
            memory_map=False,
            pre_buffer=False,
            page_checksum_verification=True,
        )

    def _read(
        self, groups: Sequence[int], columns: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        with self._open(self._metadata) as file:
            yield from file.iter_batches(
                batch_size=rows, row_groups=list(groups), columns=columns, use_threads=False
            )


class IpcPart(Part):
    """An Arrow file, which is Feather version 2, or an Arrow stream; by its record batches."""

    def __init__(self, path: Path, constants: Mapping[str, Any] | None = None) -> None:
        self._path = path
        with damage(f"{path}: not a readable Arrow file"):
            require_regular(path)
            with path.open("rb") as file:
                self._stream = file.read(6) != b"ARROW1"
            with self._open() as reader:
                schema = reader.schema
            # Rows are counted by a column that is small, since a batch's bytes are decompressed.
            small = [place for place, field in enumerate(schema) if field.type.num_fields == 0]
            with self._open(small[:1]) as reader:
                groups = [batch.num_rows for batch in self._all(reader)]
        super().__init__(str(path), schema, groups, constants)

    @contextmanager
    def _open(self, fields: Sequence[int] = ()) -> Iterator[Any]:
        options = pa.ipc.IpcReadOptions(included_fields=list(fields), use_threads=False)
        opener = pa.ipc.open_stream if self._stream else pa.ipc.open_file
        with pa.memory_map(str(self._path)) as file, opener(file, options=options) as reader:
            yield reader

    def _all(self, reader: Any) -> Iterator[pa.RecordBatch]:
        if self._stream:
            yield from reader
        else:
            yield from map(reader.get_batch, range(reader.num_record_batches))

    def _read(
        self, groups: Sequence[int], columns: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        fields = [self.schema.get_field_index(column) for column in columns]
        with self._open(fields) as reader:
            if self._stream:
                wanted = set(groups)
                batches = (batch for place, batch in enumerate(reader) if place in wanted)
            else:
                batches = (reader.get_batch(group) for group in groups)
            for batch in batches:
                yield _valid(batch, columns)


def _valid(batch: pa.RecordBatch, columns: list[str]) -> pa.RecordBatch:
    """Offsets in a damaged file may point anywhere: they are looked at before they are used."""
    chosen = batch.select(columns)
    chosen.validate(full=True)
    return chosen


def open_part(path: Path, constants: Mapping[str, Any] | None = None) -> Part:
    """The Parquet or Arrow file at `path`, by its suffix; Parquet where that says nothing."""
    kind = IpcPart if path.suffix.lower() in ARROW else ParquetPart
    return kind(path, constants)
