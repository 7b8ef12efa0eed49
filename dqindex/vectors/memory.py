"""Tables in memory, or behind a library that reads them: Arrow, pandas, polars, datasets, Lance.

Nothing of the set is copied beyond the block that is being read: what a library holds is asked for
slice by slice. What can be read only once (a reader, a query's stream) is `spooled`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from dqindex.errors import InputError, warn
from dqindex.vectors.layout import is_list
from dqindex.vectors.parts import Part

T = TypeVar("T")

GROUP_ROWS = 2**16
# The one column of an array that is no table.
COLUMN = "vectors"


class TablePart(Part):
    """An Arrow table that someone holds."""

    def __init__(self, table: pa.Table, name: str) -> None:
        self._table = table
        super().__init__(name, table.schema, _groups(table.num_rows))

    def _read(
        self, groups: Sequence[int], columns: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        table = self._table.select(columns)
        for start, stop in _ranges(groups, self._table.num_rows):
            yield from table.slice(start, stop - start).to_batches(max_chunksize=rows)


class PandasPart(Part):
    """A pandas frame; a slice of it becomes Arrow at a time. A named index is a column."""

    def __init__(self, frame: Any, name: str) -> None:
        self._frame = frame
        labels = [str(label) for label in frame.columns]
        self._places: dict[str, int | None] = {label: place for place, label in enumerate(labels)}
        if len(self._places) != len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise InputError(f"{name}: {labels.count(twice)} columns are called {twice!r}")
        index = frame.index
        if index.name is not None and str(index.name) not in self._places:
            self.index = str(index.name)
            self._places[self.index] = None
        elif index.name is None and type(index).__name__ != "RangeIndex":
            warn(
                f"{name}: its index has no name and is not used; if it holds the ids, give it one: "
                "frame.index.name = 'item_id'"
            )
        head = self._slice(0, min(len(frame), 1000), list(self._places), None)
        super().__init__(name, head.schema, _groups(len(frame)))

    def _slice(
        self, start: int, stop: int, columns: list[str], schema: pa.Schema | None
    ) -> pa.RecordBatch:
        arrays = []
        for column in columns:
            place = self._places[column]
            index = self._frame.index[start:stop]
            values = index if place is None else self._frame.iloc[start:stop, place]
            # A fraction that is not a number is not a missing one.
            missing = getattr(values.dtype, "kind", "O") != "f"
            kind = None if schema is None else schema.field(column).type
            try:
                array = pa.array(values, kind, from_pandas=missing)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise InputError(
                    f"column {column!r}, rows {start} to {stop}: can't be converted to Arrow "
                    f"({error})"
                ) from None
            if isinstance(array, pa.ChunkedArray):
                array = array.combine_chunks()
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, names=columns)

    def _read(
        self, groups: Sequence[int], columns: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        for start, stop in _ranges(groups, len(self._frame)):
            for first in range(start, stop, rows):
                yield self._slice(first, min(first + rows, stop), columns, self.schema)


class DatasetPart(Part):
    """A data set of Hugging Face, whose rows may be chosen or shuffled; a slice at a time."""

    def __init__(self, dataset: Any, name: str) -> None:
        self._dataset = dataset.with_format("arrow")
        super().__init__(name, self._dataset[:1].schema, _groups(len(dataset)))

    def _read(
        self, groups: Sequence[int], columns: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        chosen = self._dataset.select_columns(columns)
        for start, stop in _ranges(groups, len(self._dataset)):
            for first in range(start, stop, rows):
                yield from chosen[first : min(first + rows, stop)].to_batches()


class FragmentPart(Part):
    """A fragment of a `pyarrow.dataset.Dataset`, such as a file of it, or of a Lance data set."""

    def __init__(self, fragment: Any, schema: pa.Schema, name: str) -> None:
        self._fragment, self._schema = fragment, schema
        super().__init__(name, schema, [fragment.count_rows()])

    def _read(
        self, groups: Sequence[int], columns: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        if not groups:
            return
        options = {} if _is_lance(self._fragment) else {"schema": self._schema}
        yield from self._fragment.to_batches(columns=columns, batch_size=rows, **options)


def is_table(source: Any) -> bool:
    """Whether it has rows of Arrow, which numpy would make objects of, ids among them."""
    kinds = (pa.Table, pa.RecordBatch, pa.RecordBatchReader, pa.Array, pa.ChunkedArray)
    return isinstance(source, kinds) or hasattr(source, "__arrow_c_stream__")


def table_parts(source: Any) -> list[Part] | None:
    """The parts of anything that is a table and can be read again, or None for others."""
    if _is_a(source, "pyarrow.dataset", "Dataset"):
        return _fragments(source)
    part = _arrow_part(source) or _frame_part(source)
    return None if part is None else [part]


def _arrow_part(source: Any) -> Part | None:
    if isinstance(source, pa.StructArray):
        source = pa.RecordBatch.from_struct_array(source)
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    if isinstance(source, pa.Table):
        return TablePart(source, "table")
    if isinstance(source, pa.Array | pa.ChunkedArray):
        return _column_part(source, "array")
    return None


def _frame_part(source: Any) -> Part | None:
    if _is_a(source, "pandas", "DataFrame"):
        return PandasPart(source, "frame")
    if _is_a(source, "pandas", "Series"):
        return PandasPart(source.to_frame(COLUMN), "series")
    # Those of polars share their memory.
    if _is_a(source, "polars", "DataFrame"):
        return TablePart(_as_arrow(pa.table, source, "frame"), "frame")
    if _is_a(source, "polars", "Series"):
        return _column_part(_as_arrow(pa.chunked_array, source, "series"), "series")
    if _is_a(source, "datasets", "Dataset"):
        return DatasetPart(source, "dataset")
    return None


def _fragments(dataset: Any) -> list[Part] | None:
    try:
        fragments = list(dataset.get_fragments())
    except ValueError:
        # Filtered or projected: what it gives can only be scanned.
        return None
    parts: list[Part] = [
        FragmentPart(fragment, dataset.schema, f"dataset[{place}]")
        for place, fragment in enumerate(fragments)
    ]
    return parts or [TablePart(dataset.schema.empty_table(), "dataset")]


def _column_part(column: Any, name: str) -> Part:
    if not is_list(column.type):
        raise InputError(f"{name}: holds {column.type}, not vectors; give lists of numbers")
    return TablePart(pa.table({COLUMN: column}), name)


def stream_of(source: Any) -> Iterator[Any] | None:
    """The batches of what gives them once, or None for what gives none."""
    if isinstance(source, pa.RecordBatchReader):
        return _told(source)
    if _is_a(source, "pyarrow.dataset", "Dataset"):
        return _told(source.scanner().to_reader())
    if _is_a(source, "datasets", "IterableDataset"):
        return _told(source.with_format("arrow").iter(batch_size=GROUP_ROWS))
    if _is_a(source, "polars", "LazyFrame"):
        raise InputError("LazyFrame: is a query, not a table; call its collect()")
    if hasattr(source, "__arrow_c_stream__"):
        try:
            return _told(pa.RecordBatchReader.from_stream(source))
        except pa.ArrowInvalid:
            # A column and no table.
            return _told(iter([_as_arrow(pa.chunked_array, source, type(source).__name__)]))
    return None


def _as_arrow(make: Callable[[Any], T], source: Any, name: str) -> T:
    """What `make` makes of a frame or a column, whose types Arrow may lack.

    Raises
    ------
    InputError
    """
    try:
        return make(source)
    except (pa.ArrowException, TypeError, ValueError) as error:
        words = " ".join(str(error).split())[:300]
        raise InputError(
            f"{name}: holds a type that Arrow does not have ({words}); store ids as int64, "
            f"uint64 or text, "
            "and vectors as lists of floats"
        ) from None


def _told(batches: Iterator[Any]) -> Iterator[Any]:
    """The batches, an error of what makes them said as ours."""
    try:
        yield from batches
    except (pa.ArrowException, OSError, RuntimeError, TypeError, ValueError) as error:
        words = " ".join(str(error).split())[:300]
        raise InputError(f"stream: ended with an error ({words})") from None


def _is_a(source: Any, module: str, kind: str) -> bool:
    """An instance of a class of a library that need not be installed."""
    found = getattr(sys.modules.get(module), kind, None)
    return found is not None and isinstance(source, found)


def _is_lance(fragment: Any) -> bool:
    return type(fragment).__module__.partition(".")[0] == "lance"


def _groups(rows: int) -> list[int]:
    return [min(GROUP_ROWS, rows - start) for start in range(0, rows, GROUP_ROWS)]


def _ranges(groups: Sequence[int], rows: int) -> Iterator[tuple[int, int]]:
    """First and last row of each group."""
    for group in groups:
        yield group * GROUP_ROWS, min((group + 1) * GROUP_ROWS, rows)
