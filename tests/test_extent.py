"""Norms of any numbers, and the power of two that brings a vector into the range."""

from __future__ import annotations

import numpy as np
import pytest

from dqindex.errors import NonFiniteError, RangeError
from dqindex.vectors.extent import (
    LARGEST_NORM,
    LEAST_NORM,
    Refused,
    check_longest,
    rescaled,
    row_norms,
)
from dqindex.vectors.queries import check_queries

ROW = np.array([3.0, -4.0, 0.0])


@pytest.mark.parametrize("scale", [0, 1e-300, 1e-200, 1e-30, 1e-10, 1, 1e10, 1e30, 1e200, 1e300])
def test_norms_of_any_size(scale):
    for kind in (np.float32, np.float64):
        with np.errstate(over="ignore", under="ignore"):
            rows = (np.array([ROW, 2 * ROW]) * scale).astype(kind)
        if np.isfinite(rows).all():
            norms = [np.hypot(*row[:2].astype(np.float64)) for row in rows]
            np.testing.assert_allclose(row_norms(rows), norms, rtol=1e-6)


@pytest.mark.parametrize("kind", ["i1", "i8", "u8", "f2", ">f4", ">f8"])
def test_norms_of_any_type(kind):
    rows = np.array([[3, 4], [0, 0], [60, 80]]).astype(kind)
    np.testing.assert_allclose(row_norms(rows), [5, 0, 100])


def test_norms_of_what_is_not_finite():
    rows = np.array([[np.nan, 1], [np.inf, 1], [1, 0]])
    np.testing.assert_array_equal(np.isfinite(row_norms(rows)), [False, False, True])
    np.testing.assert_array_equal(rescaled(rows), rows)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rows_in_range_stay_to_the_bit(kind):
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(kind)
    assert rescaled(rows) is rows
    edges = np.array([[LEAST_NORM, 0], [LARGEST_NORM, 0]], dtype=np.float64)
    assert rescaled(edges) is edges
    mixed = rows.copy()
    mixed[7] *= kind(1e-30)
    mixed[9] = 0
    out = rescaled(mixed)
    assert out.dtype == kind
    others = np.delete(np.arange(50), 7)
    np.testing.assert_array_equal(out[others], mixed[others])
    assert mixed[7, 0] != out[7, 0]


@pytest.mark.parametrize(
    ("value", "kind"),
    [(1e-38, "f4"), (1e-30, "f4"), (1e12, "f4"), (3e38, "f4"), (1e-300, "f8"), (1.7e308, "f8")],
)
def test_rows_out_of_range_keep_their_direction(value, kind):
    rows = (np.array([[0.5, -1.0, 0.25]]) * value).astype(kind)
    out = rescaled(rows)
    assert 0.5 <= np.abs(out).max() < 1
    ratio = out.astype(np.float64) / (rows.astype(np.float64) / np.abs(rows).max())
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-12)
    exponent = np.log2(np.abs(out[0, 1]).astype(np.float64)) - np.log2(float(np.abs(rows[0, 1])))
    assert exponent == pytest.approx(round(exponent), abs=1e-9)  # a power of two


def test_integers_that_are_scaled_are_float64():
    out = rescaled(np.array([[2**62, 0], [1, 1]]))
    assert out.dtype == np.float64
    assert out.tolist() == [[0.5, 0], [1, 1]]


@pytest.mark.parametrize(
    ("norm", "fine"), [(0, True), (LEAST_NORM, True), (0.999 * LEAST_NORM, False), (1e300, True)]
)
def test_the_longest(norm, fine):
    if fine:
        check_longest(norm, "it")
    else:
        with pytest.raises(RangeError, match="it: the longest vector has the norm"):
            check_longest(norm, "it")


def test_refused_rows_are_counted_over_blocks():
    refused = Refused("it", 9)
    good = np.ones((3, 2))
    refused.look(good, row_norms(good), 0)
    assert not refused
    refused.throw()
    long = np.array([[1.0, 0], [2e9, 0], [3e9, 0]])
    refused.look(long, row_norms(long), 3)
    assert refused
    with pytest.raises(RangeError, match=r"it: 2 of 9 rows .* first row 4 with 2e"):
        refused.throw()
    # One that is not finite is told alone, and those that are long are counted no more.
    odd = np.array([[9e9, 0], [np.nan, 0], [1, np.inf]])
    refused.look(odd, row_norms(odd), 6)
    with pytest.raises(NonFiniteError, match="2 of 9 rows hold NaN or infinity, first row 7; re"):
        refused.throw()
    refused.look(long, row_norms(long), 0)
    with pytest.raises(NonFiniteError, match=r"2 of 9 .*\(as float32\), first row 7, in words 7"):
        refused.throw(lambda row: f"in words {row}")


def test_refused_rows_go_by_their_own_numbers():
    rows = np.array([8, 3, 5])
    block = np.array([[2e9], [4e9], [0.0]])
    refused = Refused("it", 3, rows)
    refused.look(block, row_norms(block), 0)
    with pytest.raises(RangeError, match="first row 3 with 4e"):
        refused.throw()


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_queries(metric):
    def ask(*scales: float) -> np.ndarray:
        rows = np.array([[scale, 0.0] for scale in scales])
        found: np.ndarray = check_queries(rows, "it", width=2, metric=metric)
        return found

    assert ask(1, 0, 1e9).tolist() == [[1, 0], [0, 0], [1e9, 0]]
    assert ask(1).dtype == np.float32
    if metric == "cosine":
        assert ask(1e300, 2.0**-900).tolist() == [[ask(1e300)[0, 0], 0], [0.5, 0]]
    else:
        with pytest.raises(RangeError, match=r"it: 1 of 2 rows .* first row 1"):
            ask(1, 1.1e9)
    if metric == "ip":
        with pytest.raises(RangeError, match="query 1 has the norm 1e-16"):
            ask(1, 1e-16)
    elif metric == "l2":
        assert ask(1e-16)[0, 0] == np.float32(1e-16)
    with pytest.raises(NonFiniteError):
        ask(np.inf)
