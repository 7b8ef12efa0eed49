"""Balanced k-means: no codeword serves more than its share of the training vectors."""

from __future__ import annotations

import json
import warnings

import faiss
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import clustered
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dqindex import DQModel, ProductCodebooks, distortion, semantic_ids
from dqindex.cli import cli
from dqindex.errors import DQWarning, InputError
from dqindex.quantizer.family import new_model
from dqindex.quantizer.kmeans import train_kmeans
from dqindex.quantizer.nearest import nearest_in_pieces
from dqindex.quantizer.shares import LAST_ROUNDS, SETTLING_ROUNDS, TRIES, bounded, check_share


def uneven(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Half of the vectors in one dense place, and a tail far away: k-means is uneven here."""
    rng = np.random.default_rng(seed)
    x = rng.standard_t(2, size=(n, d))
    x[: n // 2] = 5 + 0.05 * rng.normal(size=(n // 2, d))
    return x.astype(np.float32)


def largest(x: np.ndarray, centroids: np.ndarray) -> float:
    labels, _ = nearest_in_pieces(x, centroids)
    return float(np.bincount(labels).max() / len(x))


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(300, 1500),
    d=st.integers(1, 6),
    k=st.sampled_from([8, 16, 32]),
    slack=st.sampled_from([2.0, 3.0, 5.0]),
    seed=st.integers(0, 10**6),
)
@example(n=682, d=6, k=8, slack=2.0, seed=813)
@example(n=300, d=3, k=8, slack=2.0, seed=300)
def test_no_centroid_has_more_than_its_share(n, d, k, slack, seed):
    x = uneven(n, d, seed)
    share = slack / k
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DQWarning)
        found, _ = train_kmeans(x, k, max_share=share, seed=seed)
        one, _ = train_kmeans(x, k, max_share=share, seed=seed, parallel=False)
    np.testing.assert_array_equal(one, found)
    assert found.shape == (k, d)
    assert np.isfinite(found).all()
    plain, _ = train_kmeans(x, k, seed=seed)
    # Twice the mean is tight: it may be missed, which is said, but nothing is worse for it.
    assert not told or slack == 2
    assert largest(x, found) <= (max(share, largest(x, plain)) if told else share)
    if largest(x, plain) <= share:
        np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("family", [{}, {"coarse": (16,)}, {"coarse": (16, 16)}])
def test_all_tokens_of_a_model_keep_the_bound(family):
    """Also those behind coarse levels: encoding a vector looks for the nearest, one by one."""
    x = uneven(3000, 6)
    plain = DQModel(2, 16, **family).fit(x)
    model = DQModel(2, 16, max_share=0.15, **family).fit(x)

    def shares(model):
        return [np.bincount(column).max() / len(x) for column in model.encode(x).T]

    assert max(shares(plain)) > 0.3
    assert max(shares(model)) <= 0.15
    assert DQModel.from_bytes(model.to_bytes(), "m").get_params() == model.get_params()
    assert b"max_share" not in plain.to_bytes()


def lost(x: np.ndarray, centroids: np.ndarray) -> float:
    return float(nearest_in_pieces(x, centroids)[1].mean(dtype=np.float64))


def far_and_near(n: int, d: int) -> np.ndarray:
    """Around one point, at distances that differ: what residual levels leave over."""
    rng = np.random.default_rng(0)
    made = rng.normal(size=(n, d)) * np.exp(0.3 * rng.normal(size=(n, 1)))
    return made.astype(np.float32)


@pytest.mark.parametrize("parallel", [True, False])
def test_splitting_lowers_the_distortion_in_many_dimensions(parallel):
    """There the mean of many vectors is near to all others too, and takes more and more."""
    x, unseen = np.split(far_and_near(6000, 100), 2)
    plain, _ = train_kmeans(x, 64, parallel=parallel)
    even, _ = train_kmeans(x, 64, parallel=parallel, even=True)
    assert largest(x, even) < 0.7 * largest(x, plain)
    assert lost(x, even) < 0.985 * lost(x, plain)
    assert lost(unseen, even) < 0.99 * lost(unseen, plain)


@settings(max_examples=20, deadline=None)
@given(
    d=st.sampled_from([1, 2, 8, 9, 12, 24]),
    copies=st.integers(0, 500),
    n_iter=st.integers(8, 20),
    seed=st.integers(0, 10**6),
)
def test_splitting_costs_nothing_where_it_gains_nothing(d, copies, n_iter, seed):
    """Also where many vectors are the same: a second centroid would gain nothing there."""
    x = clustered(1000, d, seed)
    x[:copies] = x[0]
    plain, _ = train_kmeans(x, 32, n_iter=n_iter, seed=seed)
    even, _ = train_kmeans(x, 32, n_iter=n_iter, seed=seed, even=True)
    assert np.isfinite(even).all()
    assert lost(x, even) <= 1.1 * lost(x, plain)


def test_residual_levels_lose_as_little_as_those_of_faiss():
    """Whose k-means goes from few dimensions to many. Without splits they lose 7 % more."""
    x, unseen = np.split(far_and_near(6000, 100), 2)
    model = DQModel.rq(4, 64).fit(x)
    quantizer = faiss.ResidualQuantizer(100, 4, 6)
    quantizer.max_beam_size = 1
    quantizer.train(x)
    theirs = quantizer.decode(quantizer.compute_codes(unseen))
    ours = model.decode(model.encode(unseen))
    assert distortion(unseen, ours) < 1.02 * distortion(unseen, theirs)


def test_too_many_that_are_the_same_are_told_of():
    x = clustered(400, 4)
    x[:100] = x[0]
    with pytest.warns(
        DQWarning, match=r"a codeword has 2\d\.\d\d% of the vectors, more than max_sh"
    ):
        model = ProductCodebooks(1, 16, max_share=0.2).fit(x)
    assert largest(x, model.codebooks_[0]) < 0.3


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        (
            {"max_share": 0.05},
            "max_share is 0.05, but 16 codewords have 0.0625 of the vectors each, if all have "
            "the same; give 1.5 times that, or larger codebooks",
        ),
        ({"max_share": 0.1, "coarse": (8,)}, "but 8 codewords have 0.125"),
        ({"max_share": 0.2, "polish": 3}, "3 rounds of polish would move the codewords again"),
        ({"max_share": 0}, "max_share is 0; it must be"),
        ({"max_share": 1.0}, "max_share is 1.0; it must be"),
        ({"max_share": "x"}, "max_share is 'x'; it must be"),
    ],
)
def test_a_share_that_can_not_be_kept(settings_, message):
    with pytest.raises(InputError, match=message):
        DQModel(2, 16, **settings_).fit(clustered(100, 4))


def test_the_least_share_is_that_of_equal_codewords():
    for size in range(2, 300):
        check_share(1 / size, [size, size + 1])
        with pytest.raises(InputError, match=r"give 1\.5 times that"):
            check_share(np.nextafter(1 / size, 0), [size + 1, size])


def test_the_defaults_leave_out_what_would_change_shares():
    with_share = new_model("rq", 3, 16, max_share=0.2)
    assert (with_share.polish, with_share.beam) == (0, 1)
    asked = new_model("rq", 3, 16, max_share=0.2, beam=4)
    assert (asked.polish, asked.beam) == (0, 4)


def test_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = uneven(2000, 6)
    np.save("v.npy", x)
    words = "sids extract v.npy -o s.parquet --method rq -L 4 -K 16 --max-share 0.15 --json"
    done = CliRunner().invoke(cli, words.split(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    expected = semantic_ids(x, method="rq", n_subspaces=4, n_codewords=16, max_share=0.15)
    assert json.loads(done.stdout)["fingerprint"] == expected.fingerprint
    shares = [np.bincount(column).max() / len(x) for column in expected.base_codes.T]
    assert max(shares) <= 0.15
    words = "fit v.npy -o m.safetensors --max-share 1.5"
    assert CliRunner().invoke(cli, words.split()).exit_code == 2
    # refit keeps to it.
    old = semantic_ids(x[:1500], np.arange(1500), model=expected.model)
    new = old.refit(x[500:] + 1, np.arange(500, 2000), worth=0).sids
    shares = [np.bincount(column).max() / 1500 for column in new.need_model().encode(x[500:] + 1).T]
    assert max(shares) <= 0.15


def test_steps_of_k_means_settle_the_first_rounds_alone():
    """The last rounds split and nothing else: a step may undo a split."""
    x = np.zeros((200, 2), dtype=np.float32)
    x[190:] = np.arange(1, 11, dtype=np.float32)[:, None]
    rows = []

    def lloyd(some, centroids):
        rows.append(len(some))
        return centroids

    with pytest.warns(DQWarning, match="max_share 10.00%"):
        bounded(x, x[180:].copy(), 0.1, lloyd, 0, parallel=False)
    assert rows.count(200) == TRIES * SETTLING_ROUNDS
    assert 200 not in rows[-LAST_ROUNDS // 2 :]
