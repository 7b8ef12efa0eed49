"""Uniqueness on many machines: deferred acceptance in rounds, between places and buckets.

Each item that lost its tuple is to get the nearest one that earlier items leave free: the one
stable matching (`dqindex.sids.acceptance`), which comes out of any schedule of proposals. Here the
schedule has rounds. Places, each with some of the items, let these take turns among themselves by
what the place knows of the tuples; then buckets, each with some of the tuples, keep the earliest of
those that ask from anywhere, and tell the places of the others up to which item a tuple is full. A
place that heard nothing new has its answer. What a place knows are facts of the matching and never
guesses, so that a round can be done again, anywhere, and gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._types import Float32, Int64, Progress
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer.model import DQModel
from dqindex.sids.acceptance import Acceptance
from dqindex.sids.letters import (
    ASK,
    ITEM,
    ROOM,
    WISH,
    in_order,
    letters,
    of_kind,
    packed,
    spread,
    unpacked,
)
from dqindex.sids.nearest_tuples import CandidateSearch
from dqindex.sids.tuple_room import TupleRoom
from dqindex.sids.tuples import TupleSet
from dqindex.sids.unique import settle
from dqindex.sids.wishes import Wishes

T = TypeVar("T")


class Post(Protocol[T]):
    """What an engine does with letters that lie on many machines."""

    def propose(self, letters: T) -> T:
        """`propose` for the letters of each place."""

    def accept(self, wishes: T) -> T:
        """`accept` for the letters of each bucket."""

    def answer(self, asks: T) -> T:
        """A ROOM for each ASK: `cap`, less the items that have the tuple and do not wait."""

    def of_kind(self, letters: T, kind: int) -> T:
        """The letters of one kind."""

    def at(self, letters: T, places: Sequence[int], *, elsewhere: bool = False) -> T:
        """Letters of these places; or of all others."""

    def joined(self, first: T, second: T) -> T:
        """Both."""

    def places(self, letters: T) -> list[int]:
        """Places that have letters."""

    def held(self, letters: T) -> T:
        """The same, made once."""


def resolve(post: Post[T], items: T, report: Progress) -> T:
    """The WISH that each of the `items` is granted."""
    answers = post.held(post.propose(items))
    wishes = post.of_kind(answers, WISH)
    known: T | None = None
    done = 0
    while True:
        news = post.held(post.joined(post.answer(post.of_kind(answers, ASK)), post.accept(wishes)))
        places = post.places(news)
        done += 1
        report("round", done, 0)
        if not places:
            return wishes
        known = news if known is None else post.held(post.joined(known, news))
        answers = post.held(post.propose(post.at(post.joined(items, known), places)))
        wishes = post.held(
            post.joined(post.at(wishes, places, elsewhere=True), post.of_kind(answers, WISH))
        )


def propose(table: pa.Table, model: DQModel, cap: int, keep: int, buckets: int) -> pa.Table:
    """What the items of one place ask for, once they took turns among themselves.

    Parameters
    ----------
    table : letters
        Each ITEM of the place, and each ROOM that it was told of.
    model : DQModel
    cap, keep : int
        As in `dqindex.sids.unique.reassign`.
    buckets : int

    Returns
    -------
    letters
        A WISH of each item for a tuple whose room is known; an ASK for each tuple that an item may
        want and whose room is not. Until the answer comes a tuple is taken to have all of `cap`.
    """
    sizes = model.code_sizes()
    items = of_kind(table, ITEM)
    items = items.take(pa.array(in_order(items)))
    known, room, full = _merged(of_kind(table, ROOM), items, sizes)
    with thread_limit(1):
        base = unpacked(items["tuple"], sizes)
        tuples = TupleRoom(known, room, cap, sizes)
        wishes = Wishes(_vectors(items), base, CandidateSearch(model), tuples, keep)
        acceptance = Acceptance(len(items), room)
        np.minimum(acceptance.latest, full, out=acceptance.latest)
        got = settle(wishes, TupleSet(base, sizes).numbers.astype(np.int64), acceptance)
    told = np.flatnonzero(got < len(room))
    wanted = wishes.codes[told]
    some = items.take(pa.array(told))
    place = int(items["place"][0].as_py())
    asked = tuples.others
    return pa.concat_tables(
        [
            letters(
                table.schema,
                len(told),
                kind=WISH,
                place=place,
                bucket=spread(wanted, buckets),
                id=some["id"],
                tuple=packed(wanted, sizes),
                room=tuples.left[got[told]].astype(np.int64),
                priority=some["priority"],
                distortion=some["distortion"],
                lost=wishes.distortions[told],
            ),
            letters(
                table.schema,
                len(asked),
                kind=ASK,
                place=place,
                bucket=spread(asked, buckets),
                tuple=packed(asked, sizes),
            ),
        ]
    )


def _vectors(items: pa.Table) -> Float32:
    values = pc.list_flatten(items["vector"]).to_numpy()
    return np.ascontiguousarray(values.reshape(len(items), -1), dtype=np.float32)


def _merged(
    rooms: pa.Table, items: pa.Table, sizes: list[int]
) -> tuple[TupleSet, npt.NDArray[np.int64], Int64]:
    """All that a place was told: each tuple once, its room, and how many items may ask for it.

    Items that stand first in `items` may: as many as are no later than the last that a full tuple
    keeps, the least of those that were told; all of them where it is not said to be full.
    """
    codes = unpacked(rooms["tuple"], sizes)
    every = TupleSet(codes, sizes)
    first = np.unique(every.numbers, return_index=True)[1] if len(codes) else np.empty(0, np.int64)
    known = TupleSet(codes[first], sizes)
    number = known.find(codes)
    room = np.zeros(len(first), dtype=np.int64)
    room[number] = rooms["room"].to_numpy()
    full = np.full(len(first), len(items), dtype=np.int64)
    said = np.flatnonzero(rooms["id"].is_valid().to_numpy())
    columns = ["priority", "distortion", "id"]
    both = pa.concat_tables(
        [items.select(columns), rooms.take(pa.array(said)).select(columns)]
    ).combine_chunks()
    order = in_order(both)
    # An item that is itself the last which a tuple keeps may ask for it: it stands before.
    before = np.cumsum(order < len(items))
    place = np.empty(len(both), dtype=np.int64)
    place[order] = before
    np.minimum.at(full, number[said], place[len(items) :])
    return known, room, full


def accept(wishes: pa.Table) -> pa.Table:
    """What the tuples of one bucket answer: a ROOM to each place of an item that has to go on.

    Parameters
    ----------
    wishes : letters
        Each WISH for a tuple of the bucket.
    """
    if not len(wishes):
        return wishes
    ordered = wishes.take(pa.array(in_order(wishes)))
    number = ordered["tuple"].combine_chunks().dictionary_encode().indices.to_numpy()
    by_tuple = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[by_tuple], prepend=-1))
    lengths = np.diff(starts, append=len(by_tuple))
    rank = np.arange(len(by_tuple)) - np.repeat(starts, lengths)
    room = ordered["room"].to_numpy()[by_tuple]
    refused = rank >= room
    last = by_tuple[np.repeat(starts, lengths)[refused] + room[refused] - 1]
    kept = ordered.take(pa.array(last))
    told = ordered.take(pa.array(by_tuple[refused]))
    answer = letters(
        wishes.schema,
        len(told),
        kind=ROOM,
        place=told["place"],
        bucket=told["bucket"],
        id=kept["id"],
        tuple=told["tuple"],
        room=told["room"],
        priority=kept["priority"],
        distortion=kept["distortion"],
    )
    # Once a place and tuple.
    pairs = np.stack([told["place"].to_numpy(), number[by_tuple[refused]]], axis=1)
    return answer.take(pa.array(np.unique(pairs, axis=0, return_index=True)[1]))
