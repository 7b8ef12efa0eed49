"""Polish lowers the distortion, and leaves an orthonormal map."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import clustered

from dqindex import DQTransform, ProductCodebooks, build_index
from dqindex.errors import SpecError
from dqindex.polish import polish
from dqindex.threads import thread_limit


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
            made.append(polish(start, x, 16, rounds=5).transform.components_)
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("spec", ["DQ4,PQ4x4", "DQ4,IVF8,PQ4x4", "DQ4,PQ4x4fs"])
def test_indexes_can_be_polished(x, spec):
    plain, polished = (build_index(x, spec, polish=rounds) for rounds in (0, 20))
    errors = [index.model.losses(x).reconstruction.mean() for index in (plain, polished)]
    assert errors[1] < errors[0]
    assert polished.manifest["settings"]["polish"] == 20
    assert "polish" in polished.training_seconds


@pytest.mark.parametrize("spec", ["PQ4x4", "DQ4,SQ8"])
def test_nothing_to_polish(x, spec):
    with pytest.raises(SpecError, match="needs a DQ before a PQ"):
        build_index(x, spec, polish=5)
