"""A deal uses every axis once, is never worse than the rules in use, and is near the optimum."""

from __future__ import annotations

import faiss
import nanopq
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from dqindex.errors import InputError
from dqindex.quantizer import balance
from dqindex.quantizer.balance import OBJECTIVES, deal

variances = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=24)


def largest(values: np.ndarray, order: np.ndarray, n_groups: int) -> float:
    padded = np.where(order >= 0, values[np.maximum(order, 0)], 0.0)
    return float(padded.reshape(n_groups, -1).sum(axis=1).max())


def optimum(values: np.ndarray, n_groups: int) -> float:
    """The least possible largest sum, exactly, by integer programming."""
    size = -(-len(values) // n_groups)
    values = np.concatenate([values, np.zeros(n_groups * size - len(values))])
    m = len(values)
    cost = np.zeros(m * n_groups + 1)
    cost[-1] = 1
    rows: list[np.ndarray] = []
    low: list[float] = []
    high: list[float] = []
    for axis in range(m):
        row = np.zeros_like(cost)
        row[axis * n_groups : (axis + 1) * n_groups] = 1
        rows.append(row)
        low.append(1)
        high.append(1)
    for group in range(n_groups):
        row = np.zeros_like(cost)
        row[group:-1:n_groups] = 1
        rows.append(row)
        low.append(size)
        high.append(size)
        row = np.zeros_like(cost)
        row[group:-1:n_groups] = values
        row[-1] = -1
        rows.append(row)
        low.append(-np.inf)
        high.append(0)
    solved = milp(
        cost,
        constraints=LinearConstraint(np.array(rows), low, high),
        integrality=np.r_[np.ones(m * n_groups), 0],
        bounds=Bounds(0, np.r_[np.ones(m * n_groups), np.inf]),
    )
    assert solved.success
    return float(solved.fun)


@settings(max_examples=100, deadline=None)
@given(values=variances, n_groups=st.integers(1, 8), objective=st.sampled_from(OBJECTIVES))
def test_every_axis_is_dealt_once(values, n_groups, objective):
    found = deal(values, n_groups, objective)
    size = -(-len(values) // n_groups)
    assert len(found.order) == n_groups * size
    axes = found.order[found.order >= 0]
    assert sorted(axes) == list(range(len(values)))
    dealt = np.where(found.order >= 0, np.array(values)[found.order], 0.0).reshape(n_groups, size)
    np.testing.assert_allclose(found.sums, dealt.sum(axis=1))
    assert (np.diff(dealt, axis=1) <= 0).all()  # axes descend within a group
    assert (np.diff(dealt[:, 0]) <= 0).all()  # and groups by their first
    assert found.imbalance >= 0


@pytest.mark.parametrize("seed", range(20))
def test_within_one_percent_of_the_optimum(seed):
    rng = np.random.default_rng(seed)
    n_groups = int(rng.integers(2, 5))
    m = int(rng.integers(n_groups, 13))
    values = rng.exponential(size=m) if seed % 2 else rng.integers(1, 12, size=m).astype(float)
    found = deal(values, n_groups)
    assert largest(values, found.order, n_groups) <= 1.01 * optimum(values, n_groups) + 1e-9


@settings(max_examples=60, deadline=None)
@given(n_groups=st.integers(1, 6), size=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_never_worse_than_faiss(n_groups, size, seed):
    m = n_groups * size
    rng = np.random.default_rng(seed)
    values = np.sort(rng.exponential(size=m) ** rng.uniform(0.5, 3)).astype(np.float32)[::-1]
    pca = faiss.PCAMatrix(m, m)
    pca.balanced_bins = n_groups
    faiss.copy_array_to_vector(values.copy(), pca.eigenvalues)
    faiss.copy_array_to_vector(np.eye(m, dtype=np.float32).ravel(), pca.PCAMat)
    faiss.copy_array_to_vector(np.zeros(m, dtype=np.float32), pca.mean)
    pca.prepare_Ab()
    theirs = faiss.vector_to_array(pca.A).reshape(m, m).argmax(axis=1)
    assert sorted(theirs) == list(range(m))
    ours = deal(values, n_groups).order
    assert largest(values, ours, n_groups) <= largest(values, theirs, n_groups) * (1 + 1e-6)


@settings(max_examples=40, deadline=None)
@given(n_groups=st.integers(1, 5), size=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_never_worse_than_nanopq(n_groups, size, seed):
    m = n_groups * size
    if m < 2:
        return  # nanopq takes np.cov of one feature, which is a scalar
    rng = np.random.default_rng(seed)
    # Independent axes: each direction that nanopq returns is one axis, up to its sign.
    x = np.linalg.qr(rng.normal(size=(4 * m + 8, m)))[0]
    x -= x.mean(axis=0)
    scale = np.exp(rng.normal(size=m))
    whitened = np.linalg.solve(np.linalg.cholesky(np.cov(x.T).reshape(m, m)), x.T).T
    rotation = nanopq.OPQ(M=n_groups, verbose=False).eigenvalue_allocation(whitened * scale)
    theirs = np.abs(rotation).argmax(axis=0)
    assert sorted(theirs) == list(range(m))
    logs = np.log(scale**2 / (scale**2).min())
    ours = deal(scale**2, n_groups, "log-variance").order
    assert largest(logs, ours, n_groups) <= largest(logs, theirs, n_groups) + 1e-6


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_ties_are_stable(objective):
    first = deal(np.ones(12), 3, objective)
    np.testing.assert_array_equal(first.order, deal(np.ones(12), 3, objective).order)
    assert first.imbalance == 0
    assert deal([5.0, 5.0, 5.0, 5.0], 2).order.tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_padding_goes_where_it_hurts_least(objective):
    # Where an axis outweighs the others, it is that axis whose company is nothing.
    found = deal([100.0, 1.0, 1.0, 1.0, 1.0], 2, objective)
    first = found.order.reshape(2, 3)[0]
    assert first[0] == 0
    assert -1 in first


@pytest.mark.parametrize(
    ("values", "message"), [([], "non-empty"), ([-1.0], "negative"), ([np.nan], "finite")]
)
def test_bad_variances(values, message):
    with pytest.raises(InputError, match=message):
        deal(values, 2)


def test_bad_settings():
    with pytest.raises(InputError, match="from 1 to 65536"):
        deal([1.0], 0)
    with pytest.raises(InputError, match="'sums'"):
        deal([1.0], 1, "sums")


@pytest.mark.parametrize(
    ("values", "n_groups", "starts"),
    [
        ([1.0] * 12, 3, 1),  # perfect at once
        ([100.0, 1, 1, 1, 1], 2, 1),  # the largest axis, and the least company that it can have
        ([100.0, 7, 3, 2, 1, 1], 2, 1),
        ([5.0, 4, 3], 2, 8),  # 7 against 5 is the best there is, and not even
    ],
)
def test_no_more_starts_than_are_needed(values, n_groups, starts, monkeypatch):
    calls = []
    whole = balance._improve
    monkeypatch.setattr(balance, "_improve", lambda *a: (calls.append(1), whole(*a))[1])
    deal(values, n_groups)
    assert len(calls) == starts


def test_log_variance_ranks_products():
    # Sums are even one way, products the other.
    values = [8.0, 5.0, 4.0, 1.0]
    assert deal(values, 2).order.tolist() == [0, 3, 1, 2]
    assert deal(values, 2).imbalance == 0
    found = deal([8.0, 4.0, 2.0, 1.0], 2, "log-variance")
    assert found.order.tolist() == [0, 3, 1, 2]
    assert found.imbalance == pytest.approx(0)
    np.testing.assert_array_equal(found.sums, [9, 6])  # variances, whatever is made equal
    # log 16, log 8, log 2 and log 1 over the least: 4 + 0 against 3 + 1.
    assert deal([16.0, 8, 2, 1], 2, "log-variance").imbalance == pytest.approx(0)
    # 5 + 0 against 1 + 1 bits: the largest over the mean.
    assert deal([32.0, 2, 2, 1], 2, "log-variance").imbalance == pytest.approx(5 / 3.5 - 1)


def test_an_axis_without_variance_counts_as_the_smallest():
    tiny = np.finfo(np.float64).eps / 2
    for nothing in (0.0, tiny):
        found = deal([4.0, 2.0, 1.0, nothing], 2, "log-variance")
        # Two bits and nothing against one bit and nothing.
        assert found.imbalance == pytest.approx(2 / 1.5 - 1)
    assert deal([0.0, 0.0], 2, "log-variance").imbalance == 0
    assert deal([0.0, 0.0], 2).imbalance == 0


@pytest.mark.parametrize(
    ("n_groups", "objective", "expected"),
    [
        (3, "log-variance", 1.430240207e-04),  # thirteen axes a group: swaps of one for one
        (4, "variance", 9.066183137e-04),
        (6, "variance", 3.022061046e-03),
        (6, "log-variance", 7.148221887e-05),
        (13, "variance", 1.752795406e-02),
        (13, "log-variance", 2.660650697e-02),
    ],
)
def test_deals_are_as_even_as_they_were(n_groups, objective, expected):
    """The bytes of models follow from a deal: another is made on purpose, and said."""
    values = 1.0 + np.arange(39) * 7919 % 1009
    assert deal(values, n_groups, objective).imbalance == pytest.approx(expected, rel=1e-6)
