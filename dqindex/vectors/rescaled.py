"""`RescaledVectors`: directions only, so that cosine serves all finite vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex._types import Float32, Float64
from dqindex.vectors.extent import rescaled
from dqindex.vectors.source import VectorSource


class RescaledVectors(VectorSource):
    """The vectors of `source`, those that float32 can't square scaled by a power of two.

    The others are the same to the last bit; see `dqindex.vectors.extent`.
    """

    def __init__(self, source: VectorSource) -> None:
        super().__init__(source.name, (source.n, source.d), source.dtype)
        self._source = source

    @property
    def ids(self) -> pa.Array | None:
        """Those of the source."""
        return self._source.ids

    @property
    def has_ids(self) -> bool:
        """As of the source."""
        return self._source.has_ids

    def _raw_ids(self) -> Any:
        return self._source._raw_ids()

    def _stored_numbers(self, column: str) -> Float64:
        return self._source._stored_numbers(column)

    def default_block_rows(self) -> int:
        """As of the source."""
        return self._source.default_block_rows()

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        return rescaled(self._source._window(start, stop))

    def _windows(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        return map(rescaled, self._source._windows(rows))

    def _gather(
        self, wanted: npt.NDArray[np.int64], places: npt.NDArray[np.int64], out: Float32
    ) -> None:
        # As stored, since what float32 lacks comes back by scaling.
        stored = np.empty(out.shape, dtype=self.dtype)
        self._source._gather(wanted, places, stored)
        out[:] = rescaled(stored)
