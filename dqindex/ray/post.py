"""Letters between items and tuples, carried by Ray's object store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray

from dqindex.partitions.crowds import answered
from dqindex.quantizer.model import DQModel
from dqindex.ray.tables import Tables, call, each, exchanged, grouped, groups_of
from dqindex.sids.rounds import accept, propose


class RayPost:
    """A `dqindex.sids.rounds.Post` of tables in the object store.

    Parameters
    ----------
    model
        A reference to the model.
    cap, keep : int
        As in `dqindex.sids.unique.reassign`.
    taken : list of references
        Of each bucket, a table of tuple and n: how many items have it and do not wait, or more
        than `cap`.
    """

    def __init__(self, model: Any, cap: int, keep: int, taken: Tables) -> None:
        self._model, self._cap, self._keep, self._taken = model, cap, keep, taken
        self._parts = len(taken)

    def settled(self, items: Tables) -> Tables:
        """The items: of each part of the places, one table."""
        return [call(_together, *pieces) for pieces in exchanged(items, "place", self._parts)]

    def propose(self, items: Tables, told: Tables, places: Sequence[int]) -> Tables:
        """What the items of these places ask for."""
        function = partial(_proposed, (self._cap, self._keep, self._parts), list(places))
        parts = exchanged(told, "place", self._parts)
        return [
            call(function, self._model, some, *pieces)
            for some, pieces in zip(items, parts, strict=True)
        ]

    def accept(self, wishes: Tables) -> Tables:
        """The wishes of each bucket, answered."""
        function = partial(grouped, "bucket", _accepted)
        parts = exchanged(wishes, "bucket", self._parts)
        return [call(function, None, *pieces) for pieces in parts]

    def answer(self, asks: Tables) -> Tables:
        """The room of each tuple."""
        parts = exchanged(asks, "bucket", self._parts)
        return [
            call(partial(_answered, self._cap), taken, *pieces)
            for taken, pieces in zip(self._taken, parts, strict=True)
        ]

    def where(
        self, letters: Tables, column: str, some: Sequence[int], *, not_in: bool = False
    ) -> Tables:
        """Letters with one of some numbers in a column, or with none of them."""
        return each(letters, _where, column, list(some), not_in)

    def joined(self, first: Tables, second: Tables) -> Tables:
        """Both."""
        return first + second

    def numbers(self, letters: Tables, column: str) -> list[int]:
        """Numbers of a column, each once."""
        found = ray.get(each(letters, _numbers, column))
        return sorted({number for some in found for number in some})

    def held(self, letters: Tables) -> Tables:
        """The same, in no more tables than there are parts."""
        n = self._parts
        if len(letters) <= n:
            return letters
        return [call(_together, *letters[start::n]) for start in range(n)]


def _together(*tables: pa.Table) -> pa.Table:
    return pa.concat_tables(tables)


def _proposed(
    how: tuple[int, int, int],
    places: list[int],
    model: DQModel,
    items: pa.Table,
    *told: pa.Table,
) -> pa.Table:
    heard = {int(one["place"][0].as_py()): one for one in groups_of(_together(*told), "place")}
    nothing = items.schema.empty_table()
    made = [nothing]
    for some in groups_of(_where(items, "place", places, False), "place"):
        told_here = heard.get(int(some["place"][0].as_py()), nothing)
        made.append(propose(some, told_here, model, *how))
    return pa.concat_tables(made)


def _accepted(table: pa.Table, _: None) -> pa.Table:
    return accept(table)


def _answered(cap: int, taken: pa.Table, *pieces: pa.Table) -> pa.Table:
    return answered(pa.concat_tables(pieces), taken, cap)


def _where(table: pa.Table, column: str, some: list[int], not_in: bool) -> pa.Table:
    inside = pc.is_in(table[column], value_set=pa.array(some, pa.int32()))
    return table.filter(pc.invert(inside) if not_in else inside)


def _numbers(table: pa.Table, column: str) -> list[int]:
    found: list[int] = pc.unique(table[column]).to_pylist()
    return found
