"""The nearest centroid, whichever path the number of rows takes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex.kmeans import train_kmeans
from dqindex.nearest import nearest, nearest_in_pieces, pieces


@settings(max_examples=60, deadline=None)
@given(n=st.integers(0, 500000), width=st.integers(1, 4096))
def test_pieces_cover_every_row_once(n, width):
    cut = list(pieces(n, width))
    assert sum(part.stop - part.start for part in cut) == n
    assert all(a.stop == b.start for a, b in itertools.pairwise(cut))
    assert all(part.stop - part.start <= 2 * 65536 for part in cut)


@pytest.mark.parametrize("n", [1, 100, 3000, 40000])
@pytest.mark.parametrize(("d", "k"), [(1, 7), (4, 256), (24, 100)])
@pytest.mark.parametrize("inner_product", [False, True])
def test_agrees_with_all_distances(n, d, k, inner_product):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, d)).astype(np.float32)
    centroids = rng.normal(size=(k, d)).astype(np.float32)
    labels, distances = nearest(x, centroids, inner_product=inner_product)
    a, b = x[:2000].astype(np.float64), centroids.astype(np.float64)
    full = -a @ b.T if inner_product else ((a[:, None] - b[None]) ** 2).sum(axis=2)
    chosen = full[np.arange(len(a)), labels[:2000]]
    np.testing.assert_allclose(chosen, full.min(axis=1), atol=1e-4)
    np.testing.assert_allclose(distances[:2000], full.min(axis=1), atol=1e-4)
    spread, _ = nearest_in_pieces(x, centroids, inner_product=inner_product)
    assert (spread == labels).mean() > 0.9999


def test_spherical_centroids_have_unit_length():
    x = np.random.default_rng(0).normal(size=(2000, 6)).astype(np.float32)
    centroids, spare = train_kmeans(x, 20, spherical=True)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-5)
    assert spare == 0


def test_empty_clusters_are_filled():
    # A random start puts all centroids on one heap of equal vectors: seven serve nothing.
    far = np.arange(1, 21, dtype=np.float32)[:, None] * np.ones((1, 2), dtype=np.float32)
    x = np.concatenate([np.zeros((5000, 2), dtype=np.float32), far])
    centroids, spare = train_kmeans(x, 8, init="random", n_iter=30)
    labels, distances = nearest(x, centroids)
    assert spare == 0
    assert len(np.unique(labels)) == 8
    assert distances.mean() < 0.02
