"""DQ-VAE: its gradients are those of its losses, and its training lowers them."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import clustered

from dqindex import DQVAE, DQTransform, ProductCodebooks
from dqindex.claim.objective import (
    Frame,
    assign,
    codebook_gradient,
    codebook_loss,
    reconstruction_gradient,
    reconstruction_loss,
)
from dqindex.errors import InputError


@pytest.fixture(scope="module")
def setting():
    """Vectors, a frame that is *not* orthonormal, codewords: the gradients must be right anyway."""
    z = clustered(300, 8).astype(np.float64)
    frame = Frame.of(DQTransform(2).fit(z))
    rng = np.random.default_rng(0)
    skewed = Frame(frame.mean, frame.axes + 0.2 * rng.normal(size=frame.axes.shape), 2)
    return z, skewed, rng.normal(size=(2, 5, 4))


@pytest.mark.parametrize(
    ("loss", "gradient"),
    [(reconstruction_loss, reconstruction_gradient), (codebook_loss, codebook_gradient)],
)
def test_gradients_against_finite_differences(setting, loss, gradient):
    z, frame, codewords = setting
    codes = assign(frame.project(z), codewords)
    found = gradient(z, codes, codewords, frame)
    numeric = np.zeros_like(codewords)
    for place in np.ndindex(codewords.shape):
        for sign in (1, -1):
            moved = codewords.copy()
            moved[place] += sign * 1e-4
            numeric[place] += sign * loss(z, codes, moved, frame).mean() / 2e-4
    np.testing.assert_allclose(found, numeric, atol=1e-7 * np.abs(numeric).max())


def test_losses_of_a_skewed_frame_differ(setting):
    z, frame, codewords = setting
    codes = assign(frame.project(z), codewords)
    gap = np.abs(
        reconstruction_gradient(z, codes, codewords, frame)
        - codebook_gradient(z, codes, codewords, frame)
    )
    assert gap.max() > 1e-2


def test_assign_is_the_nearest(setting):
    z, frame, codewords = setting
    x = frame.project(z)
    distances = ((x[:, :, None] - codewords[None]) ** 2).sum(axis=3)
    np.testing.assert_array_equal(assign(x, codewords), distances.argmin(axis=2))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("init", ["data", "k-means++"])
def test_training_comes_near_pq(optimizer, init, vectors):
    transform = DQTransform(4).fit(vectors)
    model = DQVAE(4, 16, optimizer=optimizer, init=init, n_epochs=30, batch_size=256)
    model.fit(vectors, transform=transform)
    assert model.history_[-1] < model.history_[0]
    projected = transform.transform(vectors)
    pq = ProductCodebooks(4, 16, n_iter=50, max_points_per_codeword=10**6).fit(projected)
    errors = [
        ((books.decode(books.encode(projected)) - projected) ** 2).sum(axis=1).mean()
        for books in (model.codebooks(), pq)
    ]
    assert errors[0] < 1.1 * errors[1]
    np.testing.assert_array_equal(model.encode(vectors), model.codebooks().encode(projected))


def test_dead_codewords_are_counted(vectors):
    start = np.zeros((4, 16, 6))
    start[:, 1:] = 1e6  # nothing is near these, so no gradient ever reaches them
    model = DQVAE(4, 16, n_epochs=1).fit(vectors, start=start)
    assert model.dead_codewords_.tolist() == [15] * 4
    assert np.isfinite(model.codewords_).all()


def test_same_seed_same_codewords(vectors):
    one, two = (DQVAE(4, 16, n_epochs=1, seed=3).fit(vectors).codewords_ for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": -1}, "beta is -1"),
        ({"optimizer": "lion"}, "optimizer is 'lion'"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"n_codewords": 5000}, "4000 vectors for 5000 codewords"),
    ],
)
def test_bad_parameters(vectors, settings, message):
    with pytest.raises(InputError, match=message):
        DQVAE(**{"n_subspaces": 4, "n_codewords": 16, **settings}).fit(vectors)


def test_a_start_of_another_shape(vectors):
    with pytest.raises(InputError, match=r"start has shape \(1, 2, 3\); it must be \(4, 16, 6\)"):
        DQVAE(4, 16).fit(vectors, start=np.zeros((1, 2, 3)))
