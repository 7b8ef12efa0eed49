"""Items take turns for tuples: all at once, in any schedule, with the outcome of one by one."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex import DQModel
from dqindex.errors import InputError
from dqindex.sids import crowd, nearest_tuples, unique, wishes
from dqindex.sids.acceptance import NOBODY, Acceptance
from dqindex.sids.crowd import find_crowds
from dqindex.sids.nearest_tuples import CandidateSearch
from dqindex.sids.semantic_ids import SemanticIds, semantic_ids
from dqindex.sids.shared import row_distortion
from dqindex.sids.tuple_room import TupleRoom
from dqindex.sids.tuples import TupleSet
from dqindex.sids.unique import canonical_order
from dqindex.sids.wishes import Wishes


def one_by_one(model, x, order, cap, keep):
    """The definition, written out: the first `cap` of a tuple keep it, each other takes turns.

    At its turn an item takes the nearest free tuple of those that begin with its first `keep`
    tokens; if there is none, of those that begin with one less, and so on.
    """
    search = CandidateSearch(model)
    base = model.encode(x)
    tuples = np.array(list(np.ndindex(*model.code_sizes())))
    whole = int(np.prod(model.code_sizes()))
    codes, distortions = search.nearest(x, base, whole)
    assert codes.shape[1] == len(tuples)
    room: dict[tuple[int, ...], int] = {}
    got: list[tuple[int, ...]] = [()] * len(x)

    def takes(item, one):
        if room.get(one, cap) < 1:
            return False
        room[one] = room.get(one, cap) - 1
        got[item] = one
        return True

    for item in order:
        takes(item, tuple(base[item].tolist()))
    for item in order:
        for held in range(keep, -1, -1):
            if not got[item]:
                begins = (codes[item, :, :held] == base[item, :held]).all(axis=1)
                any(takes(item, one) for one in map(tuple, codes[item, begins].tolist()))
    place = {item: codes[item].tolist().index(list(got[item])) for item in range(len(x))}
    return np.array(got), np.array([distortions[item, place[item]] for item in range(len(x))])


def in_canonical_order(model, x, ids=None):
    exact = row_distortion(x, model.encode(x), model)
    return canonical_order(exact, ids, np.arange(len(x)))


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(30, 110),
    near=st.integers(0, 70),
    spread=st.sampled_from([0.0, 1e-4, 1e-2, 0.3]),
    family=st.sampled_from(
        [(3, [4, 5, 3], ()), (3, [4, 5, 3], (3,)), (1, [5], (6, 5)), (2, [3, 4], (3, 4))]
    ),
    keep=st.sampled_from([None, 0, 1, 2]),
    cap=st.integers(1, 3),
    chunk=st.sampled_from([7, 50, 16384]),
    least=st.sampled_from([3, 1000]),
    seed=st.integers(0, 10**6),
)
def test_the_outcome_is_that_of_one_by_one(n, near, spread, family, keep, cap, chunk, least, seed):
    rng = np.random.default_rng(seed)
    x = clustered(n, 6, seed=seed, clusters=4)
    x = np.concatenate([x, x[:1] + spread * rng.normal(size=(near, 6))]).astype(np.float32)
    levels, words, coarse = family
    model = DQModel(levels, words, coarse=coarse, n_iter=4).fit(x)
    if len(x) > int(np.prod(model.code_sizes())) * cap:
        return
    with pytest.MonkeyPatch.context() as patch:
        # Rows of few items, lists of few tuples, crowds of few items: every seam is crossed.
        patch.setattr(unique, "CHUNK", chunk)
        patch.setattr(wishes, "FIRST_CANDIDATES", 2)
        patch.setattr(crowd, "LEAST_ITEMS", least)
        patch.setattr(crowd, "STRETCH", 2)
        patch.setattr(nearest_tuples, "OFFSETS_AT_ONCE", 7)
        sids = semantic_ids(x, model=model, unique="cap", cap=cap, keep=keep)
    kept = len(coarse) if keep is None else keep
    assert sids.keep == kept
    codes, distortions = one_by_one(model, x, in_canonical_order(model, x), cap, kept)
    np.testing.assert_array_equal(sids.codes, codes)
    moved = (sids.codes != sids.base_codes).any(axis=1)
    np.testing.assert_allclose(sids.distortion[moved], distortions[moved], rtol=1e-5, atol=1e-6)
    changed = (sids.codes != sids.base_codes)[:, :kept].any(axis=1)
    assert sids.widened() == changed.sum()
    # Who lost a token of its prefix found the prefix full.
    for row in np.flatnonzero(changed)[:10]:
        there = (sids.codes[:, :kept] == sids.base_codes[row, :kept]).all(axis=1)
        assert there.sum() == cap * np.prod(sids.sizes[kept:])


@settings(max_examples=100, deadline=None)
@given(
    items=st.integers(1, 40),
    tuples=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    alone=st.booleans(),
)
def test_acceptance_is_the_order_of_turns(items, tuples, seed, alone):
    """Any lists, any room, many at once or one at a time."""
    rng = np.random.default_rng(seed)
    left = rng.integers(4, size=tuples)
    lists = np.stack([rng.permutation(tuples) for _ in range(items)])
    room, expected = left.copy(), []
    for item in range(items):
        free = [one for one in lists[item] if room[one] > 0]
        expected.append(free[0] if free else NOBODY)
        if free:
            room[free[0]] -= 1
    acceptance = Acceptance(items, left)

    def ask(item):
        free = [one for one in lists[item] if acceptance.latest[one] > item]
        return free[0] if free else NOBODY

    waiting = rng.permutation(items).tolist()
    while waiting:
        if alone:
            item = waiting.pop(int(rng.integers(len(waiting))))
            if ask(item) != NOBODY:
                out = acceptance.propose_one(item, ask(item))
                waiting += [] if out == NOBODY else [out]
        else:
            some = np.sort(waiting)
            asked = np.array([ask(item) for item in some])
            able = asked != NOBODY
            waiting = acceptance.propose(some[able], asked[able]).tolist()
    assert acceptance.held.tolist() == expected


def test_tuples_let_in_later_have_their_room():
    acceptance = Acceptance(3, np.array([1, 0]))
    acceptance.extend(np.array([1, 0, 2]))
    assert acceptance.latest.tolist() == [3, NOBODY, 3]
    assert acceptance.propose(np.array([0, 1, 2]), np.array([2, 2, 2])).tolist() == [2]
    assert acceptance.latest.tolist() == [3, NOBODY, 1]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), cap=st.integers(1, 3))
def test_room_of_tuples_is_counted(seed, cap):
    """Numbers stay while tuples are taken, and who is asked about again has what is left."""
    rng = np.random.default_rng(seed)
    sizes = [3, 2, 2**30, 2**30]  # two words
    some = rng.integers(2, size=(8, 4)).astype(np.int32)
    known = TupleSet(some, sizes)
    left = np.maximum(cap - known.counts, 0)
    room = TupleRoom(known, left.copy(), cap, sizes)
    expected = {
        tuple(codes): cap - min(cap, int(known.counts[number]))
        for codes, number in zip(some.tolist(), known.numbers, strict=True)
    }
    for _ in range(5):
        asked = rng.integers(3, size=(20, 4)).astype(np.int32) % np.array([3, 2, 3, 3])
        first, again = room.number(asked), room.number(asked[::-1])[::-1]
        np.testing.assert_array_equal(first, again)
        assert len(set(first.tolist())) == len({tuple(one) for one in asked.tolist()})
        tell = [expected.get(tuple(one), cap) for one in asked.tolist()]
        assert room.left[first].tolist() == tell
        took: dict[int, int] = {}
        for number, codes in zip(first.tolist(), asked.tolist(), strict=True):
            if room.left[number] > took.get(number, 0) and rng.random() < 0.3:
                took[number] = took.get(number, 0) + 1
                expected[tuple(codes)] = expected.get(tuple(codes), cap) - 1
        room.take(np.array([one for one, times in took.items() for _ in range(times)], dtype=int))
    # Nothing is kept of tuples that were only asked about.
    assert len(room.left) <= len(left) + sum(value < cap for value in expected.values())


@pytest.fixture
def listed(monkeypatch):
    """How many tuples were looked for in all."""
    found = []
    nearest = CandidateSearch.nearest

    def counted(self, vectors, base, count, held=0):
        found.append(len(vectors) * count)
        return nearest(self, vectors, base, count, held)

    monkeypatch.setattr(CandidateSearch, "nearest", counted)
    return found


@pytest.mark.parametrize("spread", [0.0, 1e-4, 1e-2])
@pytest.mark.parametrize("coarse", [(), (8,)])
def test_near_duplicates_share_a_list(spread, coarse, listed):
    x = clustered(3000, 8)
    model = DQModel(4, 16, coarse=coarse).fit(x)
    rng = np.random.default_rng(1)
    near = (x[0] + spread * rng.normal(size=(1000, 8))).astype(np.float32)
    sids = semantic_ids(near, model=model)
    assert sids.unique_share() == 1.0
    # Lists of their own would hold a million.
    assert sum(listed) < 100_000
    # Each has the distortion that is said of it.
    decoded = model.decode(sids.codes).astype(np.float64)
    np.testing.assert_allclose(
        sids.distortion, ((decoded - near) ** 2).sum(axis=1), rtol=1e-4, atol=1e-5
    )


def test_what_a_crowd_says_of_its_items():
    """Tables of products give the distortions that the search gives."""
    x = clustered(600, 8)
    model = DQModel(4, 8, coarse=(4,), n_components=6).fit(x)
    search = CandidateSearch(model)
    codes, distortions = search.nearest(x[:1], model.encode(x[:1]), 200)
    offset = np.linspace(-1, 1, 8)
    tables = search.products(offset)
    decoded = model.decode(codes[0]).astype(np.float64)
    products = sum(table[codes[0][:, level]] for level, table in enumerate(tables))
    np.testing.assert_allclose(products, decoded @ offset, rtol=1e-4, atol=1e-4)
    shifted = distortions[0] + offset @ offset + 2 * (offset @ x[0] - products)
    direct = ((decoded - x[0] - offset) ** 2).sum(axis=1)
    np.testing.assert_allclose(shifted, direct, rtol=1e-4, atol=1e-4)


def test_a_crowd_is_who_is_near():
    x = clustered(500, 6, clusters=3)
    near = np.repeat(x[:1], 50, axis=0)
    far = near + np.float32(0.5) * np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    model = DQModel(3, 8).fit(x)
    vectors = np.concatenate([near, far])
    search = CandidateSearch(model)
    base = np.repeat(model.encode(x[:1]), 100, axis=0)
    room = TupleRoom(TupleSet(base, [8] * 3), np.array([1]), 1, [8] * 3)
    numbers = np.where(np.arange(100) == 49, 1, 0)  # one has another base tuple
    found = find_crowds(Wishes(vectors, base, search, room), numbers, np.arange(len(base)))
    items = min(found.values(), key=lambda one: one[0])
    assert set(range(49)) <= set(items.tolist())
    assert 49 not in np.concatenate(list(found.values()))
    few = Wishes(vectors[:31], base[:31], search, room)
    assert find_crowds(few, numbers[:31], np.arange(31)) == {}
    assert find_crowds(Wishes(vectors, base, search, room), numbers, np.arange(31)) == {}


def test_a_crowd_whose_list_may_not_grow(monkeypatch):
    x = clustered(400, 6)
    x[:200] = x[0] + 1e-3 * np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    model = DQModel(3, 12).fit(x)
    expected = semantic_ids(x, model=model)
    monkeypatch.setattr(crowd, "MOST_TUPLES", 100)
    assert semantic_ids(x, model=model) == expected


def test_full_prefixes_widen_one_token_at_a_time():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 4)).astype(np.float32)
    model = DQModel(1, 2, coarse=(5, 4, 3), n_iter=2).fit(x)
    same = np.repeat(x[:1], 30, axis=0)
    own = model.encode(x[:1])[0]
    for n, most in ((2, 3), (6, 2), (24, 1), (30, 0)):
        sids = semantic_ids(same[:n], model=model)
        assert (sids.keep, sids.unique_share()) == (3, 1.0)
        shared = (sids.codes == own).cumprod(axis=1).sum(axis=1)
        assert min(shared.min(), 3) == most
        # As many as there are share each length of the prefix.
        assert [(shared >= length).sum() for length in (3, 2, 1)] == [
            min(n, 2),
            min(n, 6),
            min(n, 24),
        ]
        assert sids.widened() == max(n - 2, 0)


def test_more_prefixes_than_are_looked_at_together():
    """66 x 64 coarse tuples, of which 4,096 are tried at a time: the nearest are found anyhow."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8000, 4)).astype(np.float32)
    model = DQModel(1, 2, coarse=(66, 64), n_iter=2).fit(x)
    assert nearest_tuples.OFFSETS_AT_ONCE < 66 * 64
    tuples = np.array(list(np.ndindex(66, 64, 2)))
    exact = ((model.decode(tuples).astype(np.float64) - x[:3, None]) ** 2).sum(axis=2)
    _, found = CandidateSearch(model).nearest(x[:3], model.encode(x[:3]), 50)
    np.testing.assert_allclose(found, np.sort(exact, axis=1)[:, :50], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"keep": 4}, "keep is 4, but an ID has 4 tokens"),
        ({"keep": 0}, "compared with 16,777,216 coarse tuples; keep at least 1"),
        ({"keep": 1, "unique": "suffix"}, "keep is 1, but unique is 'suffix'"),
        ({"keep": 1, "unique": "none"}, "keep is 1, but unique is 'none'"),
        ({"keep": -1}, "keep is -1; it must be an integer from 0 to 2147483647 or None"),
        ({"keep": True}, "keep is True; it must be"),
    ],
)
def test_a_prefix_that_can_not_be_kept(settings_, message):
    x = clustered(40, 6)
    with pytest.raises(InputError, match=message):
        semantic_ids(x, method="rq", n_subspaces=4, **settings_)


def test_a_map_keeps_as_many_tokens_over_its_life(tmp_path):
    """append and refit hold what extract held; a map that does not say goes on as it was."""
    x = clustered(900, 6, clusters=5)
    x[:60] = x[0]
    ids = np.arange(900)
    sids = semantic_ids(x[:700], ids[:700], n_subspaces=2, n_codewords=24, coarse=(6,), keep=2)
    path = tmp_path / "sids.parquet"
    sids.save(path)
    read = SemanticIds.load(path, sids.model)
    assert read == sids
    assert (read.keep, read.widened()) == (2, sids.widened())
    assert sids.widened() > 0
    copies = np.repeat(x[:1], 30, axis=0)
    whole, delta = read.append(copies, np.arange(1000, 1030))
    assert (whole.keep, delta.keep) == (2, 2)
    assert whole.widened() == sids.widened() + delta.widened()
    # The 24 of the prefix are taken already.
    assert delta.widened() == 30
    # The 576 of the first token are not.
    assert (delta.codes[:, 0] == delta.base_codes[:, 0]).all()
    assert read.refit(x, ids).sids.keep == 2
    silent = SemanticIds(**{**vars(read), "keep": None})
    unsaid, _ = silent.append(copies, np.arange(1000, 1030))
    nothing, _ = SemanticIds(**{**vars(read), "keep": 0}).append(copies, np.arange(1000, 1030))
    np.testing.assert_array_equal(unsaid.codes, nothing.codes)
    assert (unsaid.keep, unsaid.widened()) == (None, 0)
    unsaid.save(path)
    assert SemanticIds.load(path) == unsaid
