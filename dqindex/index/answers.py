"""What a search gives back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex.vectors.ids import check_ids


class SearchResult(NamedTuple):
    """Neighbours, the nearest first.

    Attributes
    ----------
    ids : (n_queries, k) array
        The catalogue's ids, or positions if it has none: int64, or an object array of str, or of
        int if the catalogue's are uint64. If fewer than k were found, the rest is -1, or None in an
        object array. A catalogue may have an item -1, so test `positions` for -1 instead.
    distances : (n_queries, k) float32
        As FAISS returns them: squared L2 for ``l2``; inner product (larger is nearer) for ``ip``;
        squared L2 of unit vectors, which is 2 - 2 cos, for ``cosine``.
    positions : (n_queries, k) int64
        Row number of each neighbour in the indexed vectors; -1 if there is none.
    """

    ids: npt.NDArray[Any]
    distances: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int64]

    def table(self, queries: Any = None) -> pa.Table:
        """The result as a table with one row for each query, for pandas, polars or SQL.

        Parameters
        ----------
        queries : array-like of n_queries distinct integers or strings, optional
            Names of the queries; by default their row numbers.

        Returns
        -------
        pyarrow.Table
            ``query``; ``ids`` and ``distances``, lists of k, the nearest first; ids are null if
            fewer than k were found.

        Raises
        ------
        InputError
            If `queries` does not have one name for each row.
        """
        n, k = self.positions.shape
        names = pa.array(np.arange(n)) if queries is None else check_ids(queries, n, "queries")
        missing = (self.positions < 0).ravel()
        flat = self.ids.ravel()
        kind = None
        if flat.dtype == object:
            text = any(isinstance(one, str) for one in flat)
            kind = pa.string() if text else pa.uint64()
        found = pa.array(flat, kind, mask=missing)
        distances = pa.array(self.distances.ravel())
        return pa.table(
            {
                "query": names,
                "ids": pa.FixedSizeListArray.from_arrays(found, k),
                "distances": pa.FixedSizeListArray.from_arrays(distances, k),
            }
        )


class RangeResult(NamedTuple):
    """All neighbours within a radius, the nearest first.

    Attributes
    ----------
    limits : (n_queries + 1,) int64
        The neighbours of query i are at ``limits[i]`` to ``limits[i + 1]`` in the other arrays.
    ids : (limits[-1],) array
        As in `SearchResult`.
    distances : (limits[-1],) float32
    positions : (limits[-1],) int64
    """

    limits: npt.NDArray[np.int64]
    ids: npt.NDArray[Any]
    distances: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int64]
