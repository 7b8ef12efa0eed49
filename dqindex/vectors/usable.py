"""`UsableVectors`: a source without the rows that can't be used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex._types import Float32, Float64, Int64
from dqindex.errors import InputError
from dqindex.vectors.convert import to_float32
from dqindex.vectors.ids import as_ids
from dqindex.vectors.source import VectorSource


class UsableVectors(VectorSource):
    """The rows of `source` that are finite as float32; it is read once to find them.

    Rows that a table holds as null, of another width, or with a null count as not finite: `source`
    must have been opened so that it makes them NaN.
    """

    def __init__(self, source: VectorSource) -> None:
        self._source = source
        found, start = [], 0
        for window in source._windows(source.default_block_rows()):
            bad = np.flatnonzero(~np.isfinite(to_float32(window)).all(axis=1))
            found.append(start + bad)
            start += len(window)
        self.skipped = np.concatenate(found).astype(np.int64)
        if len(self.skipped) == source.n:
            raise InputError(f"{source.name}: none of its {source.n} rows can be used")
        # Rows that are left before each that is skipped.
        self._before = self.skipped - np.arange(len(self.skipped))
        super().__init__(source.name, (source.n - len(self.skipped), source.d), source.dtype)

    @property
    def skipped_ids(self) -> pa.Array:
        """Ids of the rows that are left out; their places where there are none."""
        raw = self._source._raw_ids()
        if raw is None:
            return pa.array(self.skipped)
        return as_ids(raw, self.name).take(pa.array(self.skipped))

    @property
    def has_ids(self) -> bool:
        """Whether it has ids of its own; nothing is read for the answer."""
        return super().has_ids or self._source.has_ids

    def _places(self, rows: Int64) -> Int64:
        """Where rows of this are in the source."""
        places: Int64 = rows + np.searchsorted(self._before, rows, side="right")
        return places

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        places = self._places(np.arange(start, stop))
        first = int(places[0])
        return self._source._window(first, int(places[-1]) + 1)[places - first]

    def _windows(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        start = 0
        for window in self._source._windows(rows):
            begin, end = np.searchsorted(self.skipped, (start, start + len(window)))
            kept = np.delete(window, self.skipped[begin:end] - start, axis=0)
            start += len(window)
            if len(kept):
                yield kept

    def _gather(self, wanted: Int64, places: Int64, out: Float32) -> None:
        self._source._gather(self._places(wanted), places, out)

    def _stored_numbers(self, column: str) -> Float64:
        return np.delete(self._source._stored_numbers(column), self.skipped)

    def _stored_ids(self) -> Any:
        raw = self._source._raw_ids()
        if raw is None:
            return None
        ids = as_ids(raw, self.name)
        if len(ids) != self._source.n:
            # Said in the words of the source, which has that many.
            return self._source.ids
        kept = np.ones(len(ids), dtype=bool)
        kept[self.skipped] = False
        return ids.filter(pa.array(kept))
