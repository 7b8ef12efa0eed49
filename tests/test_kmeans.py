"""k-means step by step: against what each step must be, written out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex import ProductCodebooks
from dqindex.errors import DQWarning, RangeError
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer import kmeans
from dqindex.quantizer.kmeans import cluster_sums, sphere_radius, train_kmeans
from dqindex.quantizer.nearest import nearest, nearest_in_pieces
from dqindex.vectors.extent import check_labels


def lloyd(x: np.ndarray, centroids: np.ndarray, rounds: int) -> np.ndarray:
    """Lloyd's algorithm in float64, without empty clusters."""
    centroids = centroids.astype(np.float64)
    for _ in range(rounds):
        far = ((x[:, None].astype(np.float64) - centroids[None]) ** 2).sum(axis=2)
        labels = far.argmin(axis=1)
        centroids = np.stack([x[labels == one].mean(axis=0) for one in range(len(centroids))])
    return centroids


def objective(x: np.ndarray, centroids: np.ndarray) -> float:
    return float(nearest(x, centroids)[1].sum(dtype=np.float64))


@pytest.fixture(scope="module")
def x():
    return clustered(1500, 6, seed=2, clusters=12)


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_rounds_are_those_of_lloyd(x, rounds):
    start = x[::150]
    found, spare = train_kmeans(x, 10, start=start, n_iter=rounds)
    np.testing.assert_allclose(found, lloyd(x, start, rounds), rtol=1e-4, atol=1e-4)
    assert spare == 0
    np.testing.assert_array_equal(start, x[::150])  # a start is not written to


def test_sums_and_sizes_of_clusters(x):
    labels = np.random.default_rng(0).integers(7, size=len(x)) * 2  # every other is empty
    sums, sizes = cluster_sums(x, labels, 15)
    assert sums.shape == (15, 6)
    for one in range(15):
        assert sizes[one] == (labels == one).sum()
        np.testing.assert_allclose(sums[one], x[labels == one].sum(axis=0), rtol=1e-4, atol=1e-3)


def test_an_empty_cluster_starts_at_the_row_that_is_served_worst():
    x = np.array([[0, 0], [1, 0], [0, 1], [50, 0], [9, 9]], dtype=np.float32)
    # The last two centroids are nearest to nothing.
    start = np.array([[0, 0], [500, 500], [600, 600]], dtype=np.float32)
    found, _ = train_kmeans(x, 3, start=start, n_iter=1)
    np.testing.assert_allclose(found[0], x.mean(axis=0))
    np.testing.assert_array_equal(found[1:], [[50, 0], [9, 9]])  # the worst first


@pytest.mark.parametrize("distinct", [1, 4, 9, 10, 11])
@pytest.mark.parametrize("late", [False, True])
def test_few_distinct_rows(distinct, late):
    rows = np.random.default_rng(distinct).normal(size=(distinct, 3)).astype(np.float32)
    x = np.repeat(rows, 30, axis=0)
    if late:  # beyond the rows that are looked at first
        x = np.concatenate([np.repeat(rows[:1], 400, axis=0), x])
    found, spare = train_kmeans(x, 10)
    if distinct <= 10:
        assert spare == 10 - distinct
        np.testing.assert_array_equal(found[:distinct], np.unique(rows, axis=0))
        np.testing.assert_array_equal(found[distinct:], np.repeat(found[:1], spare, axis=0))
    else:
        assert spare == 0
        assert len(np.unique(found, axis=0)) == 10


def test_zero_has_one_sign():
    x = np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 2.0]], dtype=np.float32)
    found, spare = train_kmeans(x, 3)
    assert spare == 1
    np.testing.assert_array_equal(found, [[0, 1], [2, 2], [0, 1]])


def test_the_best_of_several_starts_is_kept(x):
    runs = [train_kmeans(x, 12, seed=seed, n_iter=4, init="random")[0] for seed in (5, 6, 7)]
    best = min(runs, key=lambda run: objective(x, run))
    # Which is best is told by the objective of the last round but one; here they agree.
    found = train_kmeans(x, 12, seed=5, n_iter=4, n_redo=3, init="random")[0]
    assert any(np.array_equal(found, run) for run in runs)
    assert objective(x, found) <= 1.02 * objective(x, best)
    assert not np.array_equal(runs[0], runs[1])


def test_a_random_start_is_rows_of_its_seed(x):
    start = kmeans._start(x, 20, "random", 3)
    again = kmeans._start(x, 20, "random", 3)
    np.testing.assert_array_equal(start, again)
    assert len(np.unique(start, axis=0)) == 20
    assert all((x == row).all(axis=1).any() for row in start)
    assert not np.array_equal(start, kmeans._start(x, 20, "random", 4))


def test_k_means_plus_plus_spreads(x):
    spread = np.mean([objective(x, kmeans._start(x, 12, "k-means++", s)) for s in range(8)])
    random = np.mean([objective(x, kmeans._start(x, 12, "random", s)) for s in range(8)])
    assert spread < random
    # It looks at a part of the rows where there are many, all of them where there are few.
    far = np.concatenate([np.zeros((10, 6)), np.full((1, 6), 100)]).astype(np.float32)
    assert (kmeans._start(far + np.eye(11, 6, dtype=np.float32), 2, "k-means++", 0) > 90).any()


def test_the_approximate_start_for_many_centroids(x, monkeypatch):
    exact = kmeans._start(x, 12, "k-means++", 0)
    monkeypatch.setattr(kmeans, "EXACT_START_UP_TO", 11)
    other = kmeans._start(x, 12, "k-means++", 0)
    assert other.shape == exact.shape
    assert not np.array_equal(other, exact)
    monkeypatch.setattr(kmeans, "EXACT_START_UP_TO", 12)
    np.testing.assert_array_equal(kmeans._start(x, 12, "k-means++", 0), exact)


def test_it_ends_where_nothing_moves(x, monkeypatch):
    rounds = []

    def counted(*args, **options):
        rounds.append(1)
        return nearest_in_pieces(*args, **options)

    monkeypatch.setattr(kmeans, "nearest_in_pieces", counted)
    once = train_kmeans(x, 5, n_iter=1000)[0]
    assert len(rounds) < 200
    np.testing.assert_array_equal(train_kmeans(x, 5, n_iter=2000)[0], once)


@pytest.mark.parametrize("spherical", [False, True])
def test_the_same_on_one_thread_and_many(x, spherical):
    made = []
    for threads, parallel in ((1, True), (2, True), (2, False)):
        with thread_limit(threads):
            made.append(train_kmeans(x, 9, spherical=spherical, parallel=parallel, n_redo=2)[0])
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


def test_spherical_centroids_serve_the_direction(x):
    found, _ = train_kmeans(x, 8, spherical=True, n_iter=30)
    labels = (x.astype(np.float64) @ found.T).argmax(axis=1)
    for one in np.unique(labels):
        mean = x[labels == one].sum(axis=0)
        assert mean @ found[one] > 0.999 * np.linalg.norm(mean)


@pytest.mark.parametrize(
    ("norm", "radius"),
    [(0, 1), (1, 1), (2.0**8, 1), (2.0**-8, 1), (300, 256), (1 / 300, 2**-8), (3e6, 2.0**22)],
)
def test_the_radius_follows_the_vectors_where_they_are_far_from_one(norm, radius):
    x = np.zeros((5, 2), dtype=np.float32)
    x[:, 0] = norm
    x[0] *= 1000  # one that is longer decides nothing
    assert sphere_radius(x) == radius
    found, _ = train_kmeans(np.float32(norm) * np.eye(4, dtype=np.float32), 2, spherical=True)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), radius if norm else 0, rtol=1e-6)


def test_a_distance_that_float32_lacks_is_no_label():
    far = np.full((3, 2), 1e20, dtype=np.float32)
    with pytest.raises(RangeError, match="beyond float32"):
        nearest(far, -far)
    assert check_labels(np.array([0, 3])).tolist() == [0, 3]
    assert not len(check_labels(np.empty(0, dtype=np.int64)))


def test_each_subspace_has_a_seed_of_its_own(x):
    # Level l of a seed is level 0 of the seed l later, on the same numbers.
    twice = np.concatenate([x, x], axis=1)
    both = ProductCodebooks(2, 12, seed=3, n_iter=2).fit(twice).codebooks_
    for level in (0, 1):
        (alone,) = ProductCodebooks(1, 12, seed=3 + level, n_iter=2).fit(x).codebooks_
        np.testing.assert_array_equal(both[level], alone)
    assert not np.array_equal(*both)


def test_a_cluster_of_one_row_is_that_row():
    x = np.array([[2, 2], [10, 10], [10, 12], [30, 0]], dtype=np.float32)
    start = np.array([[3, 3], [10, 10], [40, 0]], dtype=np.float32)
    found, spare = train_kmeans(x, 3, start=start, n_iter=1)
    np.testing.assert_array_equal(found, [[2, 2], [10, 11], [30, 0]])
    assert spare == 0


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 12),
    k=st.integers(1, 40),
    d=st.integers(1, 5),
    rounds=st.integers(1, 6),
    spherical=st.booleans(),
    share=st.sampled_from([None, 0.9]),
    repeated=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_any_number_of_rows_from_any_start(n, k, d, rounds, spherical, share, repeated, seed):
    """Also fewer rows than centroids: those without rows stay what they are."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float32)
    if repeated:
        x[:] = x[rng.integers(0, (n + 1) // 2, n)]
    start = rng.normal(size=(k, d)).astype(np.float32)
    given_start = start.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DQWarning)  # rows that are the same can't be split
        found, spare = train_kmeans(
            x, k, start=start, n_iter=rounds, spherical=spherical, max_share=share
        )
    assert found.shape == (k, d)
    assert np.isfinite(found).all()
    assert spare == 0
    np.testing.assert_array_equal(start, given_start)
    if not spherical:
        if share is None:
            assert objective(x, found) <= objective(x, start) * (1 + 1e-4) + 1e-5
        if n < k and share is None:
            unchanged = (found == start).all(axis=1).sum()
            assert unchanged >= k - rounds * n
            used = np.unique(((x[:, None] - start[None]) ** 2).sum(axis=2).argmin(axis=1))
            if rounds == 1:
                assert unchanged >= k - len(used)
