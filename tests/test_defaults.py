"""A default that stands in several places is one: of parts, models, doors, commands, documents."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from dqindex import DQVAE, DQModel, DQTransform, ProductCodebooks, semantic_ids
from dqindex.cli.fit import command as fit
from dqindex.cli.sids.extract import command as extract
from dqindex.quantizer.family import new_model
from dqindex.quantizer.kmeans import train_kmeans
from dqindex.quantizer.polish import polish


def defaults(function: Any) -> dict[str, Any]:
    return {
        name: one.default
        for name, one in inspect.signature(function).parameters.items()
        if one.default is not one.empty
    }


MODEL = defaults(DQModel)


@pytest.mark.parametrize("part", [DQTransform, ProductCodebooks])
def test_a_model_has_the_defaults_of_its_parts(part):
    assert defaults(part).items() <= MODEL.items()


def test_semantic_ids_have_those_of_the_model():
    # None leaves it to the method.
    shared = {
        name: value
        for name, value in defaults(semantic_ids).items()
        if name in MODEL and value is not None
    }
    assert {"n_subspaces", "n_codewords", "coarse", "balance", "seed"} <= set(shared)
    assert shared.items() <= MODEL.items()


@pytest.mark.parametrize("function", [new_model, DQModel.rq, train_kmeans, polish])
def test_functions_have_those_of_the_model(function):
    own = {"polish", "beam", "n_levels"}  # which depend on the method
    shared = {name: value for name, value in defaults(function).items() if name not in own}
    assert {name: MODEL[name] for name in shared if name in MODEL} == {
        name: value for name, value in shared.items() if name in MODEL
    }
    assert {"n_codewords", "seed"} & set(shared)


def test_methods_have_the_rounds_and_the_beam_that_are_told():
    assert [(one.polish, one.beam) for one in (new_model("dq", 4), new_model("rq", 4))] == [
        (0, 1),
        (6, 8),
    ]
    assert "by default 6 where" in (inspect.getdoc(new_model) or "")
    assert "by default 8 where" in (inspect.getdoc(new_model) or "")
    assert defaults(DQModel.rq)["n_levels"] == 4


@pytest.mark.parametrize("command", [fit, extract], ids=["fit", "extract"])
def test_commands_have_those_of_the_model(command):
    given = command.make_context("it", ["VECTORS", "-o", "OUTPUT"]).params
    # What is not given is left to the library.
    found = {name: value for name, value in given.items() if name in MODEL and value is not None}
    assert {"n_subspaces", "n_codewords", "balance", "seed"} <= set(found)
    for name, value in found.items():
        assert value == MODEL[name], name


@pytest.mark.parametrize("estimator", [DQTransform, ProductCodebooks, DQModel, DQVAE])
def test_docstrings_say_the_default(estimator):
    told = re.findall(r"^    (\w+) : .*default (.+)$", inspect.getdoc(estimator) or "", re.M)
    told += re.findall(r"^(\w+) : .*default (.+)$", inspect.getdoc(estimator) or "", re.M)
    assert told
    for name, text in told:
        expected = defaults(estimator)[name]
        assert text == (f'"{expected}"' if isinstance(expected, str) else repr(expected)), name


def test_parameters_are_in_the_declared_ones():
    for estimator in (DQTransform, ProductCodebooks, DQModel, DQVAE):
        assert set(estimator._parameters) == set(estimator.parameter_names())


LEAST = {
    "n_subspaces": 1,
    "n_components": 1,
    "seed": 0,
    "n_iter": 1,
    "n_redo": 1,
    "max_points_per_codeword": 1,
    "polish": 0,
    "beam": 1,
    "n_epochs": 1,
    "batch_size": 1,
}


@pytest.mark.parametrize("estimator", [DQTransform, ProductCodebooks, DQModel, DQVAE])
def test_the_least_that_a_parameter_may_be(estimator):
    for name, rule in estimator._parameters.items():
        if name in LEAST:
            assert rule.holds(LEAST[name]), name
            assert not rule.holds(LEAST[name] - 1), name
        elif name in ("n_codewords", "coarse"):
            lists = estimator is not DQVAE
            assert rule.holds([1, 1]) == lists
            assert not rule.holds([1, 0])
            assert rule.holds(1) == (name == "n_codewords")
            assert not rule.holds(0)
        elif name == "max_share":
            assert rule.holds(None)
            assert rule.holds(1e-9)
            assert not rule.holds(0)
            assert not rule.holds(1)
        elif name == "block_widths":
            assert rule.holds([1, 1])
            assert not rule.holds([1, 0])
        elif name == "block_scale":
            assert rule.holds("equal")
            assert rule.holds([1e-9, 1])
            assert not rule.holds([0.0, 1])
            assert not rule.holds("other")
        elif name == "beta":
            assert rule.holds(0)
            assert not rule.holds(-1e-9)
        elif name == "learning_rate":
            assert rule.holds(1e-9)
            assert not rule.holds(0)
        else:
            assert name in ("balance", "center", "init", "optimizer"), name
            assert not rule.holds("nonsense")
