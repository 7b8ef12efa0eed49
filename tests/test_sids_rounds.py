"""Uniqueness in rounds, on however many machines, is that of one machine."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from conftest import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex import DQModel
from dqindex._types import no_progress
from dqindex.sids.letters import (
    ASK,
    ITEM,
    REST,
    ROOM,
    WISH,
    letters,
    packed,
    schema_of,
    spread,
    unpacked,
)
from dqindex.sids.rounds import accept, propose, resolve
from dqindex.sids.shared import row_distortion
from dqindex.sids.tuples import TupleSet
from dqindex.sids.unique import canonical_order, contenders, reassign


class Local:
    """A `Post` of tables in memory; it shuffles all that it carries."""

    def __init__(self, model, cap, keep, buckets, room, rng):
        self.model, self.cap, self.keep, self.buckets = model, cap, keep, buckets
        self.room, self.rng = room, rng
        self.rounds = 0

    def _each(self, table, column, function):
        made = [table.schema.empty_table()]
        groups = pc.unique(table[column]).to_pylist()
        for group in self.rng.permutation(groups).tolist() if groups else []:
            own = table.filter(pc.equal(table[column], group))
            made.append(function(own.take(pa.array(self.rng.permutation(len(own))))))
        return pa.concat_tables(made)

    def settled(self, items):
        return items.take(pa.array(self.rng.permutation(len(items))))

    def propose(self, items, told, places):
        """It begins with the last wishes, and gets what a fresh start gets."""
        self.rounds += 1
        how = (self.model, self.cap, self.keep, self.buckets)
        made = [items.schema.empty_table()]
        for place in self.rng.permutation(places).tolist():
            own, heard = (
                some.take(pa.array(self.rng.permutation(len(some))))
                for some in (self.where(one, "place", [place]) for one in (items, told))
            )
            made.append(propose(own, heard, *how))
            fresh = propose(own, self.where(heard, "kind", [ROOM]), *how)
            assert REST not in fresh["kind"].to_pylist()
            assert wishes_in(made[-1]) == wishes_in(fresh)
            resting = wishes_in(self.where(made[-1], "kind", [REST]))
            assert resting == wishes_in(made[-1]) & wishes_in(heard)
        return pa.concat_tables(made)

    def accept(self, wishes):
        return self._each(wishes, "bucket", accept)

    def answer(self, asks):
        room = [self.room.get(one, self.cap) for one in asks["tuple"].to_pylist()]
        return letters(
            asks.schema,
            len(asks),
            kind=ROOM,
            place=asks["place"],
            bucket=asks["bucket"],
            tuple=asks["tuple"],
            room=np.array(room, dtype=np.int64),
        )

    def where(self, table, column, some, *, not_in=False):
        inside = pc.is_in(table[column], value_set=pa.array(some, pa.int32()))
        return table.filter(pc.invert(inside) if not_in else inside)

    def joined(self, first, second):
        return pa.concat_tables([first, second])

    def numbers(self, table, column):
        return pc.unique(table[column]).to_pylist()

    def held(self, table):
        return table


def wishes_in(table):
    """Who wants what."""
    rows = table.filter(pc.is_in(table["kind"], value_set=pa.array([WISH, REST], pa.int32())))
    return {(row["id"], row["tuple"]) for row in rows.to_pylist()}


def waiting(model, x, ids, cap, published, priority=None):
    """Who loses its tuple, as rows; the room of each base tuple; and what one machine gives."""
    base, sizes = model.encode(x), model.code_sizes()
    known = TupleSet(np.concatenate([published, base]), sizes)
    rows = contenders(known, len(x), cap)
    exact = row_distortion(x[rows], base[rows], model)
    order = canonical_order(exact, ids, rows)
    counts = dict.fromkeys(map(tuple, np.concatenate([published, base]).tolist()), 0)
    before = counts.copy()
    for one in map(tuple, published.tolist()):
        before[one] += 1
    for one in map(tuple, np.concatenate([published, base]).tolist()):
        counts[one] += 1
    given = before.copy()
    losers = []
    for place in order:
        one = tuple(base[rows[place]].tolist())
        if given[one] < cap:
            given[one] += 1
        else:
            losers.append(place)
    room = {one: max(0, cap - count) for one, count in counts.items()}
    return base, known, rows, order, np.array(losers, dtype=np.int64), exact, room


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(20, 70),
    near=st.integers(0, 40),
    spread_=st.sampled_from([0.0, 1e-4, 1e-2, 0.3]),
    family=st.sampled_from(
        [(3, [4, 5, 3], ()), (3, [4, 5, 3], (3,)), (1, [5], (6, 5)), (2, [3, 300], ())]
    ),
    keep=st.sampled_from([0, 1, 2]),
    cap=st.integers(1, 3),
    places=st.integers(1, 6),
    buckets=st.integers(1, 3),
    published=st.integers(0, 20),
    text=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_rounds_give_the_outcome_of_one_machine(
    n, near, spread_, family, keep, cap, places, buckets, published, text, seed
):
    rng = np.random.default_rng(seed)
    x = clustered(n, 6, seed=seed, clusters=4)
    x = np.concatenate([x, x[:1] + spread_ * rng.normal(size=(near, 6))]).astype(np.float32)
    levels, sizes, coarse = family
    room = int(np.prod([*coarse, *sizes])) * cap
    x = x[: max(5, room - published)]
    keep = min(keep, len(coarse) + levels - 1)
    model = DQModel(levels, sizes, coarse=coarse, n_iter=2, init="random")
    model.fit(clustered(400, 6, seed=seed + 1))
    everything = np.array(list(np.ndindex(*model.code_sizes())))
    published = everything[rng.permutation(len(everything))[:published]]
    numbers = rng.permutation(10 * len(x))[: len(x)]
    ids = pa.array([f"ß{one}" for one in numbers.tolist()]) if text else pa.array(numbers)

    base, known, rows, order, losers, exact, rooms = waiting(model, x, ids, cap, published)
    codes, moved, distortion = reassign(
        base, known, rows, order, lambda some: x[some], model, cap=cap, keep=keep
    )

    lost = rows[losers]
    sizes = model.code_sizes()
    items = letters(
        schema_of(ids.type),
        len(lost),
        kind=ITEM,
        place=rng.integers(places, size=len(lost)).astype(np.int32),
        id=ids.take(pa.array(lost)),
        tuple=packed(base[lost], sizes),
        distortion=exact[losers],
        vector=pa.array(list(x[lost]), pa.list_(pa.float32())),
    )
    by_tuple = {packed(np.array([one]), sizes)[0].as_py(): left for one, left in rooms.items()}
    post = Local(model, cap, keep, buckets, by_tuple, rng)
    told: list[tuple[str, int, int]] = []
    wishes = resolve(post, items, lambda *step: told.append(step))
    assert told == [("round", done, 0) for done in range(1, len(told) + 1)]
    assert told

    assert sorted(moved.tolist()) == sorted(lost.tolist())
    row_of = {one: row for row, one in enumerate(ids.to_pylist())}
    found = np.array([row_of[one] for one in wishes["id"].to_pylist()], dtype=np.int64)
    assert sorted(found.tolist()) == sorted(lost.tolist())
    np.testing.assert_array_equal(unpacked(wishes["tuple"], sizes), codes[found])
    of_row = dict(zip(moved.tolist(), distortion.tolist(), strict=True))
    np.testing.assert_allclose(wishes["lost"].to_numpy(), [of_row[row] for row in found.tolist()])
    assert post.rounds <= 3 + 2 * len(lost)


@given(st.lists(st.lists(st.integers(0, 299), min_size=3, max_size=3), max_size=20), st.booleans())
def test_tuples_are_bytes_and_back(rows, wide):
    sizes = [300, 300, 300] if wide else [8, 256, 3]
    codes = np.array(rows, dtype=np.int32).reshape(-1, 3) % np.array(sizes)
    made = packed(codes, sizes)
    again = unpacked(pa.chunked_array([made[:2], made[2:]]), sizes)
    np.testing.assert_array_equal(again, codes)
    assert len(set(made.to_pylist())) == len({tuple(row) for row in codes.tolist()})


def test_equal_tuples_are_in_one_bucket_and_others_spread():
    codes = np.random.default_rng(0).integers(0, 16, size=(5000, 3))
    where = spread(codes, 7)
    by_tuple: dict[tuple[int, ...], set[int]] = {}
    for one, bucket in zip(map(tuple, codes.tolist()), where.tolist(), strict=True):
        by_tuple.setdefault(one, set()).add(bucket)
    assert {len(buckets) for buckets in by_tuple.values()} == {1}
    assert np.bincount(where, minlength=7).min() > 500
    np.testing.assert_array_equal(spread(codes.astype(np.uint8), 7), where)
    assert spread(codes[:0], 7).shape == (0,)


def test_a_bucket_keeps_the_earliest_and_says_who_was_last():
    schema = schema_of(pa.int64())
    wishes = letters(
        schema,
        5,
        kind=WISH,
        place=np.array([0, 1, 1, 2, 2], dtype=np.int32),
        bucket=0,
        id=np.array([10, 11, 12, 13, 14]),
        tuple=pa.array([b"a", b"a", b"a", b"a", b"b"]),
        room=np.array([2, 2, 2, 2, 1]),
        priority=np.array([0.0, 0, 5, 0, 0]),
        distortion=np.array([3.0, 1, 9, 1, 1]),
    )
    answer = accept(wishes).sort_by("place").to_pylist()
    # Item 12 comes first by its priority, then 11 by its id; 10 and 13 are told that 11 was last.
    told = [(one["place"], one["tuple"], one["id"], one["distortion"]) for one in answer]
    assert told == [(0, b"a", 11, 1.0), (2, b"a", 11, 1.0)]
    assert {one["kind"] for one in answer} == {ROOM}
    assert accept(wishes.slice(0, 0)).num_rows == 0
    assert accept(wishes.filter(pc.equal(wishes["tuple"], pa.scalar(b"b")))).num_rows == 0


def test_one_place_needs_a_round_only_for_longer_lists():
    """Items that are alike meet at one place, and take their turns there."""
    rng = np.random.default_rng(0)
    x = clustered(300, 8, seed=3)
    x = np.concatenate([x, x[:1] + 1e-4 * rng.normal(size=(60, 8))]).astype(np.float32)
    model = DQModel(3, 16).fit(x)
    ids = pa.array(np.arange(len(x)))
    base, _, rows, _, losers, exact, rooms = waiting(model, x, ids, 1, np.empty((0, 3), int))
    lost, sizes = rows[losers], model.code_sizes()
    items = letters(
        schema_of(ids.type),
        len(lost),
        kind=ITEM,
        place=0,
        id=ids.take(pa.array(lost)),
        tuple=packed(base[lost], sizes),
        distortion=exact[losers],
        vector=pa.array(list(x[lost]), pa.list_(pa.float32())),
    )
    by_tuple = {packed(np.array([one]), sizes)[0].as_py(): left for one, left in rooms.items()}
    post = Local(model, 1, 0, 3, by_tuple, rng)
    wishes = resolve(post, items, no_progress)
    assert len(lost) > 80
    assert len(set(wishes["tuple"].to_pylist())) == len(lost) == len(wishes)
    assert post.rounds < 6
    assert ASK not in wishes["kind"].to_pylist()
