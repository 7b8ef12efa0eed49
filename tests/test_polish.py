"""Polish lowers the distortion, and leaves an orthonormal map."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import clustered

from dqindex import DQTransform, ProductCodebooks, build_index
from dqindex.errors import DQWarning, SpecError
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer.balance import imbalance
from dqindex.quantizer.polish import (
    LEAST_GAIN,
    MOST_TURNS,
    WINDOW,
    Schedule,
    _Alternation,
    _extrapolated,
    polish,
)


def distortion(transform: DQTransform, x: np.ndarray) -> float:
    y = transform.transform(x)
    pq = ProductCodebooks(transform.n_subspaces, 16, n_iter=30).fit(y)
    return float(((pq.decode(pq.encode(y)) - y) ** 2).sum(axis=1).mean())


@pytest.fixture(scope="module")
def x():
    # Clusters off the axes, and few codewords: where the principal axes are not the best.
    return clustered(6000, 24, seed=3, clusters=30)


@pytest.mark.parametrize(("n_subspaces", "n_components"), [(2, None), (5, None), (2, 10)])
def test_polish_lowers_the_distortion(x, n_subspaces, n_components):
    start = DQTransform(n_subspaces, n_components=n_components).fit(x)
    before = start.components_.copy()
    polished = polish(start, x, 16, rounds=30).transform
    assert distortion(polished, x) < distortion(start, x)
    np.testing.assert_array_equal(start.components_, before)  # a copy is polished
    # Still orthonormal, over the same directions; padding stays padding.
    rows = polished.components_[polished.components_.any(axis=1)]
    np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-10)
    kept = start.components_[start.components_.any(axis=1)]
    np.testing.assert_allclose(rows.T @ rows, kept.T @ kept, atol=1e-9)
    assert polished.dropped_ == start.dropped_
    np.testing.assert_allclose(
        polished.subspace_variances_.sum(), start.subspace_variances_.sum(), rtol=1e-3
    )


def test_the_same_at_any_thread_count(x):
    start = DQTransform(4).fit(x)
    made = []
    for threads in (1, 2):
        with thread_limit(threads):
            polished = polish(start, x, 16, rounds=5)
            made.append((polished.transform.components_, np.stack(polished.codebooks)))
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one, other)


def test_codebooks_fit_the_turned_axes(x):
    turned, codebooks = polish(DQTransform(3).fit(x), x, [16, 8, 32], rounds=20)
    y = turned.transform(x)

    def error(pq: ProductCodebooks) -> float:
        return float(((pq.decode(pq.encode(y)) - y) ** 2).sum(axis=1).mean())

    assert [len(book) for book in codebooks] == [16, 8, 32]
    trained = error(ProductCodebooks(3, [16, 8, 32], n_iter=30).fit(y))
    assert error(ProductCodebooks.from_codebooks(codebooks)) < 1.1 * trained


def test_variances_are_those_of_the_turned_axes(x):
    turned = polish(DQTransform(3).fit(x), x, 16, rounds=5).transform
    np.testing.assert_allclose(turned.variances_, turned.transform(x).var(axis=0), rtol=1e-3)


def test_it_ends_once_little_is_gained(x, monkeypatch):
    rounds = []
    whole = _Alternation.procrustes
    monkeypatch.setattr(_Alternation, "procrustes", lambda self: (rounds.append(1), whole(self))[1])
    polish(DQTransform(2).fit(x), x, 16, rounds=500)
    assert 10 < len(rounds) < 200


def test_few_distinct_vectors(x):
    few = np.repeat(x[:5], 20, axis=0)
    with pytest.warns(DQWarning, match="directions only"):
        start = DQTransform(2).fit(few)
    with pytest.warns(DQWarning, match="fewer distinct training vectors"):
        turned, codebooks = polish(start, few, 16, rounds=5)
    y = turned.transform(few)
    pq = ProductCodebooks.from_codebooks(codebooks)
    np.testing.assert_allclose(pq.decode(pq.encode(y)), y, atol=1e-3)


@pytest.mark.parametrize("spec", ["DQ4,PQ4x4", "DQ4,IVF8,PQ4x4", "DQ4,PQ4x4fs"])
def test_indexes_can_be_polished(x, spec):
    plain, polished = (build_index(x, spec, polish=rounds) for rounds in (0, 20))
    errors = [index.model.losses(x).reconstruction.mean() for index in (plain, polished)]
    assert errors[1] < errors[0]
    assert polished.manifest["settings"]["polish"] == 20
    assert "polish" in polished.training_seconds


@pytest.mark.parametrize("spec", ["PQ4x4", "DQ4,SQ8"])
def test_nothing_to_polish(x, spec):
    with pytest.raises(SpecError, match="needs a DQ and a PQ after it"):
        build_index(x, spec, polish=5)


@pytest.mark.parametrize("objective", ["variance", "log-variance"])
@pytest.mark.parametrize("n_components", [None, 10])
def test_imbalance_is_of_what_was_to_be_equal(x, objective, n_components):
    start = DQTransform(4, balance=objective, n_components=n_components).fit(x)
    # A polish that turns nothing leaves the figure of the deal.
    assert imbalance(start.variances_, 4, objective) == pytest.approx(start.imbalance_, abs=1e-12)
    turned = polish(start, x, 16, rounds=3).transform
    variances = turned.variances_
    if objective == "log-variance":
        real = variances > 0
        variances = np.where(real, np.log(np.where(real, variances, 1) / variances[real].min()), 0)
    sums = variances.reshape(4, -1).sum(axis=1)
    assert turned.imbalance_ == pytest.approx(sums.max() / sums.mean() - 1)
    np.testing.assert_allclose(
        turned.subspace_variances_, turned.variances_.reshape(4, -1).sum(axis=1)
    )


def test_the_schedule_by_thirds():
    schedule = Schedule(9)
    turns = []
    while schedule.goes_on:
        turns.append(schedule.after(1 / (1 + schedule.done)))  # never stalls
    assert turns == [3, 3, 3, 2, 2, 2, 1, 1, 1][: len(turns)]
    assert schedule.done == 9


def test_the_schedule_gives_up_turns_where_nothing_is_gained():
    schedule = Schedule(1000)
    turns = []
    while schedule.goes_on:
        turns.append(schedule.after(1.0))
    # After two windows each; the first window again after each turn that is given up.
    assert turns == [3] * (2 * WINDOW - 1) + [2] * (2 * WINDOW) + [1] * (2 * WINDOW) + [0]
    # A gain of just more than the least goes on, one of just less does not.
    for gain, expected in ((1.01 * LEAST_GAIN, MOST_TURNS), (0.99 * LEAST_GAIN, MOST_TURNS - 1)):
        schedule = Schedule(1000)
        for _ in range(WINDOW):
            schedule.after(1.0)
        for _ in range(WINDOW):
            last = schedule.after(1.0 - gain)
        assert last == expected


def test_a_turn_is_taken_several_times_over():
    angle = 0.1

    def rotation(by: float) -> np.ndarray:
        return np.array([[np.cos(by), -np.sin(by)], [np.sin(by), np.cos(by)]], dtype=np.float32)

    before, asked = rotation(0.3), rotation(0.3 + angle)
    for turns in (1, 2, 3):
        np.testing.assert_allclose(
            _extrapolated(before, asked, turns), rotation(0.3 + turns * angle), atol=1e-6
        )


def test_the_schedule_looks_at_the_last_rounds_alone():
    schedule = Schedule(1000)
    for number in range(3 * WINDOW):
        assert schedule.after(2.0**-number) == MOST_TURNS
    left = [schedule.after(2.0 ** (1 - 3 * WINDOW)) for _ in range(2 * WINDOW)]
    assert left.index(MOST_TURNS - 1) < 2 * WINDOW


@pytest.mark.parametrize(
    ("n", "d", "n_codewords", "rows"),
    [
        (9000, 8, 16, 8192),
        (9000, 8, [16, 270], 32 * 270),
        (9000, 310, 16, 27 * 310),
        (700, 310, 300, 700),
    ],
)
def test_rows_of_a_round(n, d, n_codewords, rows, monkeypatch):
    """Enough for every codeword and every dimension, as far as there are any."""

    class Rows(Exception):
        pass

    def alternation(transform, start, rows):
        raise Rows(rows)

    monkeypatch.setattr("dqindex.quantizer.polish._Alternation", alternation)
    with pytest.raises(Rows, match=rf"^{rows}$"):
        polish(DQTransform(2), np.zeros((n, d), dtype=np.float32), n_codewords)
