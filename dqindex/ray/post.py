"""Letters between items and tuples, carried by Ray's object store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from dqindex.quantizer.model import DQModel
from dqindex.ray.tables import Tables, call, each, exchanged, grouped
from dqindex.sids import letters as post
from dqindex.sids.letters import ROOM, letters
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

    def propose(self, letters: Tables) -> Tables:
        """The letters of each place, answered."""
        buckets = len(self._taken)
        function = partial(grouped, "place", partial(_proposed, (self._cap, self._keep, buckets)))
        parts = exchanged(letters, "place", buckets)
        return [call(function, self._model, *pieces) for pieces in parts]

    def accept(self, wishes: Tables) -> Tables:
        """The wishes of each bucket, answered."""
        function = partial(grouped, "bucket", _accepted)
        parts = exchanged(wishes, "bucket", len(self._taken))
        return [call(function, None, *pieces) for pieces in parts]

    def answer(self, asks: Tables) -> Tables:
        """The room of each tuple."""
        parts = exchanged(asks, "bucket", len(self._taken))
        return [
            call(partial(_answered, self._cap), taken, *pieces)
            for taken, pieces in zip(self._taken, parts, strict=True)
        ]

    def of_kind(self, letters: Tables, kind: int) -> Tables:
        """The letters of one kind."""
        return each(letters, post.of_kind, kind)

    def at(self, letters: Tables, places: Sequence[int], *, elsewhere: bool = False) -> Tables:
        """Those of these places, or of all others."""
        return each(letters, _at, list(places), elsewhere)

    def joined(self, first: Tables, second: Tables) -> Tables:
        """Both."""
        return first + second

    def places(self, letters: Tables) -> list[int]:
        """Places that have letters."""
        found = ray.get(each(letters, _places))
        return sorted({place for some in found for place in some})

    def held(self, letters: Tables) -> Tables:
        """The same, in no more tables than there are buckets."""
        n = len(self._taken)
        if len(letters) <= n:
            return letters
        return [call(_together, *letters[start::n]) for start in range(n)]


def _together(*tables: pa.Table) -> pa.Table:
    return pa.concat_tables(tables)


def _proposed(how: tuple[int, int, int], table: pa.Table, model: DQModel) -> pa.Table:
    return propose(table, model, *how)


def _accepted(table: pa.Table, _: None) -> pa.Table:
    return accept(table)


def _answered(cap: int, taken: pa.Table, *pieces: pa.Table) -> pa.Table:
    asks = pa.concat_tables(pieces)
    if not asks.num_rows:
        return asks
    place = pc.index_in(asks["tuple"], value_set=taken["tuple"].combine_chunks())
    n = pc.fill_null(taken["n"].combine_chunks().take(place.combine_chunks()), 0).to_numpy()
    return letters(
        asks.schema,
        asks.num_rows,
        kind=ROOM,
        place=asks["place"],
        bucket=asks["bucket"],
        tuple=asks["tuple"],
        room=np.maximum(cap - n, 0).astype(np.int64),
    )


def _at(table: pa.Table, places: list[int], elsewhere: bool) -> pa.Table:
    inside = pc.is_in(table["place"], value_set=pa.array(places, pa.int32()))
    return table.filter(pc.invert(inside) if elsewhere else inside)


def _places(table: pa.Table) -> list[int]:
    found: list[int] = pc.unique(table["place"]).to_pylist()
    return found
