"""The nearest centroid, whichever path the number of rows takes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex.parallel.pieces import pieces
from dqindex.quantizer.encoding import encoder, nearest_codes
from dqindex.quantizer.kmeans import train_kmeans
from dqindex.quantizer.nearest import nearest, nearest_in_pieces


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


@pytest.mark.parametrize("k", [1, 2, 16, 300])
def test_one_dimension_is_exact(k):
    rng = np.random.default_rng(k)
    x = (1000 + rng.normal(size=(5000, 1))).astype(np.float32)
    centroids = (1000 + rng.normal(size=(k, 1))).astype(np.float32)
    labels, distances = nearest(x, centroids)
    full = np.abs(x.astype(np.float64) - centroids[:, 0].astype(np.float64))
    np.testing.assert_array_equal(np.take_along_axis(full, labels[:, None], 1)[:, 0], full.min(1))
    np.testing.assert_allclose(distances, full.min(axis=1) ** 2, rtol=1e-6)


@pytest.mark.parametrize("k", [2, 16, 32, 64, 100, 256, 512])
@pytest.mark.parametrize("width", [1, 2, 4, 5, 8, 16])
def test_every_path_gives_the_same_codes(k, width):
    rng = np.random.default_rng(width)
    rows = rng.normal(size=(3000, 3 * width)).astype(np.float32)
    books = [rng.normal(size=(k, width)).astype(np.float32) for _ in range(3)]
    codes, expected = (np.empty((3000, 3), dtype=np.uint16) for _ in range(2))
    encoder(books)(rows, codes)
    nearest_codes(rows, books, expected)
    assert (codes == expected).mean() > 0.999  # ties and rounding apart


def test_codebooks_of_different_sizes():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 4)).astype(np.float32)
    books = [rng.normal(size=(k, 2)).astype(np.float32) for k in (4, 16)]
    codes = np.empty((500, 2), dtype=np.uint8)
    encoder(books)(rows, codes)
    assert codes[:, 0].max() == 3
    assert codes[:, 1].max() == 15
