"""The judge is judged first: a child that crashes, hangs or takes all memory is told apart."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from dqindex.errors import InputError
from reliability.children import command


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    time.sleep(60)


def take_all_memory() -> int:
    return int(np.ones(2**29).sum())


def refuse() -> None:
    raise InputError("k is 0; ask for at least 1 neighbour")


def two_lines() -> None:
    raise InputError("one\ntwo")


def break_down() -> None:
    raise KeyError("n")


def leave() -> None:
    os._exit(7)


@pytest.mark.parametrize(
    ("function", "kind", "value"),
    [
        (crash, "killed", "SIGSEGV"),
        (hang, "slow", "SIGALRM"),
        (take_all_memory, "raw", "MemoryError"),
        (refuse, "typed", "InputError: k is 0"),
        (two_lines, "raw", "InputError"),
        (break_down, "raw", "KeyError: 'n'"),
        (leave, "exit", "7"),
        (os.getpid, "answer", ""),
    ],
)
def test_every_end_is_told_apart(children, function, kind, value):
    outcome = children.run(function, seconds=0.5 if function is hang else 20)
    assert outcome.kind == kind
    assert str(outcome.value).startswith(value)


def test_a_command_gives_its_code_and_both_streams(children, tmp_path):
    ran = children.run(command, "--version").value
    assert ran.code == 0
    assert "dqindex" in ran.out
    ran = children.run(command, "info", tmp_path / "none").value
    assert ran.code == 1
    assert ran.err.startswith("error: ")


def test_a_suite_that_is_not_told_of_is_refused(tally):
    with pytest.raises(KeyError, match="is not told of"):
        tally("no such suite")


def test_violations_fail_the_suite_and_name_the_first(request):
    from reliability.counts import Tally

    count = Tally("values", request)
    count.tried(cases=2)
    count.violation("a case")
    with pytest.raises(pytest.fail.Exception, match="1 violations in 2 cases"), count:
        pass
    with pytest.raises(AssertionError, match="no case"), Tally("values", request):
        pass
    request.node.user_properties.clear()
