"""Collisions: every ID unique, each moved item at its nearest free tuple, in any input order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex import DQModel
from dqindex.errors import InputError, NonFiniteError
from dqindex.sids.nearest_tuples import CandidateSearch
from dqindex.sids.semantic_ids import semantic_ids
from dqindex.sids.tuples import TupleSet
from dqindex.sids.unique import check_capacity


def brute_force(model: DQModel, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All tuples there are, and the distortion of each for each vector, in float64."""
    tuples = np.array(list(itertools.product(*(range(size) for size in model.code_sizes()))))
    decoded = model.decode(tuples).astype(np.float64)
    return tuples, ((vectors[:, None].astype(np.float64) - decoded[None]) ** 2).sum(axis=2)


@pytest.mark.parametrize("coarse", [(), (3,), (3, 2)])
@pytest.mark.parametrize("n_components", [None, 4])
@pytest.mark.parametrize("count", [1, 7, 40, 10**4])
def test_candidates_are_the_nearest_tuples(coarse, n_components, count):
    x = clustered(400, 6)
    model = DQModel(3, [4, 5, 3], coarse=coarse, n_components=n_components).fit(x)
    tuples, distances = brute_force(model, x[:20])
    codes, sums = CandidateSearch(model).nearest(x[:20], model.encode(x[:20]), count)
    expected = np.sort(distances, axis=1)[:, :count]
    assert codes.shape[1] == min(count, len(tuples))
    np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-4)
    # Each is a tuple of its own, and has the distortion that is said of it.
    for row in range(20):
        assert len({tuple(one) for one in codes[row].tolist()}) == codes.shape[1]
    decoded = model.decode(codes.reshape(-1, codes.shape[2])).reshape(*codes.shape[:2], 6)
    direct = ((decoded - x[:20, None].astype(np.float64)) ** 2).sum(axis=2)
    np.testing.assert_allclose(sums, direct, rtol=1e-4, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(20, 60),
    twins=st.integers(0, 30),
    sizes=st.lists(st.integers(2, 5), min_size=2, max_size=3),
    cap=st.integers(1, 3),
    seed=st.integers(0, 10**6),
)
def test_reassign_against_a_simulation(n, twins, sizes, cap, seed):
    """The serial rule, written out: one item after another, all tuples in sight."""
    levels = len(sizes)
    x = clustered(n, 2 * levels, seed=seed, clusters=4)
    x = np.concatenate([x, np.repeat(x[:1], twins, axis=0)])
    if len(x) > int(np.prod(sizes)) * cap:
        with pytest.raises(InputError, match="IDs; use more levels"):
            semantic_ids(x, n_subspaces=levels, n_codewords=sizes, unique="cap", cap=cap)
        return
    sids = semantic_ids(x, n_subspaces=levels, n_codewords=sizes, unique="cap", cap=cap)
    counts = TupleSet(sids.codes, sids.sizes).counts
    assert counts.max() <= cap

    tuples, distances = brute_force(sids.model, x)
    number = {tuple(one): place for place, one in enumerate(tuples.tolist())}
    base = np.array([number[tuple(one)] for one in sids.base_codes.tolist()])
    got = np.array([number[tuple(one)] for one in sids.codes.tolist()])
    moved = np.flatnonzero(got != base)
    stayed = np.flatnonzero(got == base)
    # The nearest keep: none that stayed is farther than one that moved from the same tuple.
    own = distances[np.arange(len(x)), base]
    for tuple_ in np.unique(base[moved]):
        stay = own[stayed[base[stayed] == tuple_]]
        assert len(stay) == cap
        assert stay.max() <= own[moved[base[moved] == tuple_]].min() + 1e-4
    # Each that moved took the nearest tuple with room at its turn: whatever is nearer to it is
    # full, of items that stayed there or whose turn came no later (near ties go either way).
    for row in moved:
        nearer = np.flatnonzero(distances[row] < distances[row, got[row]] - 1e-3)
        for tuple_ in nearer:
            there = np.flatnonzero(got == tuple_)
            assert len(there) == cap
            later = there[(got[there] != base[there]) & (own[there] > own[row] + 1e-3)]
            assert not len(later)
    np.testing.assert_allclose(
        sids.distortion, distances[np.arange(len(x)), got], rtol=1e-3, atol=1e-3
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), unique=st.sampled_from(["reassign", "suffix", "cap"]))
def test_the_order_of_the_input_does_not_matter(seed, unique):
    x = clustered(600, 6, clusters=5)
    x[:40] = x[0]
    ids = np.array([f"i{row:03d}" for row in range(len(x))])
    model = DQModel(3, 12).fit(x)
    settings_ = {"model": model, "unique": unique, "cap": 2 if unique == "cap" else 1}
    first = semantic_ids(x, ids, **settings_)
    order = np.random.default_rng(seed).permutation(len(x))
    second = semantic_ids(x[order], ids[order], threads=1, **settings_)
    np.testing.assert_array_equal(second.codes, first.codes[order])
    np.testing.assert_array_equal(second.base_codes, first.base_codes[order])


@pytest.mark.parametrize(
    ("ids", "keeper"),
    [([10, 9, 200, -3], 3), (["b", "a", "aa", "B"], 3), ([7, 8, 9, 10], 0), (None, 0)],
)
def test_of_equals_the_least_id_keeps_the_shared_id(ids, keeper):
    """Numbers by value, text by code point; and where there are no ids, the first row."""
    x = clustered(400, 6)
    model = DQModel(3, 8).fit(x)
    twins = np.repeat(x[:1], 4, axis=0)
    sids = semantic_ids(twins, ids, model=model)
    kept = np.flatnonzero((sids.codes == sids.base_codes).all(axis=1))
    assert kept.tolist() == [keeper]
    counted = semantic_ids(twins, ids, model=model, unique="suffix")
    assert counted.codes[keeper, -1] == 0


@pytest.mark.parametrize("ids", [[1, 2, 3], [3, 2, 1], ["x", "y", "z"]])
def test_the_nearest_to_its_codewords_keeps_the_shared_id(ids):
    """Whatever the ids are: they decide between equals alone."""
    model = DQModel(3, 8).fit(clustered(400, 6))
    codeword = model.decode(model.encode(clustered(400, 6)[:1]))
    off = np.zeros((3, 6), dtype=np.float32)
    off[0, 0], off[1, 0], off[2, 0] = 3e-3, 1e-3, 2e-3
    sids = semantic_ids(codeword + off, ids, model=model)
    kept = np.flatnonzero((sids.codes == sids.base_codes).all(axis=1))
    assert kept.tolist() == [1]
    counted = semantic_ids(codeword + off, ids, model=model, unique="suffix")
    assert counted.codes[:, -1].tolist() == [2, 0, 1]


def test_thousands_of_identical_vectors():
    x = clustered(4000, 8)
    x[:3000] = x[0]
    sids = semantic_ids(x, n_subspaces=4, n_codewords=16)
    assert sids.unique_share() == 1.0
    # The copies fill the neighbourhood of their tuple in the order of distortion.
    again = np.sort(sids.distortion[:3000])
    _, distances = brute_force(sids.model, x[:1])
    assert again[0] == pytest.approx(distances.min(), rel=1e-3)
    assert again.max() <= np.sort(distances[0])[4000] * 1.001


def test_a_full_house():
    # As many items as tuples: everyone gets one, the last ones far from where they belong.
    x = clustered(64, 6)
    sids = semantic_ids(x, n_subspaces=3, n_codewords=4)
    assert sids.unique_share() == 1.0
    with pytest.raises(InputError, match=r"65 items, but 4 x 4 x 4 codes make only 64 IDs"):
        semantic_ids(clustered(65, 6), n_subspaces=3, n_codewords=4)
    with pytest.raises(InputError, match="2 items, but 1 code makes only 1 ID;"):
        check_capacity(2, [1], 1)
    with pytest.raises(InputError, match="2 items, but 1 x 1 codes make only 1 ID;"):
        check_capacity(2, [1, 1], 1)
    with pytest.raises(InputError, match="9 items, but 2 x 2 codes with 2 items each make only 8"):
        semantic_ids(clustered(9, 6), n_subspaces=2, n_codewords=2, unique="cap", cap=2)


def test_modes(vectors):
    made = {
        mode: semantic_ids(vectors, n_subspaces=3, n_codewords=12, unique=mode)
        for mode in ("none", "suffix")
    }
    none, suffix = made["none"], made["suffix"]
    np.testing.assert_array_equal(none.codes, none.base_codes)
    assert none.unique_share() < 1
    assert suffix.unique_share() == 1.0
    assert suffix.codes.shape == (4000, 4)
    np.testing.assert_array_equal(suffix.codes[:, :3], none.codes)
    largest = TupleSet(none.codes, none.sizes).counts.max()
    assert suffix.sizes == [12, 12, 12, largest]
    # Within a group the suffix counts from 0, the nearest first.
    numbers = TupleSet(none.codes, none.sizes).numbers
    for group in np.unique(numbers)[:50]:
        rows = np.flatnonzero(numbers == group)
        assert sorted(suffix.codes[rows, 3]) == list(range(len(rows)))
        assert (np.diff(suffix.distortion[rows[np.argsort(suffix.codes[rows, 3])]]) >= 0).all()


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"unique": "maybe"}, "unique is 'maybe'"),
        ({"cap": 0, "unique": "cap"}, "cap is 0"),
        ({"cap": 2}, "cap is 2, but unique is 'reassign'"),
        ({"n_codewords": [4, 4]}, "lists 2 sizes for 8 subspaces"),
        ({"ids": [1] * 4000}, "occur more than once"),
    ],
)
def test_bad_settings(vectors, settings_, message):
    with pytest.raises(InputError, match=message):
        semantic_ids(vectors, **settings_)


def test_bad_vectors(vectors):
    broken = vectors.copy()
    broken[7] = np.nan
    with pytest.raises(NonFiniteError, match="first row 7"):
        semantic_ids(broken)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    sizes=st.lists(st.sampled_from([1, 2, 3, 256, 4096, 2**31 - 1]), min_size=1, max_size=70),
    seed=st.integers(0, 10**6),
)
def test_tuple_set_against_python_sets(n, sizes, seed):
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(min(size, 3), size=n) for size in sizes], axis=1).astype(
        np.int32
    )
    found = TupleSet(codes, sizes)
    assert len(found.counts) == len({tuple(row) for row in codes.tolist()})
    np.testing.assert_array_equal(found.find(codes), found.numbers)
    other = np.stack([rng.integers(size, size=n) for size in sizes], axis=1).astype(np.int32)
    known = {tuple(row) for row in codes.tolist()}
    np.testing.assert_array_equal(
        found.find(other) >= 0, [tuple(row) in known for row in other.tolist()]
    )
    assert (TupleSet(codes[:0], sizes).find(other) == -1).all()
