"""`UsableVectors`: a source without the rows that can't be used."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dqindex.errors import InputError
from dqindex.vectors.convert import to_float32
from dqindex.vectors.ids import as_ids
from dqindex.vectors.rest import RestOfVectors
from dqindex.vectors.source import VectorSource


class UsableVectors(RestOfVectors):
    """The rows of `source` that are finite as float32; it is read once to find them.

    Rows that a table holds as null, of another width, or with a null count as not finite: `source`
    must have been opened so that it makes them NaN.
    """

    def __init__(self, source: VectorSource) -> None:
        found, start = [], 0
        for window in source._windows(source.default_block_rows()):
            bad = np.flatnonzero(~np.isfinite(to_float32(window)).all(axis=1))
            found.append(start + bad)
            start += len(window)
        self.skipped = np.concatenate(found).astype(np.int64)
        if len(self.skipped) == source.n:
            raise InputError(f"{source.name}: none of its {source.n} rows can be used")
        super().__init__(source, self.skipped)

    @property
    def skipped_ids(self) -> pa.Array:
        """Ids of the rows that are left out; their places where there are none."""
        raw = self._source._raw_ids()
        if raw is None:
            return pa.array(self.skipped)
        return as_ids(raw, self.name).take(pa.array(self.skipped))
