"""Samples by the hash of an id: the same rows, whatever the order of rows and files."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dqindex
from dqindex.vectors import id_hash, open_vectors
from dqindex.vectors.id_hash import id_hashes


def clusters(n, d=16, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, d)) * 3
    return (centres[rng.integers(40, size=n)] + rng.normal(size=(n, d))).astype(np.float32)


def table(vectors, ids):
    flat = pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
    return pa.table({"id": ids, "vector": flat})


texts = st.lists(st.text(max_size=12), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(texts, st.integers(0, 2**40), st.integers(1, 9), st.randoms(use_true_random=False))
def test_the_hash_of_an_id_is_its_own(ids, seed, block, random):
    """Neither its neighbours, nor the block, nor the type of text change it."""
    whole = dict(zip(ids, id_hashes(pa.array(ids), seed), strict=True))
    shuffled = random.sample(ids, len(ids))
    for kind in (pa.string(), pa.large_string()):
        for value, hashed in zip(shuffled, id_hashes(pa.array(shuffled, kind), seed), strict=True):
            assert whole[value] == hashed
    assert len(set(whole.values())) == len(whole)  # of 40, two agree once in 10^16 runs
    sliced = pa.array([*ids, "x"])[block % len(ids) :]
    assert whole[sliced[0].as_py()] == id_hashes(sliced, seed)[0] if len(sliced) > 1 else True
    before, id_hash.TEXT_BYTES = id_hash.TEXT_BYTES, block
    try:
        np.testing.assert_array_equal(id_hashes(pa.array(ids), seed), list(map(whole.get, ids)))
    finally:
        id_hash.TEXT_BYTES = before


def test_integers_are_hashed_by_value_in_any_type():
    values = [0, 1, 5, 100]
    hashes = [
        id_hashes(pa.array(values, getattr(pa, kind)()), 3).tolist()
        for kind in ("int8", "uint8", "int16", "int32", "int64", "uint64")
    ]
    assert all(each == hashes[0] for each in hashes)
    assert id_hashes(pa.array([-1], pa.int8()), 0) == id_hashes(pa.array([-1], pa.int64()), 0)


@pytest.mark.parametrize("make", [np.arange, lambda n: [f"item-{row}" for row in range(n)]])
def test_hashes_are_uniform_and_another_seed_draws_others(make):
    """Chi-squared over 64 bins of the top bits, and the low ones; 3 in 10^5 pass 120."""
    ids = pa.array(make(20_000))
    first, second = id_hashes(ids, 0), id_hashes(ids, 1)
    for hashes in (first, second, first ^ second):
        for bins in (hashes >> np.uint64(58), hashes & np.uint64(63)):
            counts = np.bincount(bins.astype(np.int64), minlength=64)
            assert ((counts - 20_000 / 64) ** 2 / (20_000 / 64)).sum() < 120


def test_a_sample_is_of_the_same_items_in_any_order(tmp_path):
    vectors = clusters(3000)
    ids = np.array([hashlib.sha1(str(row).encode()).hexdigest() for row in range(3000)])
    order = np.random.default_rng(1).permutation(3000)
    whole = open_vectors(table(vectors, ids))
    folder = tmp_path / "parts"
    folder.mkdir()
    for part, rows in enumerate(np.array_split(order, 5)):
        pq.write_table(table(vectors[rows], ids[rows]), folder / f"part-{part}.parquet")
    parts = open_vectors(folder)
    for k in (1, 500, 2999, 3000, 9000):
        np.testing.assert_array_equal(whole.sample(k, seed=2), parts.sample(k, seed=2))
    assert not np.array_equal(whole.sample(500, seed=2), whole.sample(500, seed=3))
    # A smaller sample is the start of a larger one, so that models of more rows share theirs.
    np.testing.assert_array_equal(whole.sample(900)[:500], whole.sample(500))


def test_ids_that_no_catalogue_may_have_draw_all_the_same():
    vectors = clusters(60)
    twice = pa.array([None if row % 7 == 0 else row // 2 for row in range(60)])
    source = open_vectors(table(vectors, twice))
    assert len(np.unique(source.sample(50), axis=0)) == 50


@pytest.mark.parametrize(
    "new_model",
    [
        lambda: dqindex.DQModel(2, 64, max_points_per_codeword=20),
        lambda: dqindex.DQModel(2, 64, coarse=(16,), max_points_per_codeword=20),
        lambda: dqindex.DQModel.rq(3, 64, max_points_per_codeword=20),
    ],
    ids=["dq", "coarse", "rq"],
)
def test_semantic_ids_do_not_depend_on_the_order_of_rows(new_model):
    """Neither does the model that is fitted on a sample of them: README's promise."""
    vectors = clusters(3000)
    vectors[100:140] = vectors[100]  # items that want the same tuple
    ids = np.arange(3000) * 3 + 7
    order = np.random.default_rng(4).permutation(3000)
    whole, shuffled = (
        dqindex.semantic_ids(vectors[rows], ids[rows], model=new_model())
        for rows in (np.arange(3000), order)
    )
    assert whole.fingerprint == shuffled.fingerprint
    np.testing.assert_array_equal(whole.codes[order], shuffled.codes)


def test_an_index_has_one_training_whatever_the_order_of_rows():
    vectors, ids = clusters(5000), np.arange(5000) + 10
    order = np.random.default_rng(4).permutation(5000)
    whole, shuffled = (
        dqindex.build_index(
            open_vectors(vectors[rows]).with_ids(ids[rows]), "DQ4,IVF8,PQ4", train_rows=3000
        ).search(vectors[:50], 5)
        for rows in (np.arange(5000), order)
    )
    np.testing.assert_array_equal(whole.ids, shuffled.ids)
    np.testing.assert_array_equal(whole.distances, shuffled.distances)
