"""Moments agree with a float64 reference, whatever the split, whatever the mean."""

from __future__ import annotations

import itertools

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex.errors import InputError
from dqindex.quantizer.moments import Moments


def test_large_mean_does_not_cancel():
    rng = np.random.default_rng(0)
    scale = np.linspace(2, 0.02, 16)
    x = (1000 + rng.normal(size=(20000, 16)) * scale).astype(np.float32)
    reference = np.linalg.eigvalsh(np.cov(x.astype(np.float64).T, bias=True))
    found = np.linalg.eigvalsh(Moments(16).update(x).covariance())
    np.testing.assert_allclose(found, reference, rtol=0, atol=1e-6 * reference.max())

    pca = faiss.PCAMatrix(16, 16)
    pca.train(x)
    theirs = np.sort(faiss.vector_to_array(pca.eigenvalues)) / len(x)
    assert np.abs(theirs - reference).max() > 1e-2 * reference.max()


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(1, 400),
    cuts=st.lists(st.integers(0, 400), max_size=5),
    shift=st.sampled_from([0.0, 1.0, 1e4, -1e6]),
    seed=st.integers(0, 1000),
)
def test_any_split_gives_the_same(n, cuts, shift, seed):
    x = np.random.default_rng(seed).normal(size=(n, 4)) + shift
    whole = Moments(4).update(x)
    edges = sorted({0, n, *(cut for cut in cuts if cut < n)})
    parts = [Moments(4).update(x[a:b]) for a, b in itertools.pairwise(edges)]
    merged = Moments(4)
    for part in parts:
        merged.merge(part)
    assert merged.count == whole.count == n
    np.testing.assert_allclose(merged.mean, x.mean(axis=0), rtol=1e-12)
    reference = np.cov(x.T, bias=True) if n > 1 else np.zeros((4, 4))
    for moments in (whole, merged):
        np.testing.assert_allclose(moments.covariance(), reference, atol=1e-9 * (1 + abs(shift)))


def test_second_moment_is_raw():
    x = np.random.default_rng(0).normal(size=(100, 3)) + 5
    np.testing.assert_allclose(Moments(3).update(x).second_moment(), x.T @ x / 100, rtol=1e-12)


def test_other_width_is_refused():
    with pytest.raises(InputError, match="width 3"):
        Moments(3).update(np.zeros((2, 4)))


def test_moments_of_nothing_add_nothing():
    x = np.random.default_rng(0).normal(size=(30, 3))
    nothing = Moments(3)
    assert nothing.merge(Moments(3)).count == 0
    assert nothing.update(np.zeros((0, 3))).count == 0
    np.testing.assert_array_equal(nothing.covariance(), np.zeros((3, 3)))
    np.testing.assert_array_equal(nothing.second_moment(), np.zeros((3, 3)))
    whole = Moments(3).update(x).merge(Moments(3))
    np.testing.assert_array_equal(whole.covariance(), Moments(3).update(x).covariance())
    one = Moments(2).update(np.array([[3, 4]]))
    assert one.count == 1
    np.testing.assert_array_equal(one.mean, [3, 4])
    np.testing.assert_array_equal(one.second_moment(), [[9, 12], [12, 16]])


@pytest.mark.parametrize(
    "wrong",
    [
        [[1.0, 2.0]],
        np.zeros(2),
        np.zeros((1, 1, 2)),
        np.array([["a", "b"]]),
        np.array([[True, False]]),
    ],
)
def test_only_matrices_of_numbers_are_taken(wrong):
    with pytest.raises(
        InputError, match=r"Moments: block is not an array|width 2 cannot take shape"
    ):
        Moments(2).update(wrong)
    with pytest.raises(InputError, match="width 2 cannot take those of width 3"):
        Moments(2).merge(Moments(3))
