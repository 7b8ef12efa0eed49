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
from dqindex.sids.acceptance import NOBODY, Acceptance
from dqindex.sids.letters import (
    ASK,
    ITEM,
    REST,
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

    def settled(self, items: T) -> T:
        """The items, those of each place where they stay from now on."""

    def propose(self, items: T, told: T, places: Sequence[int]) -> T:
        """`propose` for the items of each of these places, and what it was told."""

    def accept(self, wishes: T) -> T:
        """`accept` for the wishes of each bucket."""

    def answer(self, asks: T) -> T:
        """A ROOM for each ASK: `cap`, less the items that have the tuple and do not wait."""

    def where(self, letters: T, column: str, some: Sequence[int], *, not_in: bool = False) -> T:
        """Letters with one of some numbers in a column; or with none of them."""

    def joined(self, first: T, second: T) -> T:
        """Both."""

    def numbers(self, letters: T, column: str) -> list[int]:
        """Numbers of a column, each once."""

    def held(self, letters: T) -> T:
        """The same, made once."""


def resolve(post: Post[T], items: T, report: Progress) -> T:
    """The WISH that each of the `items` is granted.

    Items move to their places, with their vectors, and once more with the answers of the first
    round, which are by far the most of all answers. In a later round news move, and the wishes of
    the places that hear some.
    """
    items = post.settled(items)
    known = wishes = post.held(post.where(items, "kind", [WISH]))  # None yet.
    places = post.numbers(items, "place")
    done = 0
    while places:
        told = post.where(post.joined(known, wishes), "place", places)
        answers = post.held(post.propose(items, told, places))
        others = post.where(wishes, "place", places, not_in=True)
        wishes = post.held(post.joined(others, post.where(answers, "kind", [WISH, REST])))
        buckets = post.numbers(post.where(answers, "kind", [WISH]), "bucket")
        refused = post.accept(post.where(wishes, "bucket", buckets))
        asks = post.where(answers, "kind", [ASK])
        news = post.held(post.joined(post.answer(asks), refused))
        places = post.numbers(news, "place")
        done += 1
        if done == 1:
            items = post.settled(post.joined(items, news))
        else:
            known = post.held(post.joined(known, news))
        report("round", done, 0)
    return wishes


def propose(
    items: pa.Table, told: pa.Table, model: DQModel, cap: int, keep: int, buckets: int
) -> pa.Table:
    """What the items of one place ask for, once they took turns among themselves.

    Parameters
    ----------
    items : letters
        Each ITEM of the place, and ROOMs that the place was told before.
    told : letters
        ROOMs that it was told since; and the last WISH or REST of each item. An item that may still
        ask for that tuple begins with it.
    model : DQModel
    cap, keep : int
        As in `dqindex.sids.unique.reassign`.
    buckets : int

    Returns
    -------
    letters
        A WISH of each item for a tuple whose room is known, or a REST where it asked for that one
        last; an ASK for each tuple that an item may want and whose room is not known. Until the
        answer comes a tuple is taken to have all of `cap`.
    """
    sizes = model.code_sizes()
    rooms = pa.concat_tables([of_kind(items, ROOM), of_kind(told, ROOM)])
    items = of_kind(items, ITEM)
    items = items.take(pa.array(in_order(items)))
    known, room, full = _merged(rooms, items, sizes)
    with thread_limit(1):
        base = unpacked(items["tuple"], sizes)
        tuples = TupleRoom(known, room, cap, sizes)
        wishes = Wishes(_vectors(items), base, CandidateSearch(model), tuples, keep)
        acceptance = Acceptance(len(items), room)
        np.minimum(acceptance.latest, full, out=acceptance.latest)
        last = told.filter(pc.is_in(told["kind"], value_set=pa.array([WISH, REST], pa.int32())))
        before = _resume(wishes, acceptance, last, items, known, sizes)
        got = settle(wishes, TupleSet(base, sizes).numbers.astype(np.int64), acceptance)
    sure = np.flatnonzero(got < len(room))
    wanted = wishes.codes[sure]
    some = items.take(pa.array(sure))
    place = int(items["place"][0].as_py())
    asked = tuples.others
    return pa.concat_tables(
        [
            letters(
                told.schema,
                len(sure),
                kind=np.where(got[sure] == before[sure], REST, WISH).astype(np.int32),
                place=place,
                bucket=spread(wanted, buckets),
                id=some["id"],
                tuple=packed(wanted, sizes),
                room=tuples.left[got[sure]].astype(np.int64),
                priority=some["priority"],
                distortion=some["distortion"],
                lost=wishes.distortions[sure],
            ),
            letters(
                told.schema,
                len(asked),
                kind=ASK,
                place=place,
                bucket=spread(asked, buckets),
                tuple=packed(asked, sizes),
            ),
        ]
    )


def _resume(
    wishes: Wishes,
    acceptance: Acceptance,
    last: pa.Table,
    items: pa.Table,
    known: TupleSet,
    sizes: list[int],
) -> Int64:
    """Let items begin with their last wishes, as long as these are for tuples not yet full.

    What was known when they made these wishes is still true, so whom a tuple turned away then it
    would turn away now. Gives the number of each item's last tuple, `NOBODY` where it had none or
    can't have it any more.
    """
    before = np.full(len(items), NOBODY, dtype=np.int64)
    row = pc.index_in(last["id"], value_set=items["id"].combine_chunks()).to_numpy()
    codes = unpacked(last["tuple"], sizes)
    number = known.find(codes)
    still = np.flatnonzero(acceptance.latest[number] > row)
    row, number = row[still], number[still]
    wishes.codes[row] = codes[still]
    wishes.distortions[row] = last["lost"].to_numpy()[still]
    before[row] = number
    acceptance.propose(row, number)
    return before


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
