"""Many at one artefact: nothing that was said to be written is lost, and no reader sees a mixture.

Each party is a child of a server of its own, and all wait for the same starting signal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import clustered

from dqindex import DQModel, build_index, build_like, open_index, open_vectors, semantic_ids
from dqindex.bench.results import open_results, read_results
from dqindex.errors import BusyError
from dqindex.sids.map_file import model_beside
from dqindex.sids.semantic_ids import SemanticIds
from reliability.children import PARTIES, Children, Outcome, command
from reliability.scenarios import leftovers

D = 8
# How each attempt of a party ended.
DONE, BUSY = "done", "busy"


def together(
    parties: list[Children], folder: Path, jobs: list[tuple[Callable[..., Any], tuple[Any, ...]]]
) -> list[Outcome]:
    """Run each job in a party of its own, all at once."""
    signal = folder / "go"
    for party, (function, args) in zip(parties, jobs, strict=False):
        # Readers of Parquet reserve address space by the gigabyte.
        party.start(_at_the_signal, signal, function, args, memory=4 * 2**30, seconds=120)
    signal.touch()
    outcomes = [party.finish() for party, _ in zip(parties, jobs, strict=False)]
    signal.unlink()
    return outcomes


def _at_the_signal(signal: Path, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    while not signal.exists():
        time.sleep(0.001)
    return function(*args)


def until_done(flag: Path, read: Callable[[], Any]) -> list[Any]:
    """What `read` gives, again and again until `flag` is there; and once more."""
    found = []
    while not flag.exists():
        found.append(read())
    return [*found, read()]


def attempts(rounds: int, write: Callable[[int], Any]) -> list[str]:
    """How each of `rounds` calls of `write` ended."""
    ends = []
    for turn in range(rounds):
        try:
            write(turn)
            ends.append(DONE)
        except BusyError:
            ends.append(BUSY)
            time.sleep(0.002)
    return ends


def flagged(flag: Path, write: Callable[[], Any]) -> Any:
    """What `write` gives; raises the flag whatever happens."""
    try:
        return write()
    finally:
        flag.touch()


def index_of(seed: int) -> Any:
    ids = [f"item {seed} {place}" for place in range(60)]
    return build_index(open_vectors(clustered(60, D, seed=seed), ids=ids), "DQ2,IVF2,PQ2x4")


def answer_of(index: Any) -> Any:
    found = index.search(clustered(5, D, seed=99), 3)
    return found.ids.tolist(), found.distances.tolist(), index.n


# Writers against writers.


def save_indexes(folder: Path, party: int, rounds: int) -> list[str]:
    made = index_of(party)
    return attempts(rounds, lambda turn: made.save(folder))


def test_writers_of_an_index_folder(tally, parties, long, tmp_path):
    folder = tmp_path / "index"
    rounds = 60 if long else 8
    jobs = [(save_indexes, (folder, party, rounds)) for party in range(PARTIES)]
    with tally("writers against writers") as count:
        for outcome in together(parties, tmp_path, jobs):
            if outcome.kind != "answer":
                count.violation(f"saving an index: {outcome.said}")
                continue
            for end in outcome.value:
                count.tried(end)
        if answer_of(open_index(folder)) not in [
            answer_of(index_of(one)) for one in range(PARTIES)
        ]:
            count.violation("the index folder holds no index that was written")
        if leftovers(folder) or len(list(folder.iterdir())) != 4:
            count.violation(f"left in the folder: {sorted(one.name for one in folder.iterdir())}")


def change_index(folder: Path, party: int, rounds: int) -> list[str]:
    """Add four items and remove one, by turns; how each ended."""
    ends = []
    for turn in range(rounds):
        name = folder.with_name(f"add-{party}-{turn}.parquet")
        gone = folder.with_name(f"gone-{party}-{turn}.txt")
        for words in (("add", folder, name), ("remove", folder, gone)):
            ran = command(*words, "--quiet")
            if ran.code == 1 and "another process" in ran.err:
                ends.append(BUSY)
            elif ran.code == 0:
                ends.append(DONE)
            else:
                raise RuntimeError(ran.err)
    return ends


def left_by_changes(count: Any, outcomes: list[Outcome], rounds: int) -> set[str]:
    """The ids that are to be in the index after `change_index` in every party."""
    wanted = {f"item 1 {place}" for place in range(60)}
    for party, outcome in enumerate(outcomes):
        if outcome.kind != "answer":
            count.violation(f"a change of an index: {outcome.said}")
            continue
        for place, end in enumerate(outcome.value):
            count.tried(end)
            turn, removes = divmod(place, 2)
            if end == DONE and removes:
                wanted.remove(f"item 1 {party * rounds + turn}")
            elif end == DONE:
                wanted |= {f"party {party} turn {turn} item {one}" for one in range(4)}
    return wanted


def test_changes_of_one_index_lose_nothing(tally, parties, long, tmp_path):
    """Additions and removals of several at once: all that were said to be done are."""
    folder = tmp_path / "index"
    index_of(1).save(folder)
    rounds = 20 if long else 3
    for party in range(PARTIES):
        write_additions(tmp_path, party, rounds)
        for turn in range(rounds):
            gone = tmp_path / f"gone-{party}-{turn}.txt"
            gone.write_text(f"item 1 {party * rounds + turn}\n")
    jobs = [(change_index, (folder, party, rounds)) for party in range(PARTIES)]
    with tally("writers against writers") as count:
        wanted = left_by_changes(count, together(parties, tmp_path, jobs), rounds)
        index = open_index(folder)
        there = index.ids.to_pylist()
        if set(there) != wanted or len(there) != len(wanted):
            count.violation(f"of {len(wanted)} items that are to be there {len(there)} are")
        # Each with its own vector, up to what codes keep of it.
        x = np.concatenate([clustered(4, D, seed=1000 + 100 * party) for party in range(PARTIES)])
        names = [f"party {party} turn 0 item {one}" for party in range(PARTIES) for one in range(4)]
        known = np.isin(names, there)
        names = [name for name, known_too in zip(names, known, strict=True) if known_too]
        like = build_like(open_vectors(x[known], ids=names), index).reconstruct(names)
        if index.reconstruct(names).tolist() != like.tolist():
            count.violation("items have the vectors of others")
        if leftovers(folder) or len(list(folder.iterdir())) != 4:
            count.violation(f"left in the folder: {sorted(one.name for one in folder.iterdir())}")


def append_items(path: Path, party: int, rounds: int) -> list[str]:
    ends = []
    for turn in range(rounds):
        name = path.with_name(f"add-{party}-{turn}.parquet")
        ran = command("sids", "append", path, name, "-o", path, "--quiet")
        if ran.code == 0:
            ends.append(DONE)
        elif ran.code == 1 and "another process" in ran.err:
            ends.append(BUSY)
        else:
            raise RuntimeError(ran.err)
    return ends


def write_additions(folder: Path, party: int, rounds: int) -> None:
    for turn in range(rounds):
        x = clustered(4, D, seed=1000 + 100 * party + turn)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), D)
        names = [f"party {party} turn {turn} item {place}" for place in range(4)]
        table = pa.table({"item_id": names, "vector": vectors})
        pq.write_table(table, folder / f"add-{party}-{turn}.parquet")


def map_at(path: Path) -> SemanticIds:
    """A small map with its model, and its file."""
    ids = [f"item {place}" for place in range(80)]
    sids = semantic_ids(clustered(80, D, seed=1), ids, n_subspaces=3, n_codewords=16)
    sids.save(path)
    sids.need_model().save(model_beside(path, sids.fingerprint))
    return sids


def test_appends_to_one_map_lose_nothing(tally, parties, long, tmp_path):
    path = tmp_path / "map.parquet"
    before = map_at(path)
    rounds = 25 if long else 4
    for party in range(PARTIES):
        write_additions(tmp_path, party, rounds)
    jobs = [(append_items, (path, party, rounds)) for party in range(PARTIES)]
    with tally("writers against writers") as count:
        wanted = set(before.item_ids.to_pylist())
        for party, outcome in enumerate(together(parties, tmp_path, jobs)):
            if outcome.kind != "answer":
                count.violation(f"append to a map: {outcome.said}")
                continue
            for turn, end in enumerate(outcome.value):
                count.tried(end)
                if end == DONE:
                    wanted |= {f"party {party} turn {turn} item {place}" for place in range(4)}
        after = SemanticIds.load(path)
        there = after.item_ids.to_pylist()
        if set(there) != wanted or len(there) != len(wanted):
            count.violation(f"of {len(wanted)} items that were said to be added {len(there)} are")
        if after.codes[: len(before)].tolist() != before.codes.tolist():
            count.violation("a published ID moved")


def append_lines(path: Path, party: int, rounds: int) -> list[str]:
    def write(turn: int) -> None:
        with open_results(path) as results:
            for kind in ("index", "point"):
                results.append(kind, result_line(kind, f"{party}-{turn}"))

    return attempts(rounds, write)


def result_line(kind: str, job: str) -> dict[str, Any]:
    """A line of results with the fields that reading them needs."""
    if kind == "index":
        return {"job": job, "points": 1}
    return {"job": job, "key": job, "parameters": {}, "threads": 1}


def test_writers_of_one_file_of_results(tally, parties, long, tmp_path):
    path = tmp_path / "results.jsonl"
    rounds = 100 if long else 20
    jobs = [(append_lines, (path, party, rounds)) for party in range(PARTIES)]
    with tally("writers against writers") as count:
        wanted = set()
        for party, outcome in enumerate(together(parties, tmp_path, jobs)):
            if outcome.kind != "answer":
                count.violation(f"results: {outcome.said}")
                continue
            for turn, end in enumerate(outcome.value):
                count.tried(end)
                if end == DONE:
                    wanted.add(f"{party}-{turn}")
        there = [record["job"] for record in read_results([path])]
        if set(there) != wanted or len(there) != len(wanted):
            count.violation(
                f"of {len(wanted)} results that were said to be written {len(there)} are"
            )


def save_models(path: Path, party: int, rounds: int) -> list[str]:
    model = DQModel(2, 4, seed=party).fit(clustered(60, D, seed=party))
    return attempts(rounds, lambda turn: model.save(path))


@pytest.mark.parametrize("same", [True, False], ids=["one file", "files beside each other"])
def test_writers_of_models_in_one_folder(tally, parties, long, tmp_path, same):
    """A writer that sweeps what dead ones left must not take what a living one is writing."""
    rounds = 100 if long else 20
    paths = [tmp_path / ("m" if same else f"m{party}") for party in range(PARTIES)]
    jobs = [(save_models, (paths[party], party, rounds)) for party in range(PARTIES)]
    with tally("writers against writers") as count:
        for outcome in together(parties, tmp_path, jobs):
            if outcome.kind != "answer":
                count.violation(f"saving a model: {outcome.said}")
                continue
            for end in outcome.value:
                count.tried(end)
        x = clustered(60, D, seed=0)
        right = [
            DQModel(2, 4, seed=party).fit(clustered(60, D, seed=party)).encode(x).tolist()
            for party in range(PARTIES)
        ]
        for party, path in enumerate(paths):
            allowed = right if same else [right[party]]
            if DQModel.load(path).encode(x).tolist() not in allowed:
                count.violation(f"{path.name} is no model that was written there")
        if leftovers(tmp_path):
            count.violation(f"left: {leftovers(tmp_path)}")


# Readers against writers.


def replace_index(folder: Path, flag: Path, rounds: int) -> None:
    versions = [index_of(1), index_of(2)]
    flagged(flag, lambda: [versions[turn % 2].save(folder) for turn in range(rounds)])


def search_index(folder: Path, flag: Path) -> list[Any]:
    return until_done(flag, lambda: answer_of(open_index(folder)))


def grow_map(path: Path, flag: Path, rounds: int) -> None:
    ends = flagged(flag, lambda: append_items(path, 0, rounds))
    if ends != [DONE] * rounds:
        raise RuntimeError(f"a reader keeps a writer out: {ends}")


def grow_index(folder: Path, flag: Path, rounds: int) -> None:
    def add() -> list[int]:
        names = [folder.with_name(f"add-0-{turn}.parquet") for turn in range(rounds)]
        return [command("add", folder, name, "--quiet").code for name in names]

    ends = flagged(flag, add)
    if ends != [0] * rounds:
        raise RuntimeError(f"a reader keeps a writer out: {ends}")


def read_index_mapped(folder: Path, flag: Path) -> list[Any]:
    """What an index says of itself, opened anew each time, mapped and read by turns."""
    turns = iter(range(10**9))

    def read() -> Any:
        index = open_index(folder, mmap=next(turns) % 2 == 0)
        found = index.search(clustered(5, D, seed=99), 200, parameters={"nprobe": 2})
        return index.n, sorted(found.ids[0, : index.n].tolist()), index.ids.to_pylist()

    return until_done(flag, read)


def read_map_codes(path: Path, flag: Path) -> list[Any]:
    def read() -> Any:
        sids = SemanticIds.load(path)
        return sids.codes.tolist(), sids.item_ids.to_pylist()

    return until_done(flag, read)


def grow_results(path: Path, flag: Path, rounds: int) -> None:
    flagged(flag, lambda: append_lines(path, 0, rounds))


def read_result_jobs(path: Path, flag: Path) -> list[Any]:
    return until_done(flag, lambda: [record["job"] for record in read_results([path])])


def replace_model(path: Path, flag: Path, rounds: int) -> None:
    models = [DQModel(2, 4, seed=one).fit(clustered(60, D, seed=one)) for one in (1, 2)]
    flagged(flag, lambda: [models[turn % 2].save(path) for turn in range(rounds)])


def encode_with_model(path: Path, flag: Path) -> list[Any]:
    x = clustered(20, D, seed=0)
    return until_done(flag, lambda: DQModel.load(path).encode(x).tolist())


def read_while_written(
    count: Any, parties: list[Children], folder: Path, writer: Any, reader: Any, right: Any
) -> None:
    """One party writes and the others read: each answer must satisfy `right`."""
    path, flag, rounds = writer[1:]
    jobs = [(writer[0], (path, flag, rounds))] + [(reader, (path, flag))] * (PARTIES - 1)
    first, *others = together(parties, folder, jobs)
    if first.kind != "answer":
        count.violation(f"the writer: {first.said}")
    for outcome in others:
        if outcome.kind != "answer":
            count.violation(f"a reader: {outcome.said}")
            continue
        for answer in outcome.value:
            count.tried()
            if not right(answer):
                count.violation(f"an answer of no version: {str(answer)[:200]}")


def test_readers_of_an_index_that_is_replaced(tally, parties, long, tmp_path):
    folder, flag = tmp_path / "index", tmp_path / "done"
    index_of(1).save(folder)
    right = [answer_of(index_of(1)), answer_of(index_of(2))]
    writer = (replace_index, folder, flag, 150 if long else 20)
    with tally("readers against writers") as count:
        read_while_written(count, parties, tmp_path, writer, search_index, right.__contains__)


def test_readers_of_an_index_that_grows(tally, parties, long, tmp_path):
    folder, flag = tmp_path / "index", tmp_path / "done"
    index_of(1).save(folder)
    rounds = 20 if long else 4
    write_additions(tmp_path, 0, rounds)
    ids = [f"item 1 {place}" for place in range(60)]
    ids += [f"party 0 turn {turn} item {place}" for turn in range(rounds) for place in range(4)]

    def right(answer: Any) -> bool:
        n, found, there = answer
        known = ids[:n]
        whole = n >= 60 and (n - 60) % 4 == 0
        return bool(whole and there == known and found == sorted(known))

    with tally("readers against writers") as count:
        writer = (grow_index, folder, flag, rounds)
        read_while_written(count, parties, tmp_path, writer, read_index_mapped, right)


def test_readers_of_a_map_that_grows(tally, parties, long, tmp_path):
    path, flag = tmp_path / "map.parquet", tmp_path / "done"
    map_at(path)
    rounds = 40 if long else 6
    write_additions(tmp_path, 0, rounds)
    with tally("readers against writers") as count:
        answers: list[Any] = []
        writer = (grow_map, path, flag, rounds)
        read_while_written(
            count,
            parties,
            tmp_path,
            writer,
            read_map_codes,
            lambda one: answers.append(one) or True,
        )
        last = SemanticIds.load(path)
        codes, ids = last.codes.tolist(), last.item_ids.to_pylist()
        for some_codes, some_ids in answers:
            whole = len(some_ids) >= 80 and (len(some_ids) - 80) % 4 == 0
            if (
                not whole
                or some_codes != codes[: len(some_ids)]
                or some_ids != ids[: len(some_ids)]
            ):
                count.violation(f"a map of {len(some_ids)} items is none that was written")


def test_readers_of_results_that_grow(tally, parties, long, tmp_path):
    path, flag = tmp_path / "results.jsonl", tmp_path / "done"
    append_lines(path, 1, 1)
    rounds = 150 if long else 30
    all_jobs = ["1-0", *(f"0-{turn}" for turn in range(rounds))]
    writer = (grow_results, path, flag, rounds)
    with tally("readers against writers") as count:
        read_while_written(
            count,
            parties,
            tmp_path,
            writer,
            read_result_jobs,
            lambda jobs: jobs and jobs == all_jobs[: len(jobs)],
        )
        assert [record["job"] for record in read_results([path])] == all_jobs


def test_readers_of_a_model_that_is_replaced(tally, parties, long, tmp_path):
    path, flag = tmp_path / "model.safetensors", tmp_path / "done"
    x = clustered(20, D, seed=0)
    models = [DQModel(2, 4, seed=one).fit(clustered(60, D, seed=one)) for one in (1, 2)]
    right = [model.encode(x).tolist() for model in models]
    models[0].save(path)
    writer = (replace_model, path, flag, 300 if long else 40)
    with tally("readers against writers") as count:
        read_while_written(count, parties, tmp_path, writer, encode_with_model, right.__contains__)


def test_two_benches_make_one_truth(tally, parties, tmp_path, monkeypatch):
    """The cache of exact neighbours is written by many at once, and right for each."""
    with tally("writers against writers") as count:
        jobs = [(find_truth, (tmp_path,))] * PARTIES
        outcomes = together(parties, tmp_path, jobs)
        right = find_truth(tmp_path)
        for outcome in outcomes:
            count.tried(DONE)
            if outcome.value != right:
                count.violation(f"the exact neighbours: {outcome.said}")
        assert not leftovers(tmp_path)


def find_truth(folder: Path) -> Any:
    from dqindex.bench.truth import cached_truth, content_key

    base, queries = clustered(200, D, seed=5), clustered(9, D, seed=6)
    key = content_key(base, queries, "l2")
    return np.asarray(cached_truth(base, queries, 5, "l2", key, folder)[0].positions).tolist()
