"""The family by its names, in Python and on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import clustered

from dqindex import DQModel, errors, semantic_ids
from dqindex.quantizer.family import new_model


@pytest.mark.parametrize(
    ("method", "coarse", "expected"),
    [
        ("dq", (), ((), 4, 0, 1)),
        ("dq", (8,), ((8,), 4, 6, 8)),
        ("rq", (), ((16, 16, 16), 1, 6, 8)),
    ],
)
def test_names_and_defaults(method, coarse, expected):
    model = new_model(method, 4, 16, coarse=coarse)
    assert (model.coarse, model.n_subspaces, model.polish, model.beam) == expected
    plain = new_model(method, 4, 16, coarse=coarse, polish=0, beam=1)
    assert (plain.polish, plain.beam) == (0, 1)


def test_one_residual_level_is_plain_k_means():
    model = new_model("rq", 1, 16)
    assert (model.coarse, model.n_subspaces, model.polish, model.beam) == ((), 1, 0, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "pq"},
        {"method": None},
        {"method": "rq", "coarse": (8,)},
        {"coarse": 8},
        {"coarse": "256"},
        {"polish": -1},
        {"polish": 2.5},
        {"beam": 0},
        {"beam": "8"},
        {"n_subspaces": 0},
        {"n_codewords": [16, 16, 16]},
    ],
)
def test_what_is_refused(wrong):
    with pytest.raises(errors.InputError, match=next(iter(reversed(wrong)))):
        semantic_ids(clustered(300, 8), **{"n_subspaces": 4, "n_codewords": 16, **wrong})


def test_rq_keeps_more_than_dq_and_a_prefix_of_it_means_something():
    x = clustered(3000, 16, seed=4)
    dq, rq = (
        semantic_ids(x, method=method, n_subspaces=4, n_codewords=32) for method in ("dq", "rq")
    )
    assert dq.unique_share() == rq.unique_share() == 1
    assert rq.distortion.mean() < 0.8 * dq.distortion.mean()
    between = {}
    for name, sids in {"dq": dq, "rq": rq}.items():
        within = sum(
            ((part - part.mean(axis=0)) ** 2).sum()
            for token in range(32)
            if len(part := x[sids.base_codes[:, 0] == token])
        )
        between[name] = 1 - within / ((x - x.mean(axis=0)) ** 2).sum()
    assert between["rq"] > between["dq"] + 0.2


def test_command_line(run, tmp_path):
    x = clustered(1200, 12)
    np.save(tmp_path / "v.npy", x)
    np.save(tmp_path / "new.npy", x[:50] + np.float32(0.01))
    size = ["-L", "3", "-K", "16"]
    made = run("sids", "extract", "v.npy", "-o", "s.parquet", "--method", "rq", *size, "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["code_sizes"] == [16, 16, 16]
    [beside] = tmp_path.glob("s.*.safetensors")
    model = DQModel.load(beside)
    assert (model.coarse, model.n_subspaces, model.polish, model.beam) == ((16, 16), 1, 6, 8)
    direct = semantic_ids(x, method="rq", n_subspaces=3, n_codewords=16)
    assert direct.fingerprint == told["fingerprint"]
    for command in (
        ["sids", "append", "s.parquet", "new.npy", "-o", "s2.parquet"],
        ["sids", "refit", "s.parquet", "v.npy", "-o", "s3.parquet"],
        ["sids", "evaluate", "s.parquet", "--vectors", "v.npy"],
        ["fit", "v.npy", "-o", "m.safetensors", "--method", "rq", *size, "--beam", "2"],
        ["encode", "m.safetensors", "v.npy", "-o", "c.npy"],
        ["decode", "m.safetensors", "c.npy", "-o", "d.npy"],
    ):
        done = run(*command)
        assert done.returncode == 0, (command, done.stderr)
    assert DQModel.load(tmp_path / "m.safetensors").beam == 2
    lost = ((np.load(tmp_path / "d.npy") - x) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum()
    assert lost < 0.5
    refused = run("fit", "v.npy", "-o", "n.safetensors", "--method", "rq", "--coarse", "8")
    assert refused.returncode == 1
    assert "leave it out" in refused.stderr
