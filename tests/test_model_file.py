"""The file of a model holds all that the model is, by names that another program can read."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load

from dqindex import DQModel, DQTransform, ProductCodebooks


@pytest.fixture(scope="module", params=[(), (6, 5)], ids=["flat", "coarse"])
def model(request, vectors):
    return DQModel(3, [4, 7, 9], coarse=request.param, n_components=10, seed=4).fit(vectors[:900])


def test_tensors_are_what_was_learned(model):
    tensors = load(model.to_bytes())
    transform = model.transform_
    np.testing.assert_array_equal(tensors["mean"], transform.mean_)
    np.testing.assert_array_equal(tensors["components"], transform.components_)
    np.testing.assert_array_equal(tensors["variances"], transform.variances_)
    assert tensors["groups"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_array_equal(tensors["unused_codewords"], [0, 0, 0])
    for kind, arrays in (("coarse", model.coarse_), ("codebook", model.codebooks_.codebooks_)):
        for level, array in enumerate(arrays):
            np.testing.assert_array_equal(tensors[f"{kind}.{level}"], array)
    assert len(tensors) == 5 + len(model.coarse_) + 3


def test_all_that_was_learned_comes_back(model):
    back = DQModel.from_bytes(model.to_bytes(), "bytes")
    for part in ("transform_", "codebooks_"):
        ours, theirs = vars(getattr(model, part)), vars(getattr(back, part))
        for name in ours:
            if name.startswith("_"):
                continue  # of the fit, and not of the model
            if isinstance(ours[name], list) and name.endswith("_"):
                for one, other in zip(ours[name], theirs[name], strict=True):
                    np.testing.assert_array_equal(one, other)
            elif isinstance(ours[name], np.ndarray | float):
                np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12)
            else:
                assert ours[name] == theirs[name], name
    assert back.get_params() == model.get_params()
    assert back.n_features_in_ == 24
    assert back.code_sizes() == model.code_sizes()
    assert back.fingerprint == model.fingerprint
    assert back.to_bytes() == model.to_bytes()


def test_a_fingerprint_is_of_the_tensors_alone(model, vectors):
    parts = model.transform_, model.codebooks_, model.coarse_
    same = DQModel.from_parts(*parts)
    assert same.fingerprint == model.fingerprint
    moved = ProductCodebooks.from_codebooks([one + 1 for one in model.codebooks_.codebooks_])
    assert DQModel.from_parts(parts[0], moved, parts[2]).fingerprint != model.fingerprint


def test_parts_that_do_not_fit_are_refused(vectors):
    transform = DQTransform(3).fit(vectors)
    books = ProductCodebooks(2, 4).fit(transform.transform(vectors))
    with pytest.raises(ValueError, match="3 subspaces of 24 axes, the codebooks have 2 of 24"):
        DQModel.from_parts(transform, books)


def test_a_model_of_hundreds_of_subspaces_comes_back():
    x = np.random.default_rng(0).normal(size=(700, 300)).astype(np.float32)
    model = DQModel(300, 2, n_iter=1).fit(x)
    back = DQModel.from_bytes(model.to_bytes(), "bytes")
    np.testing.assert_array_equal(back.encode(x), model.encode(x))
