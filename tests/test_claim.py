"""The validator says yes where the claim holds, and no where the transform is broken."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import clustered

from dqindex import DQTransform
from dqindex.claim import validate
from dqindex.claim.outcome import fixed_point_distance
from dqindex.errors import InputError

SMALL = {"n_subspaces": 4, "n_codewords": 16, "train_rows": 1500}


@pytest.fixture(scope="module")
def z():
    return clustered(3000, 12)


@pytest.fixture(scope="module")
def report(z):
    return validate(z, **SMALL)


def test_the_claim_holds(report):
    failed = [
        check for section in report.sections for check in section.checks if check.passed is False
    ]
    assert not failed
    assert report.passed
    assert [section.title.split(":")[0] for section in report.sections] == [
        "Identity",
        "Gradients",
        "β does not matter",
        "Training ends where PQ ends",
        "Where it stops holding",
    ]


def test_controls_fail_by_orders_of_magnitude(report):
    controls = {check.name: check for check in report.sections[-1].checks}
    must_differ = [check for check in controls.values() if check.note == "must differ"]
    assert len(must_differ) == 3
    for check in must_differ:
        assert check.figure > 1e-2
    exact = next(check for name, check in controls.items() if "dropped energy" in name)
    assert exact.figure < 1e-10


def test_the_table_compares_pq_with_dqvae(report):
    section = report.sections[3]
    names = [row[0] for row in section.rows]
    assert names[:2] == ["PQ (k-means)", "PQ, best of 10 starts"]
    assert len(names) == 12
    assert "held-out distortion" in section.statement
    fixed = [float(row[5]) for row in section.rows]
    assert fixed[0] < 1e-6  # k-means ran to its end
    assert max(fixed[2:]) < 0.5


def broken(z: np.ndarray, how: str) -> DQTransform:
    transform = DQTransform(4).fit(z)
    axes = transform.components_
    if how == "scaled axis":
        axes[3] *= 1.001
    elif how == "swapped column":
        axes[5] = axes[6]  # one column stands in another's place
    elif how == "missing column":
        axes[2] = 0.0
    elif how == "shifted mean":
        transform.mean_ = transform.mean_ + 1.0  # harmless: the same z̄ is taken off and put back
    elif how == "reordered":
        transform.components_ = axes[::-1]  # harmless: still orthonormal
    return transform


@pytest.mark.parametrize("how", ["scaled axis", "swapped column", "missing column"])
def test_a_broken_transform_is_refused(z, how):
    report = validate(z, transform=broken(z, how), **SMALL)
    assert not report.passed
    identity = report.sections[0]
    assert not identity.passed
    assert all(
        check.passed is False for check in identity.checks if "float64: worst vector" in check.name
    )


@pytest.mark.parametrize("how", ["shifted mean", "reordered"])
def test_what_the_identity_does_not_need(z, how):
    assert validate(z, transform=broken(z, how), **SMALL).sections[0].passed


def test_padding_is_no_part_of_the_claim():
    z = clustered(2000, 10)
    report = validate(z, n_subspaces=4, n_codewords=16, train_rows=1500)
    assert report.passed  # 10 axes and 2 of padding


def test_degenerate_vectors_still_obey_the_identity():
    rng = np.random.default_rng(0)
    flat = (rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 12))).astype(np.float32)
    with pytest.warns(UserWarning, match="orthonormal completion"):
        assert validate(flat, **SMALL).sections[0].passed


def test_fixed_point_distance():
    x = np.array([[[0.0]], [[2.0]], [[10.0]]])
    codes = np.array([[0], [0], [1]])
    at_rest = np.array([[[1.0], [10.0], [99.0]]])  # the third codes nothing, and counts for nothing
    assert fixed_point_distance(x, codes, at_rest) == 0
    assert fixed_point_distance(x, codes, at_rest + 1) > 0.1


def test_too_few_vectors(z):
    with pytest.raises(InputError, match="100 vectors to train on are too few for 256 codewords"):
        validate(z[:100])
    with pytest.raises(InputError, match="transform has 3 subspaces, not 4"):
        validate(z, transform=DQTransform(3).fit(z), **SMALL)


def test_command_line(run, tmp_path, z):
    np.save(tmp_path / "v.npy", z)
    size = ("-L", "4", "-K", "16", "--train-rows", "1000")
    done = run("validate", "v.npy", *size, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["passed"] is True
    assert told["vectors"] == {"n": 3000, "d": 12, "trained_on": 800, "held_out": 200}
    done = run("validate", "v.npy", *size)
    assert "Identity" in done.stdout
    assert "the claim holds on v.npy" in done.stderr
    # On vectors where DQ-VAE's control can't fail, the answer is no, and the exit code says so.
    np.save(tmp_path / "same.npy", np.ones((2000, 4), dtype=np.float32))
    done = run("validate", "same.npy", "-L", "2", "-K", "4", "--train-rows", "500")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
