"""ProductCodebooks: as good as FAISS's own, any size, and honest about what it can't fill."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex import DQTransform, ProductCodebooks
from dqindex.errors import DQWarning, InputError, NonFiniteError, NotFittedError


@pytest.fixture(scope="module")
def projected(vectors):
    return DQTransform(4).fit_transform(vectors)


def error(x: np.ndarray, back: np.ndarray) -> float:
    return float(((x - back) ** 2).sum(axis=1).mean())


def test_no_worse_than_faiss(projected):
    ours = ProductCodebooks(4, 64, n_iter=25).fit(projected)
    theirs = faiss.ProductQuantizer(24, 4, 6)
    theirs.train(projected)
    faiss_error = error(projected, theirs.decode(theirs.compute_codes(projected)))
    assert error(projected, ours.decode(ours.encode(projected))) <= 1.02 * faiss_error


def test_codes_are_the_nearest_codewords(projected):
    pq = ProductCodebooks(4, [16, 100, 7, 300]).fit(projected)
    codes = pq.encode(projected)
    assert codes.dtype == np.uint16
    for level, codebook in enumerate(pq.codebooks_):
        part = projected[:, level * 6 : level * 6 + 6].astype(np.float64)
        distances = ((part[:, None] - codebook[None].astype(np.float64)) ** 2).sum(axis=2)
        chosen = distances[np.arange(len(part)), codes[:, level]]
        np.testing.assert_allclose(chosen, distances.min(axis=1), atol=1e-4)


def test_codewords_are_a_fixed_point_of_k_means(projected):
    pq = ProductCodebooks(2, 8, n_iter=200, max_points_per_codeword=10**6).fit(projected)
    codes = pq.encode(projected)
    for level, codebook in enumerate(pq.codebooks_):
        part = projected[:, level * 12 : level * 12 + 12]
        means = [part[codes[:, level] == code].mean(axis=0) for code in range(8)]
        np.testing.assert_allclose(codebook, means, atol=1e-3)


@pytest.mark.parametrize(("k", "dtype"), [(2, "u1"), (256, "u1"), (257, "u2"), (1000, "u2")])
def test_dtype_is_the_smallest_that_fits(projected, k, dtype):
    codes = ProductCodebooks(2, k, n_iter=2).fit(projected).encode(projected)
    assert codes.dtype == np.dtype(dtype)
    assert codes.max() < k


def test_same_seed_same_codebooks_at_any_thread_count(projected):
    before = faiss.omp_get_max_threads()
    made = []
    for threads in (1, 2, 3):
        faiss.omp_set_num_threads(threads)
        made.append(ProductCodebooks(4, 64, seed=7).fit(projected))
    faiss.omp_set_num_threads(before)
    for other in made[1:]:
        np.testing.assert_array_equal(other.codebooks_, made[0].codebooks_)
        np.testing.assert_array_equal(other.encode(projected), made[0].encode(projected))
    assert not np.array_equal(
        ProductCodebooks(4, 64, seed=8).fit(projected).codebooks_, made[0].codebooks_
    )


@pytest.mark.parametrize("n", [1, 3, 15])
def test_fewer_vectors_than_codewords(projected, n):
    few = projected[:n]
    with pytest.warns(DQWarning, match="fewer distinct training vectors"):
        pq = ProductCodebooks(4, 16).fit(few)
    assert pq.unused_codewords_.tolist() == [16 - n] * 4
    assert all(np.isfinite(codebook).all() for codebook in pq.codebooks_)
    np.testing.assert_array_equal(pq.decode(pq.encode(few)), few)


def test_fewer_distinct_vectors_than_codewords(projected):
    repeated = np.repeat(projected[:5], 1000, axis=0)
    with pytest.warns(DQWarning, match="11 codewords are unused|44 codewords are unused"):
        pq = ProductCodebooks(4, 16).fit(repeated)
    assert pq.unused_codewords_.tolist() == [11] * 4
    np.testing.assert_array_equal(pq.decode(pq.encode(repeated)), repeated)


def test_constant_vectors():
    with pytest.warns(DQWarning):
        pq = ProductCodebooks(2, 4).fit(np.ones((100, 4)))
    np.testing.assert_array_equal(pq.decode(pq.encode(np.ones((3, 4)))), np.ones((3, 4)))


def test_more_redos_are_no_worse(projected):
    once = ProductCodebooks(1, 16, seed=1).fit(projected)
    thrice = ProductCodebooks(1, 16, seed=1, n_redo=4).fit(projected)
    assert error(projected, thrice.decode(thrice.encode(projected))) <= error(
        projected, once.decode(once.encode(projected))
    ) * (1 + 1e-6)


@settings(max_examples=25, deadline=None)
@given(
    levels=st.integers(1, 5),
    size=st.integers(1, 4),
    k=st.integers(1, 40),
    n=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_round_trip_of_codes(levels, size, k, n, seed):
    import warnings

    y = np.random.default_rng(seed).normal(size=(n, levels * size)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DQWarning)
        pq = ProductCodebooks(levels, k, n_iter=3).fit(y)
    codes = pq.encode(y)
    assert codes.shape == (n, levels)
    # A codeword codes to itself, or to an equal one.
    np.testing.assert_array_equal(pq.decode(pq.encode(pq.decode(codes))), pq.decode(codes))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"n_codewords": 0}, "n_codewords is 0"),
        ({"n_codewords": [4, 0]}, "n_codewords is"),
        ({"n_codewords": [4, 4, 4]}, "lists 3 sizes for 2 subspaces"),
        ({"init": "pca"}, "init is 'pca'"),
        ({"n_iter": 0}, "n_iter is 0"),
        ({"n_subspaces": 5}, "5 subspaces do not divide width 24"),
    ],
)
def test_bad_parameters(projected, settings_, message):
    with pytest.raises(InputError, match=message):
        ProductCodebooks(**{"n_subspaces": 2, **settings_}).fit(projected)


def test_bad_input(projected):
    with pytest.raises(NotFittedError):
        ProductCodebooks().encode(projected)
    pq = ProductCodebooks(2, 4).fit(projected)
    with pytest.raises(InputError, match="expecting 24"):
        pq.encode(projected[:, :5])
    with pytest.raises(InputError, match="code 4 in row 1, column 0; codes there are from 0 to 3"):
        pq.decode([[0, 0], [4, 0]])
    with pytest.raises(InputError, match="code -1 in row 0"):
        pq.decode([[0, -1]])
    with pytest.raises(InputError, match="dtype float64"):
        pq.decode([[0.5, 0.5]])
    with pytest.raises(NonFiniteError):
        pq.fit(np.full((10, 4), np.nan))


def test_a_start_keeps_its_labels(projected):
    whole = ProductCodebooks(4, 8, n_iter=3).fit(projected)
    turned = [book[::-1] for book in whole.codebooks_]
    kept = ProductCodebooks(4, 8, n_iter=1).fit(projected, start=turned)
    for book, start in zip(kept.codebooks_, turned, strict=True):
        far = ((book[:, None] - start[None]) ** 2).sum(axis=2)
        np.testing.assert_array_equal(far.argmin(axis=1), range(8))
    for wrong in (turned[:3], [book[:7] for book in turned], [book[:, :5] for book in turned]):
        with pytest.raises(InputError, match="start has shapes"):
            ProductCodebooks(4, 8).fit(projected, start=wrong)


def test_progress_is_told_a_subspace_at_a_time(projected):
    told = []
    ProductCodebooks(4, 8, n_iter=1).fit(projected, progress=lambda *step: told.append(step))
    assert told == [("train codebooks", done, 4) for done in (1, 2, 3, 4)]


def test_codebooks_of_elsewhere(projected):
    books = [np.eye(2), np.zeros((3, 2))]
    made = ProductCodebooks.from_codebooks(books, seed=5)
    assert (made.n_subspaces, made.n_codewords, made.seed) == (2, [2, 3], 5)
    assert made.n_features_in_ == 4
    assert made.unused_codewords_.tolist() == [0, 0]
    assert ProductCodebooks.from_codebooks(books[:1]).n_codewords == 2
    assert made.codebooks_[0].dtype == np.float32
    for wrong, message in (
        ([np.eye(2), np.eye(3)], r"different widths \[2, 3\]"),
        ([], "at least 1"),
        ([[1.0, 2.0]], "expected a 2-d array"),
        ([np.full((2, 2), np.nan)], "NaN"),
    ):
        with pytest.raises(InputError, match=message):
            ProductCodebooks.from_codebooks(wrong)
    with pytest.raises(InputError, match="leave it out"):
        ProductCodebooks.from_codebooks(books, n_codewords=2)
    with pytest.raises(InputError, match="no parameter"):
        ProductCodebooks.from_codebooks(books, nope=2)


def test_no_more_rows_are_used_than_asked_for(projected):
    few = ProductCodebooks(2, 4, max_points_per_codeword=10, n_iter=1, init="random")
    assert few.training_rows() == 40
    assert ProductCodebooks(2, [4, 6], max_points_per_codeword=10).training_rows() == 60
    rows = np.sort(np.random.default_rng(0).choice(len(projected), 40, replace=False))
    expected = ProductCodebooks(2, 4, n_iter=1, init="random").fit(projected[rows])
    for one, other in zip(few.fit(projected).codebooks_, expected.codebooks_, strict=True):
        np.testing.assert_array_equal(one, other)
