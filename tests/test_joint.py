"""Beam search against all tuples there are; least squares against numpy's; RQ against FAISS's."""

from __future__ import annotations

import itertools

import faiss
import numpy as np
import pytest
from conftest import clustered

from dqindex import DQModel, errors
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer.beam import BeamSearch
from dqindex.quantizer.joint import Atoms, _fitted, beam_codes, train_jointly

# Coarse sizes, subspaces, codewords, components.
SHAPES = [
    ((5,), 2, 4, None),
    ((4, 3), 1, 5, None),
    ((3, 4), 2, 3, None),
    ((4,), 3, 4, None),
    ((5,), 2, 4, 4),
]


@pytest.fixture(scope="module")
def x():
    return clustered(599, 8, seed=3)


def fitted(x, coarse, n_subspaces, n_codewords, n_components=None, **settings):
    return DQModel(
        n_subspaces, n_codewords, coarse=coarse, n_components=n_components, **settings
    ).fit(x)


def search(model, width):
    return BeamSearch(model.coarse_, model.transform_, model.codebooks_.codebooks_, width)


def distortions(model, x, codes):
    return ((model.decode(codes).astype(np.float64) - x) ** 2).sum(axis=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_beam_that_drops_nothing_finds_the_nearest_tuple_of_all(x, shape):
    model = fitted(x, *shape)
    sizes = model.code_sizes()
    everything = np.array(list(itertools.product(*map(range, sizes))))
    decoded = model.decode(everything).astype(np.float64)
    exact = ((x[:, None] - decoded[None]) ** 2).sum(axis=2).min(axis=1)
    found = distortions(model, x, search(model, int(np.prod(sizes)))(x))
    np.testing.assert_allclose(found, exact, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_beam_of_one_is_one_token_after_another(x, shape):
    model = fitted(x, *shape)
    np.testing.assert_array_equal(search(model, 1)(x), model.encode(x))


def test_a_wider_beam_loses_less(x):
    model = DQModel.rq(4, 16).fit(x)
    losses = [distortions(model, x, search(model, width)(x)).mean() for width in (1, 2, 8, 64)]
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < 0.99 * losses[0]


def test_a_large_mean_changes_no_code(x):
    """Measured from the origin, squares of 2**14 would leave float32 no digit for the rest."""
    x, *levels = (
        np.round(one * 16) / np.float32(16) for one in (x, *DQModel.rq(3, 16).fit(x).coarse_)
    )
    model = DQModel.rq(3, 16).fit(x)
    model.coarse_ = levels
    tokens = search(model, 4)(x)
    model.coarse_ = [levels[0] + np.float32(2**14), levels[1]]
    np.testing.assert_array_equal(search(model, 4)(x + np.float32(2**14)), tokens)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_fit_is_that_of_least_squares(x, shape):
    model = fitted(x, *shape)
    atoms = Atoms(model.coarse_, model.codebooks_.codebooks_)
    codes = model.encode(x).astype(np.int64)
    made, before = _fitted(x, model.transform_, atoms, codes)
    assert before == pytest.approx(distortions(model, x, codes).mean(), rel=1e-5)
    after = distortions(
        DQModel.from_parts(
            model.transform_, type(model.codebooks_).from_codebooks(made.codebooks), made.coarse
        ),
        x,
        codes,
    ).mean()
    # In each subspace, and in what the transform drops, an ordinary least squares problem.
    axes, levels = model.transform_.components_, len(model.coarse_)
    error = x - model.transform_.mean_
    least = 0.0
    size = len(axes) // model.n_subspaces
    for place in range(model.n_subspaces):
        used = [*range(levels), levels + place]
        design = np.concatenate(
            [np.eye(model.code_sizes()[level])[codes[:, level]] for level in used], axis=1
        )
        target = error @ axes[place * size : (place + 1) * size].T
        least += ((target - design @ np.linalg.lstsq(design, target, rcond=None)[0]) ** 2).sum()
    if model.transform_.dropped_:
        design = np.concatenate(
            [np.eye(model.code_sizes()[level])[codes[:, level]] for level in range(levels)], axis=1
        )
        target = error - error @ axes.T @ axes
        least += ((target - design @ np.linalg.lstsq(design, target, rcond=None)[0]) ** 2).sum()
    assert after == pytest.approx(least / len(x), rel=1e-4)
    assert after < before


def test_rq_loses_less_than_faiss_with_a_beam():
    x = clustered(4000, 16, seed=1)
    model = DQModel.rq(4, 32, polish=5, beam=8).fit(x)
    theirs = faiss.ResidualQuantizer(16, 4, 5)
    theirs.max_beam_size = 5
    theirs.train(x)
    lost = ((theirs.decode(theirs.compute_codes(x)) - x) ** 2).sum(axis=1).mean()
    assert model.losses(x).reconstruction.mean() < 0.97 * lost


def test_polish_pays_on_vectors_that_were_not_trained_on():
    x = clustered(6000, 16, seed=2)
    held = x[4000:]
    for coarse, n_subspaces in [((32, 32, 32), 1), ((32,), 3)]:
        greedy, better = (
            DQModel(n_subspaces, 32, coarse=coarse, polish=polish, beam=beam).fit(x[:4000])
            for polish, beam in ((0, 1), (6, 8))
        )
        assert better.losses(held).reconstruction.mean() < greedy.losses(held).reconstruction.mean()


def test_it_ends_once_little_is_gained(x):
    model = DQModel.rq(2, 4).fit(x)
    start = Atoms(model.coarse_, model.codebooks_.codebooks_)

    def lost_after(rounds, progress=None):
        """Distortion of the codes that a next round would start from."""
        atoms = train_jointly(x, model.transform_, start, rounds=rounds, width=8, progress=progress)
        codes = beam_codes(x, model.transform_, atoms, 8)
        return _fitted(x, model.transform_, atoms, codes)[1]

    told: list[tuple[str, int, int]] = []
    last = lost_after(500, lambda *what: told.append(what))
    assert told == [("polish", done, 500) for done in range(1, len(told) + 1)]
    assert 2 < len(told) < 100
    lost = [lost_after(rounds) for rounds in range(len(told))]
    gains = -np.diff(lost) / lost[1:]
    assert (gains[:-1] >= 1e-3).all()  # what a round must gain for another
    assert gains[-1] < 1e-3
    assert last <= lost[-1] * (1 + 1e-6)


def test_the_file_keeps_the_beam(tmp_path, x):
    model = DQModel.rq(3, 16, polish=3, beam=8).fit(x)
    model.save(tmp_path / "m.safetensors")
    again = DQModel.load(tmp_path / "m.safetensors")
    assert again.beam == 8
    np.testing.assert_array_equal(again.encode(x), model.encode(x))
    np.testing.assert_array_equal(model.encode(x), search(model, 8)(x))


def test_threads_change_nothing(x):
    made = []
    for threads in (1, 2):
        with thread_limit(threads):
            made.append(DQModel.rq(3, 16, polish=3, beam=4).fit(x))
    assert made[0].to_bytes() == made[1].to_bytes()


def test_unused_codewords_are_counted_anew(x):
    model = DQModel(2, 8, coarse=(8,), polish=3, beam=8).fit(x)
    codes = beam_codes(x, model.transform_, Atoms(model.coarse_, model.codebooks_.codebooks_), 8)
    unused = [8 - len(np.unique(codes[:, level])) for level in (1, 2)]
    assert model.codebooks_.unused_codewords_.tolist() == unused


def test_rq_by_its_name():
    model = DQModel.rq(3, [8, 16, 4], seed=5, beam=2)
    assert (model.coarse, model.n_subspaces, model.n_codewords) == ((8, 16), 1, 4)
    assert (model.seed, model.beam) == (5, 2)
    with pytest.raises(errors.InputError, match="2 sizes for 3"):
        DQModel.rq(3, [8, 16])
    for wrong in ({"beam": 0}, {"polish": -1}, {"beam": "8"}, {"polish": 1.5}):
        with pytest.raises(errors.InputError, match=next(iter(wrong))):
            DQModel.rq(2, 4, **wrong).fit(np.eye(8))


def test_the_fingerprint_tells_beams_apart_where_they_change_codes(x):
    model = DQModel.rq(3, 16, beam=8).fit(x)
    first = model.fingerprint
    model.set_params(beam=2)
    assert model.fingerprint != first
    independent = DQModel(2, 16, beam=1).fit(x)
    first = independent.fingerprint
    assert independent.set_params(beam=8).fingerprint == first


@pytest.mark.parametrize(("beam", "width"), [(1, 8), (8, 8), (9, 9)])
def test_training_keeps_no_fewer_prefixes_than_encoding(beam, width):
    assert DQModel.rq(2, 4, beam=beam).joint_width() == width
