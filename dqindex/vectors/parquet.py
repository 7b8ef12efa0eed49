"""Parquet: a file or a folder of them, streamed by row groups, without Python objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dqindex._types import Float32
from dqindex.errors import FileFormatError, InputError
from dqindex.vectors.source import VectorSource

ID_NAMES = ("item_id", "id")


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    )


def _vector_column(schema: pa.Schema, name: str, column: str | None) -> pa.Field:
    if column is not None:
        if column not in schema.names:
            raise InputError(f"{name}: no column {column!r}; it has {', '.join(schema.names)}")
        field = schema.field(column)
        if not _is_list(field.type):
            raise InputError(f"{name}: column {column!r} is {field.type}, not a list of numbers")
        return field
    lists = [field for field in schema if _is_list(field.type)]
    if len(lists) != 1:
        found = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise InputError(f"{name}: name the vector column (--vector-column); it has {found}")
    return lists[0]


def _id_column(schema: pa.Schema, name: str, column: str | None) -> str | None:
    if column is None:
        return next((known for known in ID_NAMES if known in schema.names), None)
    if column not in schema.names:
        raise InputError(f"{name}: no id column {column!r}; it has {', '.join(schema.names)}")
    return column


class ParquetVectors(VectorSource):
    """A FixedSizeList or List column. Ids: `id_column`, else a column ``item_id`` or ``id``."""

    def __init__(self, path: Path, vector_column: str | None, id_column: str | None) -> None:
        self._files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not self._files:
            raise FileFormatError(f"{path}: a folder without .parquet files")
        opened = [self._open(file) for file in self._files]
        schema = opened[0].schema_arrow
        field = _vector_column(schema, str(path), vector_column)
        self._column, self._id_column = field.name, _id_column(schema, str(path), id_column)
        for file, parquet in zip(self._files, opened, strict=True):
            names = parquet.schema_arrow.names
            for column in (self._column, self._id_column):
                if column is not None and column not in names:
                    raise InputError(f"{file}: no column {column!r}; it has {', '.join(names)}")
        self._groups = [
            (file, group, parquet.metadata.row_group(group).num_rows)
            for file, parquet in zip(self._files, opened, strict=True)
            for group in range(parquet.num_row_groups)
        ]
        self._starts = np.cumsum([0] + [rows for _, _, rows in self._groups])
        n = int(self._starts[-1])
        d, element = self._width(opened, field.type, str(path)), field.type.value_type
        for parquet in opened:
            parquet.close()
        try:
            dtype = np.dtype(element.to_pandas_dtype())
        except (NotImplementedError, TypeError):
            dtype = np.dtype(object)
        super().__init__(str(path), (n, d), dtype)

    def _open(self, file: Path) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(file, memory_map=False, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise FileFormatError(f"{file}: not a readable Parquet file ({error})") from None

    def _width(self, opened: list[pq.ParquetFile], kind: pa.DataType, name: str) -> int:
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        for parquet in opened:
            for batch in parquet.iter_batches(batch_size=1, columns=[self._column]):
                first = batch.column(0)
                if first.null_count:
                    raise InputError(f"{name}: row 0 of column {self._column!r} is null")
                return len(first[0])
        return 0

    def _rows(self, column: pa.Array, start: int) -> npt.NDArray[Any]:
        if column.null_count:
            row = start + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise InputError(f"{self.name}: the vector of row {row} is null; fill or remove it")
        if not pa.types.is_fixed_size_list(column.type):
            widths = column.value_lengths().to_numpy()
            other = np.flatnonzero(widths != self.d)
            if other.size:
                row = int(other[0])
                raise InputError(
                    f"{self.name}: the vector of row {start + row} has {widths[row]} values where "
                    f"the first has {self.d}; all must have one width"
                )
        values = column.flatten()
        if values.null_count:
            row = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0]) // self.d
            raise InputError(f"{self.name}: the vector of row {start + row} holds a null")
        return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(-1, self.d)

    def _batches(self, file: Path, groups: list[int], rows: int) -> Iterator[pa.Array]:
        parquet = self._open(file)
        try:
            for batch in parquet.iter_batches(
                batch_size=rows, row_groups=groups, columns=[self._column], use_threads=False
            ):
                yield batch.column(0)
        except (pa.ArrowException, OSError) as error:
            raise FileFormatError(
                f"{file}: cannot be read to its end ({error}); truncated or damaged, write it again"
            ) from None
        finally:
            parquet.close()

    def _windows(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        start = 0
        for file in self._files:
            groups = [group for name, group, _ in self._groups if name == file]
            for column in self._batches(file, groups, rows):
                yield self._rows(column, start)
                start += len(column)

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        out = np.empty((stop - start, self.d), dtype=np.float32)
        self._gather(np.arange(start, stop), np.arange(stop - start), out)
        return out

    def _gather(
        self, wanted: npt.NDArray[np.int64], places: npt.NDArray[np.int64], out: Float32
    ) -> None:
        for index in np.unique(np.searchsorted(self._starts, wanted, side="right") - 1):
            file, group, _ = self._groups[index]
            start = int(self._starts[index])
            for column in self._batches(file, [group], self.default_block_rows()):
                begin, end = np.searchsorted(wanted, (start, start + len(column)))
                if end > begin:
                    rows = self._rows(column, start)
                    with np.errstate(over="ignore"):
                        out[places[begin:end]] = rows[wanted[begin:end] - start]
                start += len(column)

    def _stored_ids(self) -> Any:
        if self._id_column is None:
            return None
        parts = [pq.read_table(file, columns=[self._id_column]).column(0) for file in self._files]
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks], parts[0].type)
