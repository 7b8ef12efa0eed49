"""An index that is added to and taken from: under kills and failing calls, and by many at once."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from conftest import clustered

from dqindex import build_index, open_index, open_vectors
from dqindex.errors import BusyError
from reliability import faults
from reliability.children import PARTIES, Outcome
from reliability.scenarios import fresh, leftovers
from reliability.test_concurrency import BUSY, DONE, flagged, together, until_done
from reliability.test_fault_results import FAULTS

D = 8
SPEC = "DQ2,IVF4,PQ2x4"
ADDED = [f"added {place}" for place in range(12)]


def make(folder: Path) -> None:
    """An index of 90 items."""
    ids = [f"item {place}" for place in range(90)]
    build_index(open_vectors(clustered(90, D, seed=1), ids=ids), SPEC).save(folder)


def change(folder: str) -> None:
    """Take 12 items out and put 12 in, as a catalogue changes; the same if done again."""
    warnings.simplefilter("ignore")
    index = open_index(folder)
    index.remove([*ADDED, *(f"item {place}" for place in range(12))], missing_ok=True)
    index.add(clustered(12, D, seed=2), ids=ADDED)
    index.save(folder)


def catalogue(folder: Path) -> tuple[list[str], Any]:
    """The ids of an index, and what it finds."""
    index = open_index(folder)
    found = index.search(clustered(5, D, seed=9), 4)
    return sorted(index.ids.to_pylist()), found.ids.tolist()


def test_a_change_is_all_there_or_not_at_all(tally, faulty, long, tmp_path):
    template, place = tmp_path / "template", tmp_path / "work"
    template.mkdir()
    make(template / "index")
    before = catalogue(template / "index")

    def run(at: int, how: int, error: int) -> tuple[Outcome, list[str]]:
        job = (place, at, how, error, change, ["index"])
        outcome = faulty.run(faults.with_fault, *job)
        return outcome, outcome.value.calls if outcome.kind == "answer" else []

    fresh(template, place)
    outcome, calls = run(faults.NEVER, faults.COUNT, 0)
    assert outcome.kind == "answer", outcome.said
    after = catalogue(place / "index")
    assert after != before
    every = 1 if long else 11
    with tally("kills") as kills, tally("failing writes") as failures:
        for offset, (word, how, error) in enumerate(FAULTS):
            for at in range(1 + offset % every, len(calls) + 1, every):
                call = calls[at - 1]
                if how in (faults.KILL_HALFWAY, faults.SHORT) and not call.startswith("write"):
                    continue
                fresh(template, place)
                outcome, _ = run(at, how, error)
                found = catalogue(place / "index")
                count = kills if how in (faults.KILL, faults.KILL_HALFWAY) else failures
                count.tried("new" if count is kills and found == after else "")
                what = f"a change of an index, {word} at call {at} ({call})"
                done = outcome.kind == "answer"
                if found not in (before, after) or (done and found != after):
                    count.violation(f"{what}: neither the old nor the new")
                elif outcome.kind not in ("answer", "typed") and outcome.value != "SIGKILL":
                    count.violation(f"{what}: {outcome.said}")
                elif run(faults.NEVER, faults.COUNT, 0)[0].kind != "answer":
                    count.violation(f"{what}: the next change fails")
                elif leftovers(place) or catalogue(place / "index")[0] != after[0]:
                    count.violation(f"{what}: the next change leaves {leftovers(place)}")


def batch(party: int, turn: int) -> tuple[np.ndarray, list[str]]:
    """What one party adds in one turn."""
    names = [f"party {party} turn {turn} item {place}" for place in range(3)]
    return clustered(3, D, seed=100 + 50 * party + turn), names


def add_batches(folder: Path, party: int, rounds: int) -> list[str]:
    warnings.simplefilter("ignore")
    ends = []
    for turn in range(rounds):
        x, names = batch(party, turn)
        try:
            index = open_index(folder)
            index.add(x, ids=names)
            index.save(folder)
            ends.append(DONE)
        except BusyError:
            ends.append(BUSY)
            time.sleep(0.002)
    return ends


def test_additions_by_many_lose_nothing(tally, parties, long, tmp_path):
    folder = tmp_path / "index"
    make(folder)
    rounds = 30 if long else 4
    jobs = [(add_batches, (folder, party, rounds)) for party in range(PARTIES)]
    with tally("writers against writers") as count:
        wanted = {f"item {place}" for place in range(90)}
        for party, outcome in enumerate(together(parties, tmp_path, jobs)):
            if outcome.kind != "answer":
                count.violation(f"adding to an index: {outcome.said}")
                continue
            for turn, end in enumerate(outcome.value):
                count.tried(end)
                if end == DONE:
                    wanted |= set(batch(party, turn)[1])
        there = catalogue(folder)[0]
        if set(there) != wanted or len(there) != len(wanted):
            count.violation(f"{len(wanted)} items were said to be added, {len(there)} are there")


def grow(folder: Path, flag: Path, rounds: int) -> None:
    ends = flagged(flag, lambda: add_batches(folder, 0, rounds))
    if ends != [DONE] * rounds:
        raise RuntimeError(f"a reader keeps a writer out: {ends}")


def look(folder: Path, flag: Path, mapped: bool) -> list[Any]:
    """Ids of the index and what it finds, of each version met; and again of one that is old."""

    def read() -> Any:
        index = open_index(folder, mmap=mapped)
        queries = clustered(5, D, seed=9)
        first = index.search(queries, 4)
        second = index.search(queries, 4)
        return index.n, first.ids.tolist(), first.ids.tolist() == second.ids.tolist()

    return until_done(flag, read)


def test_readers_of_an_index_that_grows(tally, parties, long, tmp_path):
    """The versions are made again, one by one, to know what each answers."""
    folder, flag, copy = tmp_path / "index", tmp_path / "done", tmp_path / "copy"
    make(folder)
    make(copy)
    rounds = 40 if long else 5
    right = {90: catalogue(copy)[1]}
    for turn in range(rounds):
        x, names = batch(0, turn)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            index = open_index(copy)
            index.add(x, ids=names)
        index.save(copy)
        right[index.n] = index.search(clustered(5, D, seed=9), 4).ids.tolist()
    jobs = [(grow, (folder, flag, rounds)), (look, (folder, flag, False))]
    jobs.append((look, (folder, flag, True)))
    with tally("readers against writers") as count:
        writer, *readers = together(parties, tmp_path, jobs)
        if writer.kind != "answer":
            count.violation(f"the writer: {writer.said}")
        for outcome in readers:
            if outcome.kind != "answer":
                count.violation(f"a reader: {outcome.said}")
                continue
            for n, found, same in outcome.value:
                count.tried()
                if right.get(n) != found or not same:
                    count.violation(f"an index of {n} items answers as no version does")
