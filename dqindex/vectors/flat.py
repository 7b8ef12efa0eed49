"""`FlatVectors`: rows that lie one behind the other in a file, wherever the file is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex.places.ahead import ahead
from dqindex.places.content import Content
from dqindex.vectors.source import VectorSource


class FlatVectors(VectorSource):
    """The (n, d) array at `offset` of a file; of one behind a network, blocks are read ahead.

    Parameters
    ----------
    name : str
    content : Content
    shape : (n, d)
    dtype : numpy.dtype
    offset : int
        Bytes before the values.
    """

    def __init__(
        self,
        name: str,
        content: Content,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        offset: int = 0,
    ) -> None:
        super().__init__(name, shape, dtype)
        self._content, self._offset, self._stored = content, offset, dtype
        self._fortran = False

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        return self._content.rows(
            self._stored,
            (self.n, self.d),
            start,
            stop,
            offset=self._offset,
            fortran=self._fortran,
        )

    def _windows(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        if not self._content.distant:
            yield from super()._windows(rows)
            return
        starts = range(0, self.n, rows)
        yield from ahead(partial(self._window, at, min(at + rows, self.n)) for at in starts)
