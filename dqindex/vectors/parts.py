"""`Part`: a table that is read by groups of rows. A set of vectors is one or several of them."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dqindex.errors import FileFormatError
from dqindex.places.ahead import ahead
from dqindex.places.content import RemoteContent, fetched, partial_copy
from dqindex.places.place import Place, RemotePath
from dqindex.vectors.files import damage, require_regular

PARQUET = (".parquet", ".parq", ".pq")
ARROW = (".arrow", ".feather", ".ipc")
# What is fetched first of a Parquet file; few have a longer footer.
FOOTER = 2**16
# What is read ahead of the columns of a file, together, and of each at least.
BUFFERS, LEAST_BUFFER = 2**20, 2**14


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
    decodes : bool
        Whether batches are made as they are read, and are not windows of what is in memory.
    """

    name: str
    schema: pa.Schema
    constants: dict[str, Any]
    group_rows: list[int]
    index: str | None = None
    decodes = False

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

    decodes = True

    def __init__(self, path: Path, constants: Mapping[str, Any] | None = None) -> None:
        self._path = path
        with damage(f"{path}: not a readable Parquet file"):
            require_regular(path)
            self._metadata, schema, groups = _footer(path)
        super().__init__(str(path), schema, groups, constants)

    def _read(
        self, groups: Sequence[int], columns: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        with _open_parquet(self._path, self._metadata, len(columns)) as file:
            yield from _batches_of(file, groups, columns, rows)


class RemoteParquetPart(Part):
    """One behind a network: of each row group the wanted columns are fetched, one group ahead."""

    decodes = True

    def __init__(self, path: RemotePath, constants: Mapping[str, Any] | None = None) -> None:
        with damage(f"{path}: not a readable Parquet file"):
            self._content = RemoteContent(path)
            tail = self._tail(FOOTER)
            length = int.from_bytes(tail[-8:-4], "little") + 8
            if length > len(tail):
                tail = self._tail(length)
            # All that is read of a file now is counted from its end.
            self._metadata, schema, groups = _footer(BytesIO(tail))
        super().__init__(str(path), schema, groups, constants)

    def _read(
        self, groups: Sequence[int], columns: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        tasks = (partial(self._copy, group, columns) for group in groups)
        for group, copy in zip(groups, ahead(tasks), strict=True):
            with copy, _open_parquet(copy, self._metadata, len(columns)) as file:
                yield from _batches_of(file, [group], columns, rows)

    def _tail(self, length: int) -> bytes:
        start = max(0, self._content.size - length)
        return self._content.read(start, length)

    def _copy(self, group: int, columns: list[str]) -> IO[bytes]:
        """A file with the columns of a row group at their places, and nothing elsewhere."""
        described = self._metadata.row_group(group)
        ranges = []
        for place in range(described.num_columns):
            chunk = described.column(place)
            if chunk.path_in_schema.split(".")[0] in columns:
                start = chunk.data_page_offset
                if chunk.has_dictionary_page:
                    start = min(start, chunk.dictionary_page_offset)
                # Old writers leave the header of the dictionary out of the length.
                ranges.append((start, start + chunk.total_compressed_size + 128))
        return partial_copy(self._content, ranges)


def _open_parquet(file: Any, metadata: Any = None, columns: int = 1) -> pq.ParquetFile:
    return pq.ParquetFile(
        file,
        metadata=metadata,
        memory_map=False,
        # Else a column of a row group is read whole, however long it is.
        buffer_size=max(LEAST_BUFFER, BUFFERS // max(1, columns)),
        pre_buffer=False,
        page_checksum_verification=True,
    )


def _footer(source: Any) -> tuple[Any, pa.Schema, list[int]]:
    """Metadata, schema, and the rows of each group."""
    with _open_parquet(source) as file:
        metadata, schema = file.metadata, file.schema_arrow
        groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    schema.names  # noqa: B018 (decodes them)
    if min(groups, default=0) < 0:
        raise ValueError("a row group has fewer than 0 rows")
    return metadata, schema, groups


def _batches_of(
    file: pq.ParquetFile, groups: Sequence[int], columns: list[str], rows: int
) -> Iterator[pa.RecordBatch]:
    yield from file.iter_batches(
        batch_size=rows, row_groups=list(groups), columns=columns, use_threads=False
    )


class IpcPart(Part):
    """An Arrow file, which is Feather version 2, or an Arrow stream; by its record batches.

    Of one behind a network, a copy lies in a temporary file.
    """

    def __init__(self, path: Place, constants: Mapping[str, Any] | None = None) -> None:
        with damage(f"{path}: not a readable Arrow file"):
            require_regular(path)
            self._path: Path | None = path if isinstance(path, Path) else None
            if isinstance(path, RemotePath):
                with fetched(RemoteContent(path)) as copy:
                    self._copy = pa.py_buffer(mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ))
            with self._file() as file:
                self._stream = file.read(6) != b"ARROW1"
            with self._open() as reader:
                schema = reader.schema
            # Rows are counted by a column that is small, since a batch's bytes are decompressed.
            small = [place for place, field in enumerate(schema) if field.type.num_fields == 0]
            with self._open(small[:1]) as reader:
                groups = [batch.num_rows for batch in self._all(reader)]
        super().__init__(str(path), schema, groups, constants)

    def _file(self) -> Any:
        if self._path is not None:
            return pa.memory_map(str(self._path))
        return pa.BufferReader(self._copy)

    @contextmanager
    def _open(self, fields: Sequence[int] = ()) -> Iterator[Any]:
        options = pa.ipc.IpcReadOptions(included_fields=list(fields), use_threads=False)
        opener = pa.ipc.open_stream if self._stream else pa.ipc.open_file
        with self._file() as file, opener(file, options=options) as reader:
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


def open_part(path: Place, constants: Mapping[str, Any] | None = None) -> Part:
    """The Parquet or Arrow file at `path`, by its suffix; Parquet where that says nothing."""
    if path.suffix.lower() in ARROW:
        return IpcPart(path, constants)
    if isinstance(path, RemotePath):
        return RemoteParquetPart(path, constants)
    return ParquetPart(path, constants)
