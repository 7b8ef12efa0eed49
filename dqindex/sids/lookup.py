"""From a token tuple to its items, and from an item to its tokens: many at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._types import Int64
from dqindex.errors import InputError
from dqindex.sids.map import SidMap
from dqindex.sids.tuples import TupleRows
from dqindex.sids.vocabulary import MOST_TOKEN
from dqindex.vectors.ids import written
from dqindex.vectors.sought import in_type, sought


class Matches(NamedTuple):
    """The items of some tuples.

    Attributes
    ----------
    rows : (m,) int64
        Row of the first item of each tuple; -1 where no item has it.
    counts : (m,) int64
        How many items have it.
    items : pyarrow.ListArray
        Ids of all of them, a list a tuple, in the map's order; empty where there is none.
    """

    rows: Int64
    counts: Int64
    items: pa.ListArray

    def __len__(self) -> int:
        """How many tuples were asked for."""
        return len(self.counts)


def find(sids: SidMap, tuples: Any) -> Matches:
    """The items that have each of some token tuples.

    The map is sorted at the first call, and the order is kept: an array of codes that is changed
    in place is then not seen (one that is replaced is).

    Parameters
    ----------
    sids : SidMap
        Any map, foreign ones too.
    tuples : array-like (m, T) of integers
        One tuple a row. Codes that the levels do not have are allowed: no item has them.

    Returns
    -------
    Matches

    Raises
    ------
    InputError
        If they are not m rows of T integers.
    """
    wanted = _tuples(tuples, len(sids.sizes))
    if (
        sids.by_tuple is None
        or sids.by_tuple.codes is not sids.codes
        or sids.by_tuple.sizes != list(sids.sizes)
    ):
        sids.by_tuple = TupleRows(sids.codes, sids.sizes)
    rows, ends = sids.by_tuple.find(wanted)
    counts = np.diff(ends)
    first = np.full(len(wanted), -1, dtype=np.int64)
    first[counts > 0] = rows[ends[:-1][counts > 0]]
    names = sids.item_ids.take(pa.array(rows))
    if ends[-1] < 2**31:
        items = pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), names)
    else:
        items = pa.LargeListArray.from_arrays(pa.array(ends), names)
    return Matches(first, counts, items)


def rows_of(sids: SidMap, ids: Any) -> Int64:
    """The row of every item in a map, -1 where it has no such item.

    Parameters
    ----------
    sids : SidMap
    ids : array-like of m integers or strings
        Integers of any size match by value; where the map has no ids of its own, rows do.

    Returns
    -------
    (m,) int64

    Raises
    ------
    InputError
        If they are no ids, one is missing, or they are text where the map has integers, or the
        other way round.
    """
    known = sids.item_ids
    integers = pa.types.is_integer(known.type)
    wanted = sought(ids, "ids", integers=integers, where="map")
    if not len(wanted):
        return np.empty(0, dtype=np.int64)
    if integers:
        kind = pa.uint64() if known.type == pa.uint64() else pa.int64()
        values, held = in_type(wanted, np.dtype(str(kind)))
        asked, known = pa.array(values, kind, mask=~held), known.cast(kind)
    else:
        asked = pa.array(wanted).cast(known.type)
    found = pc.index_in(asked, value_set=known, skip_nulls=True).fill_null(-1)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)


def _tuples(tuples: Any, levels: int) -> npt.NDArray[Any]:
    """Rows of integers, as wide as the map's."""
    remedy = f"give rows of {levels} integers, as {[list(range(levels))]}"
    try:
        wanted = np.asarray(tuples)
        if wanted.dtype.kind in ("f", "O") and not isinstance(tuples, np.ndarray):
            # Integers that no one type of numpy's holds.
            wanted = np.asarray(tuples, dtype=object)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"tuples: their rows are not of one length; {remedy}") from None
    if wanted.shape == (0,):
        return np.empty((0, levels), dtype=np.int64)
    if wanted.ndim != 2 or wanted.shape[1] != levels:
        raise InputError(f"tuples: are of shape {wanted.shape}; {remedy}")
    if wanted.dtype == object and all(map(_is_integer, wanted.flat)):
        # No level has as many codes.
        clipped = [min(max(int(one), -1), MOST_TOKEN + 1) for one in wanted.flat]
        wanted = np.array(clipped, dtype=np.int64).reshape(wanted.shape)
    if wanted.dtype.kind not in "iu":
        wrong = next((one for one in wanted.flat if not _is_integer(one)), None)
        raise InputError(f"tuples: hold {written(wrong)}; {remedy}")
    return wanted


def _is_integer(one: Any) -> bool:
    return isinstance(one, int | np.integer) and not isinstance(one, bool)
