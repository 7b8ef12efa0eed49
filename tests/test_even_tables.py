"""FastScan answers where all codewords are equally far, as the same codes do without it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import clustered

from dqindex import build_index
from dqindex.errors import DQWarning
from dqindex.index import searching


def sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    x = clustered(300, 8, seed=4)
    zeros = np.zeros((2, 8), dtype=np.float32)
    mirrored = np.where(np.arange(300)[:, None] % 2, x[0], -x[0]).astype(np.float32)
    return {
        "one vector": (np.repeat(x[:1], 300, axis=0), x[:3]),
        "two, the query between": (mirrored, zeros),
        "a query of zeros": (x, np.concatenate([zeros, x[:3]])),
    }


@pytest.mark.parametrize("kind", list(sets()))
@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("spec", ["PQ2x4fs", "DQ2,PQ2x4fs", "IVF4,PQ2x4fs", "PQ2x4fs,RFlat"])
def test_answers_are_those_of_the_codes(kind, metric, spec, monkeypatch):
    monkeypatch.setattr(searching, "BLOCK_VALUES", 800)  # blocks of 100 vectors
    x, queries = sets()[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DQWarning)
        fast = build_index(x, spec, metric=metric)
        plain = build_index(x, "Flat" if "RFlat" in spec else spec.replace("fs", ""), metric=metric)
    for index in (fast, plain):
        if "IVF" in spec:
            index.set_parameters({"nprobe": 4})
    found, expected = (one.search(queries, 5) for one in (fast, plain))
    assert (found.positions >= 0).all()
    assert all(len(set(row)) == 5 for row in found.positions.tolist())
    scale = np.abs(expected.distances).max() + 1
    even = slice(0, 2) if kind == "a query of zeros" and metric == "ip" else slice(None)
    if kind != "a query of zeros" or metric == "ip":
        np.testing.assert_allclose(
            found.distances[even], expected.distances[even], atol=1e-4 * scale
        )


def test_what_may_not_be_found_is_not():
    x, queries = sets()["one vector"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DQWarning)
        index = build_index(x, "PQ2x4fs")
    assert np.isnan(index.index.search(queries, 5)[0]).all()
    keep = np.arange(300) % 100 == 7
    positions = index.search(queries, 5, filter=keep).positions
    assert positions.tolist() == [[7, 107, 207, -1, -1]] * 3
