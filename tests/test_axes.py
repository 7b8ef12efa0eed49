"""Principal axes: those of the matrix, in one order and of one sign, and how many count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex.quantizer.axes import principal_axes, rank_of

EPS = float(np.finfo(np.float64).eps)


@settings(max_examples=30, deadline=None)
@given(d=st.integers(1, 12), seed=st.integers(0, 999))
def test_they_are_the_eigenvectors_with_one_sign(d, seed):
    rows = np.random.default_rng(seed).normal(size=(3 * d, d))
    matrix = rows.T @ rows
    values, axes = principal_axes(matrix)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(axes @ axes.T, np.eye(d), atol=1e-9)
    np.testing.assert_allclose(axes.T @ (values[:, None] * axes), matrix, atol=1e-9 * values[0])
    largest = np.abs(axes).argmax(axis=1)
    assert (axes[np.arange(d), largest] > 0).all()


def test_the_first_of_entries_that_tie_is_positive():
    # Axes (1, 1) and (1, -1), and then of three equal entries.
    _, axes = principal_axes(np.array([[1.0, -0.5], [-0.5, 1.0]]))
    np.testing.assert_allclose(axes, np.array([[1, -1], [1, 1]]) / np.sqrt(2), atol=1e-12)
    one = np.array([1.0, -1.0, -1.0]) / np.sqrt(3)
    for sign in (1, -1):
        _, axes = principal_axes(np.outer(sign * one, sign * one) + 0.1 * np.eye(3))
        np.testing.assert_allclose(axes[0], one, atol=1e-9)


def test_a_variance_is_not_negative():
    values, _ = principal_axes(np.diag([1.0, -1e-18, 0.0]))
    assert values.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e9])
def test_what_is_rounding_does_not_count(d, scale):
    bound = 64 * EPS * d
    variances = np.zeros(d)
    variances[0] = scale
    assert rank_of(variances) == 1
    variances[1] = 1.1 * bound * scale
    assert rank_of(variances) == 2
    variances[1] = 0.9 * bound * scale
    assert rank_of(variances) == 1
    assert rank_of(np.zeros(d)) == 0
