"""The process that commands fork from: its children are what the command line is."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from conftest import clustered
from forks import Forks


@pytest.mark.parametrize(
    "words",
    [
        "info none --json",
        "--debug info none",
        "build v.npy",
        "fit v.npy -o m.safetensors -L 2 -K 8 --json",
    ],
)
def test_a_fork_is_what_a_process_is(tmp_path, run, words):
    np.save(tmp_path / "v.npy", clustered(200, 6))
    forked = run(*words.split())
    alone = run(*words.split(), python=("-X", "utf8"))
    assert forked.returncode == alone.returncode
    assert forked.stdout == alone.stdout
    # Both show the lines that called the command line; those are of two programs.
    assert forked.stderr.splitlines()[-1:] == alone.stderr.splitlines()[-1:]
    assert ("Traceback" in forked.stderr) == ("Traceback" in alone.stderr)


def test_a_command_that_is_given_up_is_not_the_answer_of_the_next(tmp_path):
    forks, env = Forks(), {**os.environ}
    assert forks.run(["--version"], tmp_path, env)[0] == 0

    def give_up(*_):
        raise TimeoutError

    def ask():
        while True:
            forks.run(["info", "none"], tmp_path, env)

    before = signal.signal(signal.SIGALRM, give_up)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        with pytest.raises(TimeoutError):
            ask()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert forks.run(["--version"], tmp_path, env)[1].startswith("dqindex, version")
    forks.close()
    forks.close()
