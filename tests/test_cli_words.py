"""What the library refuses, said to who called a command: by its options, not its parameters."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import clustered

from dqindex.cli import cli
from dqindex.cli.wording import called, in_options

X = clustered(200, 8)


@pytest.fixture
def here(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "n_subspaces.npy", X * np.nan)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fit x.npy -o m.safetensors -L 99999", "-L is 99999; it must be an integer from 1 to"),
        (f"fit x.npy -o m.safetensors -K {2**70}", f"-K is {2**70}; it must be an integer from"),
        ("fit x.npy -o m.safetensors -L 3 -K 8,8", "-K lists 2 sizes for 3 subspaces; give one"),
        ("fit x.npy -o m.safetensors -K 8 --max-share 0.01", "--max-share is 0.01, but"),
        (
            "fit x.npy -o m.safetensors -K 8 --max-share 0.5 --polish 3",
            "--max-share is 0.5, but 3 rounds of polish",
        ),
        ("fit x.npy -o m.safetensors --block-widths 3", "--block-widths"),
        (
            f"sids extract x.npy -o m.parquet --coarse {2**40}",
            f"--coarse is ({2**40},); it must be a list of integers",
        ),
        # A path is a path.
        ("fit n_subspaces.npy -o m.safetensors", "n_subspaces.npy: "),
    ],
)
def test_options_are_named_and_no_parameters(here, run, words, message):
    done = run(*words.split())
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1


def test_the_command_is_found_among_options():
    assert called(cli, ["--debug", "sids", "extract", "x.npy"]).name == "extract"
    assert called(cli, ["fit", "build"]).name == "fit"
    assert called(cli, ["nonsense"]) is cli
    assert called(cli, []) is cli


def test_what_is_no_parameter_is_left_as_it_is():
    fit = called(cli, ["fit"])
    for words in (
        "x.npy: its n_subspaces_ are wrong",
        "a column 'n_subspaces' is missing",
        "/data/n_subspaces/x.npy: no such file",
        "give it by n_subspaces=3",
        "seed and polish are words",
    ):
        assert in_options(words, fit) == words
    assert in_options("DQModel: seed is -1; it must be 0", fit) == "--seed is -1; it must be 0"
    assert in_options("for n_subspaces; give more", fit) == "for -L; give more"
