"""`RestOfVectors`: a source without some of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex._types import Float32, Float64, Int64
from dqindex.vectors.ids import as_ids
from dqindex.vectors.source import VectorSource


class RestOfVectors(VectorSource):
    """The rows of `source`, in order, without those that are left out: ascending, and not all."""

    def __init__(self, source: VectorSource, left_out: Int64) -> None:
        self._source, self._left_out = source, left_out
        # Rows that are left before each that is left out.
        self._before = left_out - np.arange(len(left_out))
        super().__init__(source.name, (source.n - len(left_out), source.d), source.dtype)

    def default_block_rows(self) -> int:
        """As of the source."""
        return self._source.default_block_rows()

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
            begin, end = np.searchsorted(self._left_out, (start, start + len(window)))
            kept = np.delete(window, self._left_out[begin:end] - start, axis=0)
            start += len(window)
            if len(kept):
                yield kept

    def _gather(self, wanted: Int64, places: Int64, out: Float32) -> None:
        self._source._gather(self._places(wanted), places, out)

    def _stored_numbers(self, column: str) -> Float64:
        return np.delete(self._source._stored_numbers(column), self._left_out)

    def _stored_ids(self) -> Any:
        raw = self._source._raw_ids()
        if raw is None:
            return None
        ids = as_ids(raw, self.name)
        if len(ids) != self._source.n:
            # Said in the words of the source, which has that many.
            return self._source.ids
        kept = np.ones(len(ids), dtype=bool)
        kept[self._left_out] = False
        return ids.filter(pa.array(kept))
