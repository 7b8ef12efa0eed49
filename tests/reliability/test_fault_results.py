"""Bench results under kills and failing calls: each line that was written stays, and all come.

Results are measured, so no two runs write the same bytes: what holds is told by lines and keys.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import clustered

from dqindex.bench.results import open_results, read_results
from dqindex.errors import DQIndexError
from reliability import faults
from reliability.children import Children, Outcome, Ran, command, ended
from reliability.counts import Tally
from reliability.scenarios import fresh, leftovers

RESULTS = "r.jsonl"
RUN = ["bench", "run", "--data", "x.npy", "--n-queries", "20", "--threads", "1", "-k", "3"]
FAULTS = (
    ("killed", faults.KILL, 0),
    ("killed halfway", faults.KILL_HALFWAY, 0),
    ("no space", faults.FAIL_FROM_THEN, errno.ENOSPC),
    ("I/O error", faults.FAIL_ONCE, errno.EIO),
    ("short write", faults.SHORT, 0),
)


def append(path: str, job: str) -> None:
    """What a run writes of one index with two points."""
    with open_results(path) as results:
        if job not in results.indexes:
            results.append("index", {"job": job, "method": "m", "points": 2})
        for key in (f"{job} a", f"{job} b"):
            if key not in results.done:
                results.append("point", {"job": job, "key": key, "threads": 1})


def keys(path: Path) -> list[str]:
    """The points of a file of results, by key."""
    return [record["key"] for record in read_results([path])]


class Appending:
    """Something that adds to results in a folder, and what it makes of them without a fault."""

    def __init__(
        self, server: Children, template: Path, place: Path, function: Any, args: list[Any]
    ) -> None:
        self.server, self.template, self.place = server, template, place
        self.function, self.args = function, args
        self.old = (template / RESULTS).read_bytes()
        outcome, self.calls = self.run(faults.NEVER, faults.COUNT, 0)
        assert outcome.kind == "answer", outcome.said
        self.keys = keys(place / RESULTS)

    def run(self, at: int, how: int, error: int, again: bool = False) -> tuple[Outcome, list[str]]:
        """Add with a fault; `again` where the last one left off."""
        if not again:
            fresh(self.template, self.place)
        job = (self.place, at, how, error, self.function, self.args)
        outcome = self.server.run(faults.with_fault, *job, seconds=60)
        if outcome.kind != "answer":
            return outcome, []
        value, calls = outcome.value
        return ended(value) if isinstance(value, Ran) else outcome, calls

    def wrong(self, outcome: Outcome, how: int) -> str | None:
        """What is wrong with how it ended, with what is there, or with the next one."""
        path = self.place / RESULTS
        if not path.read_bytes().startswith(self.old):
            return "a line that was there is lost"
        try:
            found = keys(path)
        except DQIndexError as error:
            return f"what is there cannot be read: {error}"
        if found != self.keys[: len(found)]:
            return f"there are {found}"
        if how in (faults.KILL, faults.KILL_HALFWAY):
            if outcome.value != "SIGKILL":
                return f"it was not killed: {outcome.said}"
        elif outcome.kind not in ("answer", "typed") or (
            how == faults.SHORT and outcome.kind != "answer"
        ):
            return outcome.said
        elif outcome.kind == "answer" and found != self.keys:
            return f"it says it is done, but there are {found}"
        after, _ = self.run(faults.NEVER, faults.COUNT, 0, again=True)
        if after.kind != "answer":
            return f"the next run fails: {after.said}"
        if keys(path) != self.keys:
            return f"after the next run there are {keys(path)}"
        return f"left: {leftovers(self.place)}" if leftovers(self.place) else None


def try_all(one: Appending, kills: Tally, failures: Tally, every: int) -> None:
    """Each fault at each `every`-th call that it fits."""
    for offset, (word, how, error) in enumerate(FAULTS):
        numbers = list(range(1, len(one.calls) + 1))
        for at in numbers[offset % every :: every]:
            call = one.calls[at - 1]
            if how in (faults.KILL_HALFWAY, faults.SHORT) and not call.startswith("write"):
                continue
            outcome, _ = one.run(at, how, error)
            count = kills if how in (faults.KILL, faults.KILL_HALFWAY) else failures
            count.tried("done" if outcome.kind == "answer" else "refused" if error else "")
            wrong = one.wrong(outcome, how)
            if wrong:
                count.violation(f"results, {word} at call {at} ({call}): {wrong}")


def test_lines_that_are_appended(tally, faulty, tmp_path, long):
    template = tmp_path / "template"
    template.mkdir()
    append(str(template / RESULTS), "first")
    one = Appending(faulty, template, tmp_path / "work", append, [RESULTS, "second"])
    with tally("kills") as kills, tally("failing writes") as failures:
        try_all(one, kills, failures, 1 if long else 2)


def test_a_run_of_bench(tally, faulty, tmp_path, long, monkeypatch):
    if not long:
        pytest.skip("among all cases: pytest --long")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    template = tmp_path / "template"
    template.mkdir()
    np.save(template / "x.npy", clustered(120, 8, seed=2))
    append(str(template / RESULTS), "first")
    words = [*RUN, "--spec", "DQ2,PQ2x4", "-o", RESULTS]
    one = Appending(faulty, template, tmp_path / "work", command, words)
    with tally("kills") as kills, tally("failing writes") as failures:
        try_all(one, kills, failures, 3)
