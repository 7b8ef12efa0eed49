"""`VectorSource`: what every format looks like once it is open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex._parameters import callback, checked, or_none, text, unbounded
from dqindex._types import Float32, Float64, Int64, Progress, no_progress
from dqindex.errors import InputError, StorageError
from dqindex.vectors.convert import check_dtype, to_float32, why_not_finite
from dqindex.vectors.extent import Extent, Refused, check_longest, row_norms
from dqindex.vectors.id_hash import id_hashes
from dqindex.vectors.ids import as_ids, check_ids

BLOCK_BYTES = 64 * 2**20


class VectorSource(ABC):
    """n vectors of d dimensions that are read in blocks, never all at once.

    Attributes
    ----------
    name : str
        Its name in messages: a path, or "array".
    n, d : int
        Number of vectors, and of dimensions.
    dtype : numpy.dtype
        As stored; all methods return float32 (see `dqindex.vectors.convert`).
    skipped : (m,) int64
        Row numbers that ``skip_invalid`` left out.
    """

    skipped: Int64 = np.empty(0, dtype=np.int64)

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        check_dtype(dtype, name)
        n, d = shape
        if n < 1:
            raise InputError(f"{name}: holds no vectors (0 rows); give at least one")
        if d < 1:
            raise InputError(f"{name}: its vectors have 0 dimensions; give at least one")
        self.name = name
        self.n = n
        self.d = d
        self.dtype = dtype
        self._given_ids: Any = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.n} x {self.d} {self.dtype}>"

    # What a format provides.

    @abstractmethod
    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start to stop as stored, or a view of them; released when the caller drops it."""

    def _windows(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        for start in range(0, self.n, rows):
            yield self._window(start, min(start + rows, self.n))

    def _stored_ids(self) -> Any:
        return None

    @property
    def has_ids(self) -> bool:
        """Whether the source has ids; this reads no data."""
        return self._given_ids is not None

    @property
    def columns(self) -> list[str] | None:
        """Names of the dimensions, for a table with one column for each dimension."""
        return None

    def _stored_numbers(self, column: str) -> Float64:
        raise InputError(
            f"{self.name}: has no columns, so none is called {column!r}; give a table, or an array "
            "of numbers from Python"
        )

    # What a user calls.

    @checked(column=text())
    def numbers(self, column: str) -> Float64:
        """Another column of the table, with numbers: (n,) float64, NaN where one is missing.

        Raises
        ------
        InputError
            If there is no such column, or it holds something else.
        """
        return self._stored_numbers(column)

    @cached_property
    def ids(self) -> pa.Array | None:
        """The ids of the catalogue (distinct integers or strings), or None if there are none."""
        raw = self._raw_ids()
        return None if raw is None else check_ids(raw, self.n, self.name)

    def _raw_ids(self) -> Any:
        """The ids as they were given or are stored, not checked."""
        return self._given_ids if self._given_ids is not None else self._stored_ids()

    @property
    def skipped_ids(self) -> pa.Array:
        """Ids of the rows that ``skip_invalid`` left out; row numbers if there are no ids."""
        return pa.array(self.skipped)

    def with_ids(self, ids: Any) -> VectorSource:
        """Set the ids (array-like of n distinct integers or strings) and return self."""
        self._given_ids = ids
        self.__dict__.pop("ids", None)
        return self

    def default_block_rows(self) -> int:
        """Rows that make a block of about 64 MiB of float32."""
        return max(1, BLOCK_BYTES // (4 * self.d))

    @checked(rows=or_none(unbounded(1)))
    def blocks(self, rows: int | None = None) -> Iterator[Float32]:
        """Blocks of at most `rows` vectors in order, each C-contiguous float32 of width d.

        Raises
        ------
        NonFiniteError, RangeError
            At the first block with a row that is not finite, or that is longer than float32 can
            square (`dqindex.vectors.extent`); the rest is read to say how many there are.
        """
        return (block for block, _ in self._measured(rows))

    def _measured(self, rows: int | None) -> Iterator[tuple[Float32, Float64]]:
        """`blocks`, each with the norms of its rows as stored."""
        rows = self.default_block_rows() if rows is None else int(rows)
        start, refused = 0, Refused(self.name, self.n)
        for window in self._windows(rows):
            block = to_float32(window)
            norms = row_norms(window if _is_wide(window.dtype) else block)
            del window
            refused.look(block, norms, start)
            start += len(block)
            if not refused:
                yield block, norms
        refused.throw(self._why_not_finite)

    def _why_not_finite(self, row: int) -> str:
        return why_not_finite(self._window(row, row + 1))

    @checked(rows=or_none(unbounded(1)), progress=or_none(callback()))
    def check(self, rows: int | None = None, progress: Progress | None = None) -> Extent:
        """Read all vectors once, in blocks of `rows`, and refuse those that can't be used.

        Returns
        -------
        Extent

        Raises
        ------
        NonFiniteError
            If a row holds NaN or infinity.
        RangeError
            If a row is longer than float32 can square, or all are shorter.
        """
        report = progress or no_progress
        norm, row, lowest, highest = -1.0, 0, np.inf, -np.inf
        done = 0
        for block, norms in self._measured(
            self.default_block_rows() if rows is None else int(rows)
        ):
            longest = int(norms.argmax())
            if norms[longest] > norm:
                norm, row = float(norms[longest]), done + longest
            lowest, highest = min(lowest, block.min()), max(highest, block.max())
            done += len(block)
            report("check", done, self.n)
        check_longest(norm, self.name)
        return Extent(norm, row, float(lowest), float(highest))

    @checked(k=unbounded(1), seed=unbounded(0))
    def sample(self, k: int, *, seed: int = 0) -> Float32:
        """`k` rows drawn uniformly without replacement; all rows if k >= n.

        With ids, the rows whose ids have the smallest hashes, in the order of the hashes: the same
        rows for any order of rows, files and partitions. Without ids, in file order.
        """
        if self.has_ids:
            return self.rows(self._drawn_by_id(k, seed))
        if k >= self.n:
            return self.read()
        chosen = np.random.default_rng(seed).choice(self.n, size=k, replace=False, shuffle=False)
        return self.rows(np.sort(chosen))

    def _drawn_by_id(self, k: int, seed: int) -> Int64:
        """The rows of the `k` least hashes, least first.

        Ids may be missing or stand twice here, as only a catalogue's must not.
        """
        known = self.__dict__.get("ids")
        ids = as_ids(self._raw_ids(), self.name) if known is None else known
        if len(ids) != self.n:
            ids = check_ids(ids, self.n, self.name)  # which says so
        hashes = id_hashes(ids, seed)
        if k < self.n:
            least = np.flatnonzero(hashes <= np.partition(hashes, k - 1)[k - 1])
            return np.asarray(least[np.argsort(hashes[least], kind="stable")][:k])
        return np.argsort(hashes, kind="stable")

    def rows(self, positions: npt.ArrayLike) -> Float32:
        """The rows at `positions` (any order, repeats allowed), shape (len(positions), d).

        Raises
        ------
        InputError
            If a position is outside 0 .. n - 1.
        NonFiniteError, RangeError
            If one of these rows is not finite, or longer than float32 can square.
        """
        try:
            given = np.asarray(positions).reshape(-1)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise InputError(f"{self.name}: positions are not an array; give integers") from None
        if given.size and given.dtype.kind not in "iu":
            raise InputError(f"{self.name}: positions are {given.dtype}; give integers")
        wanted = given.astype(np.int64)
        outside = wanted[(wanted < 0) | (wanted >= self.n)]
        if outside.size:
            raise InputError(f"{self.name}: row {outside[0]} is outside 0 to {self.n - 1}")
        out = np.empty((len(wanted), self.d), dtype=np.float32)
        order = np.argsort(wanted, kind="stable")
        self._gather(wanted[order], order, out)
        refused = Refused(f"{self.name}, rows read", len(wanted), wanted)
        refused.look(out, row_norms(out), 0)
        refused.throw(self._why_not_finite)
        return out

    def read(self) -> Float32:
        """All vectors at once, shape (n, d)."""
        try:
            out = np.empty((self.n, self.d), dtype=np.float32)
        except (MemoryError, ValueError):
            raise StorageError(
                f"{self.name}: {self.n} x {self.d} float32 are more than this machine's memory; "
                "read it by blocks"
            ) from None
        start = 0
        for block in self.blocks():
            out[start : start + len(block)] = block
            start += len(block)
        return out

    def _gather(
        self, wanted: npt.NDArray[np.int64], places: npt.NDArray[np.int64], out: Float32
    ) -> None:
        """Write row ``wanted[i]`` to ``out[places[i]]``; `wanted` ascends.

        By windows, so that a memory-mapped file keeps no more than one window resident.
        """
        rows = self.default_block_rows()
        begin = 0
        while begin < len(wanted):
            start = int(wanted[begin]) // rows * rows
            end = int(np.searchsorted(wanted, start + rows))
            local = wanted[begin:end] - start
            window = self._window(start, min(start + rows, self.n))
            with np.errstate(over="ignore"):
                out[places[begin:end]] = window[local]
            begin = end


def _is_wide(dtype: np.dtype[Any]) -> bool:
    """Whether float32 lacks numbers of `dtype`."""
    return dtype.kind == "f" and dtype.itemsize > 4
