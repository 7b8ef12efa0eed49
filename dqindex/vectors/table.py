"""`TableVectors`: vectors in the rows of one or several tables, on disk or in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex._types import Float32, Float64
from dqindex.errors import InputError, warn
from dqindex.vectors.ids import unify
from dqindex.vectors.layout import ID_NAMES, Layout, choose, find_field, is_list, matrix
from dqindex.vectors.numbers import as_numbers
from dqindex.vectors.parts import Part
from dqindex.vectors.source import VectorSource

# What is decoded of a file at a time, as float64.
PIECE_BYTES = 8 * 2**20


class TableVectors(VectorSource):
    """The rows of all parts, in order.

    `lenient`: rows that are null, of another width, or hold a null are NaN, and not refused.
    `width` is what lists have whose type does not say it; by default that of the first.

    A list column, or in a wide table one column a dimension. Ids: `id_column`, else a column
    ``item_id`` or ``id``. Every part must have the columns of the first, of the same width; the
    types of numbers, and of integer ids, may differ.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[Part],
        vector_column: str | None = None,
        id_column: str | None = None,
        *,
        lenient: bool = False,
        width: int | None = None,
    ) -> None:
        self._parts = list(parts)
        self._lenient = lenient
        layouts = self._layouts(name, vector_column, id_column)
        self._layout = layouts[0]
        said = self._said_width(layouts)
        width = width if said is None else said
        self._groups = [
            (part, group, rows)
            for part in self._parts
            for group, rows in enumerate(part.group_rows)
        ]
        self._starts = np.cumsum([0] + [rows for _, _, rows in self._groups])
        n = int(self._starts[-1])
        d = self._first_width() if width is None else width
        super().__init__(name, (n, d), np.result_type(*(layout.dtype for layout in layouts)))

    def _layouts(self, name: str, vector_column: str | None, id_column: str | None) -> list[Layout]:
        first = self._parts[0]
        label = name if len(self._parts) == 1 else first.name
        chosen = choose(first.schema, label, vector_column, id_column, first.constants, first.index)
        layouts = [chosen]
        for part in self._parts[1:]:
            self._check_ids_of(part, first, chosen.ids)
            if chosen.wide:
                other = choose(part.schema, part.name, None, chosen.ids, part.constants)
                if other.vectors != chosen.vectors:
                    raise InputError(
                        f"{part.name}: its columns are not those of {first.name}; all parts must "
                        "have the same"
                    )
            else:
                column = chosen.vectors[0]
                kind = find_field(part.schema, column, part.name).type
                if not is_list(kind):
                    raise InputError(
                        f"{part.name}: column {column!r} is {kind}, not a list of numbers as in "
                        f"{first.name}"
                    )
                other = choose(part.schema, part.name, column, chosen.ids, part.constants)
            layouts.append(other)
        return layouts

    @staticmethod
    def _check_ids_of(part: Part, first: Part, ids: str | None) -> None:
        if ids is None:
            late = [name for name in ID_NAMES if name in part.schema.names]
            if late and late[0] not in part.constants:
                raise InputError(
                    f"{part.name}: has a column {late[0]!r}, which {first.name} does not have; "
                    f"all parts "
                    "must have the ids, or none"
                )
        elif ids not in part.schema.names:
            raise InputError(
                f"{part.name}: no column {ids!r}, which holds the ids in {first.name}; it has "
                f"{', '.join(part.schema.names)}"
            )

    def _said_width(self, layouts: list[Layout]) -> int | None:
        """The width that types say, which must be one; None where none says any."""
        said = [
            (layout.d, part)
            for layout, part in zip(layouts, self._parts, strict=True)
            if layout.d is not None
        ]
        for width, part in said:
            if width != said[0][0]:
                raise InputError(
                    f"{part.name}: its vectors are {width} wide where those of "
                    f"{said[0][1].name} are {said[0][0]}; all must have one width"
                )
        return said[0][0] if said else None

    def _first_width(self) -> int:
        """Width of the first vector, where no type says it; the commonest, if lenient."""
        column = self._layout.vectors[0]
        for part in self._parts:
            for batch in part.batches([column], 1024):
                lists = batch.column(0)
                if self._lenient:
                    width = _commonest_width(lists)
                    if width:
                        return width
                    continue
                for row in range(len(lists)):
                    if lists[row].is_valid:
                        return len(lists[row])
                    raise InputError(
                        f"{part.name}: the vector of row {row} is null; fill or remove it"
                    )
        if self._lenient and len(self._groups):
            raise InputError(f"{self._parts[0].name}: none of its rows can be used")
        return 0

    # Rows.

    def _batches(
        self, rows: int, part: Part, groups: Sequence[int] | None = None
    ) -> Iterator[npt.NDArray[Any]]:
        if not part.decodes:
            yield from self._pieces(rows, part, groups)
            return
        # What a library needs beside a batch grows with the batch: small ones are put together.
        few = min(rows, max(1, PIECE_BYTES // (8 * self.d)))
        chosen = part.group_rows if groups is None else [part.group_rows[one] for one in groups]
        yield from _joined(self._pieces(few, part, groups), rows, sum(chosen))

    def _pieces(
        self, rows: int, part: Part, groups: Sequence[int] | None
    ) -> Iterator[npt.NDArray[Any]]:
        start = 0 if groups is None else sum(part.group_rows[: groups[0]])
        for batch in part.batches(self._layout.vectors, rows, groups):
            first = start

            def fail(row: int, problem: str, first: int = first) -> Exception:
                return InputError(f"{part.name}: the vector of row {first + row} {problem}")

            yield matrix(batch, self._layout, self.d, None if self._lenient else fail)
            start += batch.num_rows

    def _windows(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        for part in self._parts:
            yield from self._batches(rows, part)

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        pieces = []
        for index in self._groups_of(np.array([start, stop - 1])):
            part, group, _ = self._groups[index]
            first = int(self._starts[index])
            for rows in self._batches(self.default_block_rows(), part, [group]):
                piece = rows[max(0, start - first) : max(0, stop - first)]
                if len(piece):
                    pieces.append(piece)
                first += len(rows)
        return np.concatenate(pieces)

    def _groups_of(self, ascending: npt.NDArray[np.int64]) -> range:
        """From the group of the first row to that of the last."""
        ends = np.searchsorted(self._starts, ascending[[0, -1]], side="right") - 1
        return range(int(ends[0]), int(ends[1]) + 1)

    def _gather(
        self, wanted: npt.NDArray[np.int64], places: npt.NDArray[np.int64], out: Float32
    ) -> None:
        for index in np.unique(np.searchsorted(self._starts, wanted, side="right") - 1):
            part, group, _ = self._groups[index]
            start = int(self._starts[index])
            few = max(1, PIECE_BYTES // (8 * self.d))
            for rows in self._pieces(few, part, [group]):
                begin, end = np.searchsorted(wanted, (start, start + len(rows)))
                if end > begin:
                    with np.errstate(over="ignore"):
                        out[places[begin:end]] = rows[wanted[begin:end] - start]
                start += len(rows)

    @property
    def columns(self) -> list[str] | None:
        """Names of the dimensions, for a table with a column a dimension."""
        return list(self._layout.vectors) if self._layout.wide else None

    # Other columns.

    def _stored_numbers(self, column: str) -> Float64:
        if self._layout.wide and column in self._layout.vectors:
            raise InputError(
                f"{self.name}: column {column!r} is read as a dimension of the vectors; keep the "
                "vectors in one list column, or give the numbers as an array"
            )
        found = []
        for part in self._parts:
            find_field(part.schema, column, part.name)
            found.append(as_numbers(part.column(column), f"{part.name}: column {column!r}"))
        return np.concatenate(found)

    # Ids.

    @property
    def has_ids(self) -> bool:
        """Whether it has ids of its own; nothing is read for the answer."""
        return self._layout.ids is not None or super().has_ids

    def _stored_ids(self) -> Any:
        column = self._layout.ids
        if column is None:
            self._say_unused()
            return None
        return unify([(part.name, part.column(column)) for part in self._parts])

    def _say_unused(self) -> None:
        if not self._layout.unused:
            return
        found = ", ".join(self._layout.unused[:5])
        warn(
            f"{self.name}: has no column {' or '.join(ID_NAMES)}, so the ids are the row "
            f"numbers, from 0; if one of these columns holds the ids, name it with --id-column "
            f"(id_column=): "
            f"{found}"
        )


def _commonest_width(lists: pa.Array) -> int:
    """Of the lists that hold something; of two as common, that which comes first; else 0."""
    if isinstance(lists, pa.ExtensionArray):
        lists = lists.storage
    widths = Counter(width for width in lists.value_lengths().to_pylist() if width)
    return widths.most_common(1)[0][0] if widths else 0


def _joined(pieces: Iterable[npt.NDArray[Any]], rows: int, left: int) -> Iterator[npt.NDArray[Any]]:
    """The `left` rows of all pieces in blocks of `rows`, each of memory of its own."""
    out, filled = np.empty(0), 0
    for piece in pieces:
        at = 0
        while at < len(piece):
            if not filled:
                out = np.empty((min(rows, left), piece.shape[1]), dtype=piece.dtype)
            some = piece[at : at + len(out) - filled]
            out[filled : filled + len(some)] = some
            at, filled = at + len(some), filled + len(some)
            if filled == len(out):
                yield out
                left, filled = left - filled, 0
