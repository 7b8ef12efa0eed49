"""The ids of the rows of an index: the catalogue's own, or a count that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._types import Int64
from dqindex.errors import InputError
from dqindex.vectors.ids import (
    INT64_MAX,
    as_ids,
    check_ids,
    has_twice,
    refuse_masked,
    unify,
    written,
)
from dqindex.vectors.sought import Sought, in_type, sought, told

Mask = npt.NDArray[np.bool_]


class Names:
    """The ids of `n` rows.

    Parameters
    ----------
    array : pyarrow.Array, a function that gives one, or None
        None where they are 0 … n - 1; a function is called when they are first needed.
    n : int
    next_id : int, optional
        The id of the next row where rows are counted; None where the catalogue has ids of its own.
    """

    def __init__(self, array: Any, n: int, next_id: int | None = None) -> None:
        self._given_array = array
        self.n = n
        self.next_id = n if array is None and next_id is None else next_id

    @cached_property
    def array(self) -> pa.Array | None:
        """The ids, or None where they are the rows."""
        given = self._given_array
        return given() if callable(given) else given

    @property
    def counted(self) -> bool:
        """Whether the ids are a count of what was added, not the catalogue's own."""
        return self.next_id is not None

    @property
    def plain(self) -> bool:
        """Whether the ids are the rows themselves: 0 … n - 1, and nothing else to remember."""
        return self._given_array is None and self.next_id == self.n

    def take(self, rows: Int64) -> npt.NDArray[Any]:
        """The ids of `rows`, of any shape; -1, or None among objects, where a row is -1."""
        if self.array is None:
            return rows
        found = rows >= 0
        if not self.n:
            return np.full(rows.shape, -1)
        taken = self.array.take(pa.array(np.where(found, rows, 0).ravel()))
        names = np.asarray(taken.to_numpy(zero_copy_only=False)).reshape(rows.shape)
        if names.dtype == np.uint64:
            # With -1 beside them numpy makes them floats, and int64 lacks their upper half.
            names = names.astype(object)
        if names.dtype == object:
            names = names.copy()
            names[~found] = None
            return names
        return np.where(found, names, np.int64(-1))

    @property
    def integers(self) -> bool:
        """Whether ids are integers."""
        return self.array is None or pa.types.is_integer(self.array.type)

    @cached_property
    def _sorted(self) -> tuple[npt.NDArray[Any], Int64]:
        """Integers as int64, or as uint64 where that does not hold them; and their order.

        Of two types numpy would make floats, which do not tell large integers apart.
        """
        large = int(pc.max(self.array).as_py() or 0) > INT64_MAX
        values = np.asarray(self.array).astype(np.uint64 if large else np.int64, copy=False)
        order = np.argsort(values, kind="stable")
        return values[order], order

    def find(self, ids: Any, what: str = "ids") -> Int64:
        """The row of each of `ids`, -1 where there is none.

        Raises
        ------
        InputError
            If they are not integers or text, as the catalogue's are.
        """
        return self._rows_of(sought(ids, what, integers=self.integers))

    def _rows_of(self, given: Sought) -> Int64:
        if not len(given):
            return np.empty(0, dtype=np.int64)
        if not self.n:
            return np.full(len(given), -1, dtype=np.int64)
        if self.array is None:
            values, held = in_type(given, np.int64)
            return np.where(held & (values >= 0) & (values < self.n), values, -1)
        if self.integers:
            keys, order = self._sorted
            values, held = in_type(given, keys.dtype)
            at = np.minimum(np.searchsorted(keys, values), self.n - 1)
            return np.where(held & (keys[at] == values), order[at], -1)
        found = pc.index_in(pa.array(given).cast(self.array.type), value_set=self.array)
        return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)

    def rows(self, ids: Any, what: str = "ids", *, remedy: str, missing_ok: bool = False) -> Int64:
        """The rows of distinct `ids` that are all there.

        Parameters
        ----------
        ids : array-like
        what : str
            What they are called, in messages.
        remedy : str
            What to do about an unknown one.
        missing_ok : bool
            Whether some may be unknown: -1.

        Raises
        ------
        InputError
            If one stands twice, or is unknown and `missing_ok` is False.
        """
        given = sought(ids, what, integers=self.integers)
        rows = self._rows_of(given)
        if not missing_ok:
            _refuse_unknown(given, rows, what, remedy)
        order = np.argsort(rows, kind="stable")
        again = order[1:][(rows[order][1:] == rows[order][:-1]) & (rows[order][1:] >= 0)]
        if len(again):
            raise InputError(
                f"{what}: {told(given, int(again.min()))} occurs more than once; give each id once"
            )
        return rows

    def rows_again(self, ids: Any, what: str = "ids") -> Int64:
        """The rows of `ids` that are all there, of which one may stand twice.

        Raises
        ------
        InputError
            If one is unknown.
        """
        given = sought(ids, what, integers=self.integers)
        rows = self._rows_of(given)
        _refuse_unknown(given, rows, what, "leave them out")
        return rows

    def mask(self, chosen: Any, what: str) -> Mask:
        """Which rows `chosen` names: ids, of which unknown ones say nothing, or a boolean each.

        Raises
        ------
        InputError
        """
        if isinstance(chosen, str | bytes) or not hasattr(chosen, "__len__"):
            raise InputError(f"{what} is {written(chosen)}; give a list of ids, or a boolean array")
        refuse_masked(chosen, what)
        chosen = list(chosen) if isinstance(chosen, set | frozenset) else chosen
        try:
            flags = np.asarray(chosen)
        except Exception:
            # Lists of different lengths, or a column of what numpy lacks, of whose library the
            # error is: no booleans, and no ids, as `find` says.
            flags = np.empty(0)
        if flags.dtype == np.bool_:
            if flags.shape != (self.n,):
                raise InputError(
                    f"{what}: a boolean array of shape {flags.shape}; give one value a vector, "
                    f"({self.n},)"
                )
            return flags.copy()
        mask = np.zeros(self.n, dtype=bool)
        rows = self.find(chosen, what)
        mask[rows[rows >= 0]] = True
        return mask

    def kept(self, rows: Int64) -> Names:
        """The names of ascending `rows` alone."""
        if len(rows) == self.n:
            return self
        if self.array is None:
            return Names(pa.array(rows), len(rows), self.next_id)
        return Names(self.array.take(pa.array(rows)), len(rows), self.next_id)

    def extended(self, count: int, ids: Any, name: str) -> Names:
        """These names and `count` more.

        Raises
        ------
        InputError
            If the catalogue has ids and none are given, or the other way round, or one is known.
        """
        if self.counted:
            if ids is not None:
                raise InputError(
                    f"{name}: has ids, but this index numbers its vectors itself; leave the ids "
                    "out, or build the index with ids"
                )
            start = int(self.next_id or 0)
            if self.array is None:
                return Names(None, self.n + count, start + count)
            more = pa.array(np.arange(start, start + count))
            return Names(pa.concat_arrays([self.array, more]), self.n + count, start + count)
        if ids is None:
            raise InputError(
                f"{name}: has no ids, and those of this index are the catalogue's own; give ids"
            )
        more = check_ids(ids, count, name)
        known = self.find(more, f"{name}: ids")
        if (known >= 0).any():
            which = more[int(np.argmax(known >= 0))].as_py()
            raise InputError(
                f"{name}: {int((known >= 0).sum())} ids are already in the index, for example "
                f"{which!r}; leave these vectors out, or update them"
            )
        return Names(_concatenated([self.array, more], ["the index", name]), self.n + count)

    def record(self) -> dict[str, Any] | None:
        """What the manifest has to remember beside the array."""
        return {"next": self.next_id} if self.counted and not self.plain else None


def merged_names(parts: Sequence[Names], owners: Sequence[str]) -> Names:
    """The names of several indexes, one after another; counted ones go on counting.

    Raises
    ------
    InputError
        If some are counted and others not, types differ, or an id is in two.
    """
    kinds = {(one.counted, one.integers) for one in parts}
    if len(kinds) > 1:
        listed = "; ".join(
            f"{owner} {_kind(one)}" for owner, one in zip(owners, parts, strict=True)
        )
        raise InputError(f"these indexes have different kinds of ids: {listed}")
    total = sum(one.n for one in parts)
    if not parts[0].counted:
        joined = _concatenated([one.array for one in parts], owners)
        if has_twice(joined):
            counts = pc.value_counts(joined)
            twice = counts.filter(pc.greater(counts.field("counts"), 1))[0].as_py()
            raise InputError(
                f"id {twice['values']!r} is in {twice['counts']} of the indexes; an id must be "
                "in one"
            )
        return Names(joined, total)
    if all(one.plain for one in parts):
        return Names(None, total)
    arrays, start = [], 0
    for one in parts:
        arrays.append(one.take(np.arange(one.n)) + start)
        start += int(one.next_id or 0)
    return Names(pa.array(np.concatenate(arrays)), total, start)


def _concatenated(arrays: Sequence[pa.Array], owners: Sequence[str]) -> pa.Array:
    """All ids in one array, of a type that holds them all."""
    parts = [(owner, pa.chunked_array([ids])) for owner, ids in zip(owners, arrays, strict=True)]
    return as_ids(unify(parts), owners[0])


def _kind(names: Names) -> str:
    if names.counted:
        return "counts them"
    return f"has ids that are {'integers' if names.integers else 'strings'}"


def _refuse_unknown(given: Sought, rows: Int64, what: str, remedy: str) -> None:
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        raise InputError(
            f"{what}: {len(unknown)} of {len(rows)} are not in the index, for example "
            f"{told(given, int(unknown[0]))}; {remedy}"
        )
