"""Whatever kills a writer or fails its calls: the artefact is whole, the old one or the new."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reliability import faults
from reliability.children import Children, Outcome, command, ended
from reliability.scenarios import (
    SCENARIOS,
    Files,
    Scenario,
    files,
    fresh,
    furnish,
    is_new,
    leftovers,
    what_is_wrong,
)

# Calls that a full disk refuses.
SPACE = ("create", "write", "rename", "mkdir")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    furnish(folder)
    return folder


class Trial:
    """A scenario that ran once without a fault: what was, what comes of it, and its calls."""

    def __init__(self, scenario: Scenario, server: Children, template: Path, place: Path) -> None:
        self.scenario, self.server, self.template, self.place = scenario, server, template, place
        self.old = files(template)
        ran, self.calls = self.run(faults.NEVER, faults.COUNT)
        assert ran.kind == "answer", ran.said
        self.new: Files = files(place)
        assert not leftovers(place)
        assert is_new(scenario, self.new, self.old, self.new), "the output does not change"

    def run(self, at: int, how: int, error: int = 0) -> tuple[Outcome, list[str]]:
        """The command from the start, with a fault at the `at`-th call, from 1."""
        fresh(self.template, self.place)
        words = list(self.scenario.words)
        outcome = self.server.run(faults.with_fault, self.place, at, how, error, command, words)
        if outcome.kind != "answer":
            return outcome, []
        return ended(outcome.value.value), outcome.value.calls

    def wrong(self) -> str | None:
        """What is wrong with the files now."""
        return what_is_wrong(self.scenario, files(self.place), self.old, self.new)

    def is_new(self) -> bool:
        """True if the new artefact is published."""
        return is_new(self.scenario, files(self.place), self.old, self.new)

    def wrong_after_again(self) -> str | None:
        """What is wrong after the same command, without a fault, where a killed one left off."""
        words, was_new = list(self.scenario.words), self.is_new()
        job = (self.place, faults.NEVER, faults.COUNT, 0, command, words)
        outcome = self.server.run(faults.with_fault, *job)
        if outcome.kind != "answer" or outcome.value.value.code:
            said = outcome.value.value.err if outcome.kind == "answer" else outcome.said
            return f"the next write fails: {said}"
        left = leftovers(self.place)
        if left:
            return f"the next write leaves {', '.join(left)}"
        if self.scenario.measured:
            return self.wrong()
        if files(self.place) != self.new and not (self.scenario.in_place and was_new):
            return "the next write makes something else"
        return None


def chosen(calls: list[str], words: tuple[str, ...], every: int, first: int) -> Iterator[int]:
    """Numbers, from 1, of calls of these kinds; each `every`-th of them from the `first`."""
    numbers = [n for n, call in enumerate(calls, start=1) if call.split()[0] in words or not words]
    yield from numbers[first % every :: every]


ALL = [pytest.param(scenario, place, id=scenario.name) for place, scenario in enumerate(SCENARIOS)]


def skip_long(scenario: Scenario, long: bool) -> None:
    if scenario.long and not long:
        pytest.skip("among all cases: pytest --long")


@pytest.fixture
def trial(faulty, template, tmp_path, long) -> Callable[[Scenario], Trial]:
    def make(scenario: Scenario) -> Trial:
        skip_long(scenario, long)
        return Trial(scenario, faulty, template, tmp_path / "work")

    return make


@pytest.mark.parametrize(("scenario", "place"), ALL)
def test_a_kill_leaves_the_old_or_the_new(tally, trial, long, scenario, place):
    one = trial(scenario)
    every = 1 if long else 6
    with tally("kills") as count:
        for how, words in ((faults.KILL, ()), (faults.KILL_HALFWAY, ("write",))):
            for at in chosen(one.calls, words, every, place):
                outcome, _ = one.run(at, how)
                what = f"{scenario.name}, killed at call {at} ({one.calls[at - 1]})"
                assert outcome.value == "SIGKILL", f"{what}: {outcome.said}"
                count.tried("new" if one.is_new() else "old")
                wrong = one.wrong() or one.wrong_after_again()
                if wrong:
                    count.violation(f"{what}: {wrong}")


@pytest.mark.parametrize(("scenario", "place"), ALL)
def test_a_failing_call_is_told_and_leaves_the_old(tally, trial, long, scenario, place):
    one = trial(scenario)
    every = 1 if long else 6
    kinds = (
        ("no space", faults.FAIL_FROM_THEN, errno.ENOSPC, SPACE),
        ("I/O error", faults.FAIL_ONCE, errno.EIO, ()),
        ("short write", faults.SHORT, 0, ("write",)),
    )
    with tally("failing writes") as count:
        for offset, (word, how, error, words) in enumerate(kinds):
            for at in chosen(one.calls, words, every, place + offset):
                outcome, _ = one.run(at, how, error)
                call = one.calls[at - 1]
                count.tried("done" if outcome.kind == "answer" else "refused")
                wrong = one.wrong() or told_wrongly(one, outcome, how, call)
                if wrong:
                    count.violation(f"{scenario.name}, {word} at call {at} ({call}): {wrong}")


def told_wrongly(one: Trial, outcome: Outcome, how: int, call: str) -> str | None:
    """What is wrong with what the command said of a failing call, given what it left."""
    if outcome.kind not in ("answer", "typed"):
        return outcome.said
    if outcome.kind == "answer":
        return None if one.is_new() else "it says it is done, but the old artefact stands"
    if how == faults.SHORT:
        return f"a short write must be gone on with: {outcome.said}"
    kind, _, name = call.partition(" ")
    # After the rename the new artefact stands; what then fails is that it may not last.
    published = kind in ("fsync", "unlink", "rmdir") and "." not in name.rpartition("/")[2]
    if one.is_new() and not published:
        return "it says it failed, but the new artefact stands"
    if kind != "unlink" and leftovers(one.place):
        return f"it leaves {', '.join(leftovers(one.place))}"
    return None
