"""Exact search agrees with a float64 oracle; recall counts what it says."""

from __future__ import annotations

import numpy as np
import pytest

from dqindex import distortion, exact_neighbors, open_vectors, recall_at
from dqindex.errors import InputError


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_exact_neighbors(vectors, metric):
    x = vectors[:1000].astype(np.float64) + 1
    queries = vectors[1000:1020].astype(np.float64)
    if metric == "ip":
        scores = -(queries @ x.T)
    else:
        a, b = (
            (m / np.linalg.norm(m, axis=1, keepdims=True) if metric == "cosine" else m)
            for m in (queries, x)
        )
        scores = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    expected = np.argsort(scores, axis=1)[:, :7]
    source = open_vectors(x)
    vars(source)["default_block_rows"] = lambda: 130  # many blocks, one short
    positions, distances = exact_neighbors(source, queries, 7, metric=metric)
    assert recall_at(positions, expected) > 0.999
    shown = -distances if metric == "ip" else distances
    np.testing.assert_allclose(
        np.sort(shown, axis=1), np.sort(scores, axis=1)[:, :7], rtol=1e-3, atol=1e-4
    )


def test_recall():
    assert recall_at([[1, 2], [3, 4]], [[2], [5]]) == 0.5
    assert recall_at([[1, 2, 3]], [[3, 2, 1]]) == 1.0
    with pytest.raises(InputError, match="shapes"):
        recall_at([[1]], [[1], [2]])


def test_distortion():
    assert distortion([[0.0, 0.0], [1.0, 1.0]], [[3.0, 4.0], [1.0, 1.0]]) == 12.5
