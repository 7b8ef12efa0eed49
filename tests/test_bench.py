"""`dqindex bench run`: what is measured is what it says, and a run can be broken off."""

import contextlib
import dataclasses
import json
import os
import platform
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import clustered, command_line, without_coverage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dqindex import build_index
from dqindex.bench import peers
from dqindex.bench import truth as truth_module
from dqindex.bench.dataset import Dataset, Description
from dqindex.bench.measure import latency, pareto, recalls, throughput
from dqindex.bench.results import open_results, read_results
from dqindex.bench.run import run as run_bench
from dqindex.bench.truth import Truth, cached_truth, exact_truth
from dqindex.errors import (
    BusyError,
    DQIndexError,
    FileFormatError,
    InputError,
    IntegrityError,
    MissingDependencyError,
    SpecError,
    StorageError,
)


def brute(base, queries, k, metric):
    """Neighbours in float64, the first of equals first."""
    x, q = base.astype(np.float64), queries.astype(np.float64)
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        q = q / np.linalg.norm(q, axis=1, keepdims=True)
    if metric == "ip":
        distances = -(q[:, None] * x[None]).sum(axis=2)
    else:
        distances = ((q[:, None] - x[None]) ** 2).sum(axis=2)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("shift", [0, 1000])
def test_exact_truth_is_that_of_float64(metric, shift):
    base = clustered(2000, 12) + np.float32(shift)
    base[500:900] = base[:400]  # exact duplicates: ties
    base[900:1300] = base[7]  # more of one than candidates are looked at
    queries = np.concatenate([base[:20], clustered(30, 12, seed=1) + np.float32(shift)])
    positions, distances = brute(base, queries, 10, metric)
    found = exact_truth(base, queries, 10, metric)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-9, atol=1e-9)
    if metric != "cosine":  # there, equals are equal up to the last bit only
        np.testing.assert_array_equal(found.positions, positions)


def test_recall_by_distance_counts_equals_and_recall_by_id_does_not():
    base = np.array([[0.0], [1.0], [1.0], [2.0], [9.0]], dtype=np.float32)
    queries = np.array([[0.0]], dtype=np.float32)
    truth = exact_truth(base, queries, 2, "l2")
    assert truth.positions.tolist() == [[0, 1]]
    got = recalls(np.array([[0, 2]]), truth, base, queries, "l2", 2)
    assert got["distance"] == {"1@1": 1, "1@2": 1, "2@2": 1}
    assert got["id"] == {"1@1": 1, "1@2": 1, "2@2": 0.5}
    got = recalls(np.array([[2, 0]]), truth, base, queries, "l2", 2)
    assert got["distance"] == {"1@1": 0, "1@2": 1, "2@2": 1}
    # What is missing does not count, and what stands twice counts once.
    got = recalls(np.array([[0, -1]]), truth, base, queries, "l2", 2)
    assert got["distance"]["2@2"] == got["id"]["2@2"] == 0.5
    got = recalls(np.array([[0, 0]]), truth, base, queries, "l2", 2)
    assert got["distance"]["2@2"] == got["id"]["2@2"] == 0.5


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from(["l2", "ip", "cosine"]))
def test_exact_answers_have_recall_1_and_others_less(seed, metric):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(60, 3)).astype(np.float32)
    queries = rng.normal(size=(5, 3)).astype(np.float32)
    truth = exact_truth(base, queries, 5, metric)
    got = recalls(truth.positions, truth, base, queries, metric, 5)
    assert set(got["distance"].values()) == set(got["id"].values()) == {1.0}
    wrong = np.stack([np.setdiff1d(np.arange(60), row)[:5] for row in truth.positions])
    got = recalls(wrong, truth, base, queries, metric, 5)
    assert set(got["distance"].values()) == set(got["id"].values()) == {0.0}


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(0, 5).map(float)
    )
)
def test_pareto_keeps_what_no_other_beats(points):
    pairs = [tuple(map(float, point)) for point in points]
    kept = [pairs[place] for place in pareto(pairs)]
    assert kept
    for recall, rate in pairs:
        assert any(best[0] >= recall and best[1] >= rate for best in kept)
    for one in kept:
        assert not any(o[0] >= one[0] and o[1] >= one[1] and o != one for o in pairs)


def test_throughput_and_latency_ask_what_they_say(monkeypatch):
    asked = []
    clock = [0.0]
    monkeypatch.setattr("dqindex.bench.measure.perf_counter", lambda: clock[0])

    def search(queries, k):
        asked.append((len(queries), k))
        clock[0] += 0.01 + 0.01 * (len(asked) % 4 == 0)  # each fourth is slow
        return np.zeros((len(queries), k), dtype=np.int64)

    queries = np.zeros((100, 2), dtype=np.float32)
    got = throughput(search, queries, 7, 0.01)
    assert set(asked) == {(100, 7)}
    assert got["runs"] == len(asked)
    assert got["queries"] == 100
    assert [got["qps"], got["qps_high"]] == pytest.approx([100 / 0.01] * 2)
    assert 100 / 0.02 <= got["qps_low"] < 0.99 * got["qps"]
    asked.clear()
    # What took 1,000 seconds is measured with a share of the queries.
    got = throughput(search, queries, 7, 1000)
    assert {number for number, _ in asked} == {got["queries"]} == {1}
    asked.clear()
    got = latency(search, queries[:30], 3)
    assert set(asked) == {(1, 3)}
    assert got["queries"] == 30
    assert (got["p50_ms"], got["p95_ms"], got["p99_ms"]) == pytest.approx((10, 20, 20))
    assert 10 < got["p50_ms"] <= got["p95_ms"] <= got["p99_ms"]


# Data.


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "v.npy", clustered(3000, 20))
    return tmp_path


def describe(data, queries=None, metric=None, n_queries=100, seed=0):
    return Description(
        str(data), None if queries is None else str(queries), metric, n_queries, seed
    )


def test_queries_are_held_out(folder):
    everything = np.load(folder / "v.npy")
    dataset = Dataset(describe(folder / "v.npy"))
    assert dataset.base.shape == (2900, 20)
    assert dataset.queries.shape == (100, 20)
    rows = {row.tobytes() for row in dataset.base}
    assert not rows & {row.tobytes() for row in dataset.queries}
    together = np.concatenate([dataset.base, dataset.queries])
    np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(everything, axis=0))
    assert Dataset(describe(folder / "v.npy")).key == dataset.key
    assert Dataset(describe(folder / "v.npy", seed=1)).key != dataset.key
    assert Dataset(describe(folder / "v.npy", metric="ip")).key != dataset.key


def test_given_queries(folder):
    np.save(folder / "q.npy", clustered(40, 20, seed=3))
    dataset = Dataset(describe(folder / "v.npy", folder / "q.npy", n_queries=25))
    assert len(dataset.base) == 3000
    np.testing.assert_array_equal(dataset.queries, np.load(folder / "q.npy")[:25])


@pytest.mark.parametrize(("stored", "metric"), [("euclidean", "l2"), ("angular", "cosine")])
def test_hdf5_of_ann_benchmarks(folder, stored, metric):
    x = np.load(folder / "v.npy")
    neighbors, distances = brute(x[:2900], x[2900:], 100, metric)
    with h5py.File(folder / "d.hdf5", "w") as file:
        file.attrs["distance"] = stored
        file["train"], file["test"] = x[:2900], x[2900:]
        file["neighbors"] = neighbors.astype(np.int32)
        file["distances"] = distances
    dataset = Dataset(describe(folder / "d.hdf5"))
    assert dataset.metric == metric
    np.testing.assert_array_equal(dataset.queries, x[2900:])
    np.testing.assert_array_equal(dataset.truth().positions, neighbors)
    np.testing.assert_allclose(dataset.truth().distances, distances, atol=1e-9)
    # Another metric than the file's needs other neighbours.
    other = Dataset(describe(folder / "d.hdf5", metric="ip"))
    np.testing.assert_array_equal(
        other.truth().positions[:, 0], brute(x[:2900], x[2900:], 1, "ip")[0][:, 0]
    )
    with h5py.File(folder / "d.hdf5", "a") as file:
        file["neighbors"][0, 0] = 2900
    with pytest.raises(InputError, match="outside its 2900 train vectors"):
        Dataset(describe(folder / "d.hdf5")).truth()


def big_ann(positions, distances=None):
    """Ground truth as big-ann-benchmarks has it."""
    head = np.array(positions.shape, "<u4").tobytes()
    tail = b"" if distances is None else distances.astype("<f4").tobytes()
    return head + positions.astype("<i4").tobytes() + tail


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize(
    "name", ["GT.public.ibin", "bigann-10M", "gt.bin", "t.ivecs", "t.npy", "t.h5:near"]
)
def test_truth_from_a_file(folder, metric, name):
    x, q = np.load(folder / "v.npy"), clustered(40, 20, seed=3)
    (folder / "query.public.10K.fbin").write_bytes(np.array(q.shape, "<u4").tobytes() + q.tobytes())
    positions, distances = brute(x, q, 50, metric)
    path = folder / name.partition(":")[0]
    if name.endswith(":near"):
        with h5py.File(path, "w") as file:
            file["near"] = positions
    elif name.endswith(".npy"):
        np.save(path, positions)
    elif name.endswith(".ivecs"):
        widths = np.full((len(q), 1), 50)
        path.write_bytes(np.hstack([widths, positions]).astype("<i4").tobytes())
    else:
        path.write_bytes(big_ann(positions, None if name == "gt.bin" else distances))
    description = dataclasses.replace(
        describe(folder / "v.npy", folder / "query.public.10K.fbin", metric, n_queries=30),
        truth=str(folder / name),
    )
    truth = Dataset(description).truth()
    np.testing.assert_array_equal(truth.positions, positions[:30])
    np.testing.assert_allclose(truth.distances, distances[:30], rtol=1e-9, atol=1e-9)


def test_truth_of_other_vectors_is_refused(folder):
    x, q = np.load(folder / "v.npy"), clustered(40, 20, seed=3)
    np.save(folder / "q.npy", q)
    positions, distances = brute(x, q, 20, "l2")
    larger, twice = positions.copy(), positions.copy()
    larger[3, 3], twice[3, 3] = 3000, twice[3, 4]
    files = {
        "larger": (big_ann(larger, distances), "names the vector 3000, but there are 3000"),
        "twice": (big_ann(twice, distances), "names a neighbour of one query twice"),
        "few": (big_ann(positions[:9], distances[:9]), "neighbours of 9 queries, but 40 are"),
        "turned": (big_ann(positions[::-1], distances[::-1]), "query 0 are not its nearest by l2"),
        "reversed": (
            big_ann(positions[:, ::-1], distances[:, ::-1]),
            "neighbours of query 0 do not begin with the nearest",
        ),
        "ip": (big_ann(*brute(x, q, 20, "ip")), "it is of another metric"),
        "short": (big_ann(positions, distances)[:-4], "as its header says"),
        "empty": (b"", "is 0 bytes"),
        "t.npy": (None, "holds float64, not the numbers of rows"),
        "none": (None, "no such file; give the true neighbours"),
    }
    np.save(folder / "t.npy", distances)
    for name, (content, message) in files.items():
        if content is not None:
            (folder / name).write_bytes(content)
        description = dataclasses.replace(
            describe(folder / "v.npy", folder / "q.npy"), truth=str(folder / name)
        )
        with pytest.raises(DQIndexError, match=message):
            Dataset(description).truth()
    with pytest.raises(InputError, match="give the queries as well"):
        Dataset(dataclasses.replace(describe(folder / "v.npy"), truth="few"))


def test_a_run_by_a_truth_of_few_neighbours(folder, monkeypatch):
    """Its figures are those of the neighbours that the file has, and no others are looked for."""
    x, q = np.load(folder / "v.npy"), clustered(40, 20, seed=3)
    np.save(folder / "q.npy", q)
    (folder / "GT").write_bytes(big_ann(*brute(x, q, 20, "l2")))

    def never(*_):
        raise AssertionError("computed")

    monkeypatch.setattr(truth_module, "exact_truth", never)
    description = dataclasses.replace(
        describe(folder / "v.npy", folder / "q.npy"), truth=str(folder / "GT")
    )
    assert Description(**Dataset(description).as_dict()).truth == str(folder / "GT")
    outcome = run_bench(description, ["dqindex:Flat"], folder / "r.jsonl", k=5, threads=[1])
    assert not outcome.failed
    (record,) = read_results([folder / "r.jsonl"])
    assert record["recall"]["id"] == dict.fromkeys(("1@1", "1@5", "5@5", "1@20", "20@20"), 1.0)
    with pytest.raises(InputError, match="GT has 20 neighbours a query"):
        run_bench(description, ["dqindex:Flat"], folder / "r.jsonl", k=21, threads=[1])


def test_truth_is_computed_once(folder, monkeypatch):
    dataset = Dataset(describe(folder / "v.npy"))
    first = dataset.truth()
    cached = list((folder / ".dqindex-bench").iterdir())
    assert len(cached) == 1

    def never(*_):
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(truth_module, "exact_truth", never)
        again = Dataset(describe(folder / "v.npy")).truth()
        np.testing.assert_array_equal(again.positions, first.positions)
    # A damaged cache is made again.
    cached[0].write_bytes(cached[0].read_bytes()[:-9])
    np.testing.assert_array_equal(dataset.truth().positions, first.positions)


def test_truth_goes_to_the_users_cache_where_the_data_is_read_only(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = clustered(300, 5)
    _, path = cached_truth(base, base[:3], 5, "l2", "a" * 64, Path("/proc/no"))
    assert path.parent == tmp_path / "cache" / "dqindex"
    _, path = cached_truth(base, base[:3], 5, "l2", "a" * 64, None)
    assert path.parent == tmp_path / "cache" / "dqindex"


# Results.


def line(path, **record):
    with open_results(path) as results:
        results.append("index", {"job": "j", "points": 2, "method": "m"})
        results.append("point", {"job": "j", "key": "a", **record})


def test_results_join_points_with_their_index(tmp_path):
    line(tmp_path / "r.jsonl", threads=1)
    (record,) = read_results([tmp_path / "r.jsonl"])
    assert (record["method"], record["threads"], record["key"]) == ("m", 1, "a")


def test_a_line_that_was_cut_off_is_dropped(tmp_path):
    path = tmp_path / "r.jsonl"
    line(path)
    whole = path.read_bytes()
    for cut in range(len(whole.splitlines(keepends=True)[0]) + 1, len(whole)):
        path.write_bytes(whole[:cut])
        assert read_results([path]) == []
    with open_results(path) as results:
        assert results.done == set()
        assert results.indexes == {"j"}
        assert results.complete == set()
        results.append("point", {"job": "j", "key": "a"})
        results.append("point", {"job": "j", "key": "b"})
    assert [record["key"] for record in read_results([path])] == ["a", "b"]
    with open_results(path) as results:
        assert results.complete == {"j"}


def test_a_file_that_is_something_else_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("keep\nthis\n")
    with pytest.raises(FileFormatError, match="line 1 is not a result"), open_results(path):
        pass
    assert path.read_text() == "keep\nthis\n"
    path.write_text('{"format": "dqindex-bench", "format_version": 9}\n')
    with pytest.raises(FileFormatError, match="format 9"):
        read_results([path])
    with pytest.raises(StorageError, match=r"none\.jsonl"):
        read_results([tmp_path / "none.jsonl"])


def test_a_damaged_line_is_refused_wherever_it_stands(tmp_path):
    path = tmp_path / "r.jsonl"
    line(path, threads=1)
    whole = path.read_bytes()
    true = read_results([path])
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises((FileFormatError, IntegrityError), match="line"):
            read_results([path])
    path.write_bytes(whole)
    assert read_results([path]) == true
    path.write_bytes(whole.splitlines(keepends=True)[1])
    with pytest.raises(FileFormatError, match="for whose index there is no line"):
        read_results([path])


def test_a_file_of_others_is_never_cut(tmp_path):
    path = tmp_path / "v.fbin"
    for data in (b"\x03\0\0\0 no line ends here", b'{"format": "other'):
        path.write_bytes(data)
        with pytest.raises(FileFormatError, match="line 1 is not a result"), open_results(path):
            pass
        assert path.read_bytes() == data


def test_the_truth_of_another_key_is_not_taken(folder):
    dataset = Dataset(describe(folder / "v.npy"))
    first = dataset.truth()
    (cached,) = (folder / ".dqindex-bench").iterdir()
    other = Dataset(describe(folder / "v.npy", metric="ip"))
    other.truth()
    (mine,) = set((folder / ".dqindex-bench").iterdir()) - {cached}
    mine.write_bytes(cached.read_bytes())
    again = Dataset(describe(folder / "v.npy", metric="ip")).truth()
    assert not np.array_equal(again.positions, first.positions)


def test_one_run_at_a_time(tmp_path):
    with open_results(tmp_path / "r.jsonl"), pytest.raises(BusyError, match="another run"):
        line(tmp_path / "r.jsonl")


# Runs.

ARGUMENTS = (
    "--data v.npy --n-queries 100 --threads 1 -o r.jsonl --spec DQ4,IVF16,PQ4 "
    "--spec DQ5,IVF16,PQ5x4fs,Refine(SQ8) --peer faiss:SQ8 --param nprobe=1,16 "
    "--param k_factor_rf=1,8"
).split()
MEASURED = ("batch", "single", "build", "memory", "search_peak", "checksum")


def lasting(path):
    """Results without what the clock and the memory say."""
    lines = [json.loads(one) for one in path.read_text().splitlines()]
    return [{key: one[key] for key in one if key not in MEASURED} for one in lines]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nothing disturbs: its process, and its results."""
    folder = tmp_path_factory.mktemp("unbroken")
    np.save(folder / "v.npy", clustered(3000, 20))
    done = command_line(folder)("bench", "run", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    return done, folder / "r.jsonl"


def test_figures_are_those_of_the_index(folder, unbroken):
    done, results = unbroken
    assert done.stdout == ""
    records = read_results([results])
    assert [(one["method"], one["parameters"]) for one in records[:2]] == [
        ("dqindex:DQ4,IVF16,PQ4", {"nprobe": 1}),
        ("dqindex:DQ4,IVF16,PQ4", {"nprobe": 16}),
    ]
    assert len(records) == 2 + 4 + 1
    assert "7 of" not in done.stderr
    assert "4 of 4 points" in done.stderr

    dataset = Dataset(describe(folder / "v.npy"))
    index = build_index(dataset.base, "DQ4,IVF16,PQ4")
    found = index.search(dataset.queries, 10, parameters={"nprobe": 16}).positions
    expected = recalls(found, dataset.truth(), dataset.base, dataset.queries, "l2", 10)
    got = records[1]["recall"]
    for kind in ("id", "distance"):
        for measure, value in expected[kind].items():
            assert got[kind][measure] == pytest.approx(value, abs=1e-5)
        assert got[kind]["1@100"] >= got[kind]["1@10"] >= got[kind]["1@1"]
        assert "100@100" in got[kind]

    index.save(folder / "i")
    size = next((folder / "i").glob("index-*.faiss")).stat().st_size
    sizes = records[0]["bytes"]
    assert sizes["file"] == size
    assert sizes["per_vector"] == pytest.approx(size / 2900, rel=1e-5)
    assert sizes["codes"] == 4 * 2900
    assert sizes["ids"] == 8 * 2900
    assert sum(sizes[part] for part in ("codes", "ids", "overhead")) == size
    for record in records:
        assert record["memory"]["build_peak"] >= record["memory"]["before"] > 0
        assert record["search_peak"] > 0
        assert record["build"]["total"] == pytest.approx(
            sum(v for k, v in record["build"].items() if k not in ("total", "threads")), rel=1e-4
        )
        assert record["data"]["n"] == 2900
        assert record["machine"]["cores"] == os.cpu_count()
        assert {"dqindex", "faiss", "numpy"} <= set(record["versions"])
        assert record["command"].startswith("__main__.py bench run --data v.npy")
    subspaces = records[0]["subspaces"]
    turned = index.model.transform_.transform(dataset.base)
    for name, vectors in (("before", dataset.base), ("after", turned)):
        groups = vectors.var(axis=0, dtype=np.float64).reshape(4, 5).sum(axis=1)
        np.testing.assert_allclose(subspaces[name], groups, rtol=1e-3)
    assert [one["size"] for one in subspaces["codebooks"]] == [256] * 4


def test_a_killed_run_goes_on_where_it_stopped(folder, run, unbroken):
    command = [sys.executable, "-m", "dqindex", "bench", "run", *ARGUMENTS]
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)
    results = folder / "r.jsonl"
    while not results.exists() or results.read_bytes().count(b'"point"') < 3:
        assert process.poll() is None
        time.sleep(0.02)
    working = [os.pidfd_open(pid) for pid in workers(process.pid) if pid != process.pid]
    assert working
    process.send_signal(signal.SIGKILL)
    process.wait()
    for worker in working:  # it does not outlive the run
        select.select([worker], [], [])
        os.close(worker)
    before = results.read_bytes()
    assert before.count(b'"point"') < 7

    done = run("bench", "run", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    whole_lines = before[: before.rfind(b"\n") + 1]
    assert results.read_bytes().startswith(whole_lines)  # nothing was measured again
    assert lasting(results) == lasting(unbroken[1])
    after = results.read_bytes()
    done = run("bench", "run", *ARGUMENTS)
    assert done.stderr.count("already measured") == 3
    assert results.read_bytes() == after


def workers(session):
    """Processes of the session."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # State, parent, group, session.
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def test_auto_keeps_what_no_other_setting_beats(folder, run):
    words = (
        "bench run --data v.npy --n-queries 100 --threads 1 -o r.jsonl --spec "
        "DQ5,IVF32,PQ5x4fs,Refine(SQ8) --auto"
    )
    done = run(*words.split())
    assert done.returncode == 0, done.stderr
    records = read_results([folder / "r.jsonl"])
    assert 1 < len(records) < 5 * 6  # the default grid has 5 nprobes and 6 factors
    found = [one["recall"]["id"]["10@10"] for one in records]
    assert len(set(found)) == len(found)


def test_a_module_of_another_package_is_no_peer(monkeypatch):
    monkeypatch.setattr(peers.peer_class("faiss"), "package", "not-there")
    with pytest.raises(MissingDependencyError, match="faiss is not that of not-there"):
        peers.peer_class("faiss")


def test_what_is_not_installed_is_skipped_and_said(folder, monkeypatch):
    monkeypatch.setitem(peers.PEERS, "hnswlib", peers._Entry("hnswlib.HnswlibPeer", "not_there"))
    said: list[str] = []
    outcome = run_bench(
        describe(folder / "v.npy"),
        ["faiss:SQ8", "hnswlib", "faiss:SQ4"],
        folder / "r.jsonl",
        threads=[1],
        say=said.append,
    )
    assert "hnswlib: skipped, not_there is not installed; pip install 'dqindex[bench]'" in said
    assert set(outcome.skipped) == {"hnswlib"}
    assert outcome.measured == 2
    assert not outcome.failed
    # A line for each, with what is left: one that is skipped takes no time.
    measured = r"1 of 1 points measured in (\d+ s|\d+ min)"
    assert re.fullmatch(rf"faiss:SQ8: {measured}; 2 methods left, about (\d+ s|\d+ min)", said[0])
    assert re.fullmatch(rf"faiss:SQ4: {measured}", said[-1])
    said.clear()
    run_bench(
        describe(folder / "v.npy"),
        ["faiss:SQ8", "faiss:SQ4"],
        folder / "r.jsonl",
        threads=[1],
        say=said.append,
    )
    assert said == ["faiss:SQ8: already measured", "faiss:SQ4: already measured"]


def test_codes_of_a_weight_are_measured(folder):
    methods = ["dqindex:DQ5,PQ5x4fs", "dqindex:DQ5,PQ5x4fs;score_aware=3"]
    run_bench(
        dataclasses.replace(describe(folder / "v.npy"), metric="cosine"),
        methods,
        folder / "r.jsonl",
        threads=[1],
    )
    records = read_results([folder / "r.jsonl"])
    assert [one["options"] for one in records] == [
        {"spec": "DQ5,PQ5x4fs"},
        {"spec": "DQ5,PQ5x4fs", "score_aware": 3.0},
    ]
    assert records[0]["bytes"]["per_vector"] == records[1]["bytes"]["per_vector"]
    assert records[0]["recall"] != records[1]["recall"]
    for wrong in ("score_aware=x", "weight=3"):
        with pytest.raises(SpecError, match=r"it may be score_aware=3"):
            peers.peer_class("dqindex")(f"DQ5,PQ5x4fs;{wrong}", "cosine", 0)


def test_a_method_that_fails_does_not_stop_the_others(folder, run):
    done = run(
        *"bench run --data v.npy --threads 1 -o r.jsonl --spec DQ4,PQ8 --spec DQ4,PQ4".split()
    )
    assert done.returncode == 1
    assert "DQ4,PQ8: failed, " in done.stderr
    assert "use DQ8" in done.stderr
    assert "1 methods failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert [one["method"] for one in read_results([folder / "r.jsonl"])] == ["dqindex:DQ4,PQ4"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--data none.npy --spec PQ4", ["none.npy: no such file"]),
        ("--data v.npy --peer nope", ["no peer 'nope'", "hnswlib"]),
        ("--data v.npy --spec PQ4 --n-queries 2000", ["too few to hold 2000 out"]),
        ("--data v.npy --queries wide.npy --spec PQ4", ["wide.npy: 7 dimensions", "has 20"]),
        ("--data v.npy --spec PQ4 -k 5000", ["k is 5000, but there are 2000 vectors"]),
        ("--data v.npy --spec PQ4 --threads 999", ["threads is 999"]),
        ("--data v.npy --spec PQ4 -o notes.txt", ["notes.txt: line 1 is not a result"]),
        ("--data v.npy --spec PQ4 -o none/r.jsonl", ["make the folder first"]),
        ("--data fr-301 --spec PQ4", ["fr-301: no such file"]),
    ],
)
def test_bad_input_is_found_before_anything_is_measured(folder, run, arguments, words):
    np.save(folder / "wide.npy", np.zeros((9, 7), dtype=np.float32))
    (folder / "notes.txt").write_text("mine\n")
    words_in = arguments.split()
    if "-o" not in words_in:
        words_in += ["-o", "r.jsonl"]
    done = run("bench", "run", *words_in)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert (folder / "notes.txt").read_text() == "mine\n"
    assert not (folder / "r.jsonl").exists()


def test_usage(run, folder):
    assert run("bench", "run", "--data", "v.npy", "-o", "r.jsonl").returncode == 2
    done = run("bench", "run", "--data", "v.npy", "-o", "r.jsonl", "--spec", "PQ4", "--param", "n")
    assert done.returncode == 2
    assert "nprobe=1,4,16" in done.stderr


def test_a_full_disk_is_said(tmp_path):
    script = (
        "import resource\n"
        "from dqindex.bench.results import open_results\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with open_results('r.jsonl') as results:\n"
        "    for number in range(100): results.append('point', {'job': 'j', 'key': str(number)})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=without_coverage(),
    )
    last = done.stderr.splitlines()[-1]
    assert "StorageError: r.jsonl: cannot be written (File too large)" in last
    # What was there before stays readable.
    with open_results(tmp_path / "r.jsonl") as results:
        assert 5 < len(results.done) < 15


# Peers.

OTHERS = {
    "faiss:OPQ5,IVF16,PQ5x4fs": {"nprobe"},
    "faiss:HNSW8": {"efSearch"},
    "faiss:RQ4x4": set(),
    "faiss:LSQ4x4": set(),
    "faiss:SQ8": set(),
    "faiss:IVF16,RaBitQ": {"nprobe"},
    "hnswlib:M=8": {"ef"},
    "usearch:dtype=i8": {"expansion_search"},
    "scann:leaves=16": {"leaves_to_search", "reorder"},
    "scann:leaves=16,reorder=none": {"leaves_to_search"},
    "nanopq:M=4,Ks=16": set(),
    "voyager": {"ef"},
    "turbovec": set(),
    "rabitqlib:lists=16": {"nprobe"},
    "glass": {"ef"},
    "glass:quant=FP16,refine=none": {"ef"},
    "svs": {"ef"},
    "svs:bits=0": {"ef"},
}


@pytest.mark.parametrize("method", OTHERS)
def test_every_peer_answers(folder, run, method):
    name, _ = peers.split(method)
    try:
        peers.peer_class(name)
    except DQIndexError as reason:
        pytest.skip(str(reason))
    metric = "cosine" if name == "turbovec" else "l2"
    np.save(folder / "v.npy", clustered(1000, 20))
    words = (
        f"bench run --data v.npy --metric {metric} --n-queries 50 --threads 1 --peer "
        f"{method} -o r.jsonl --param nprobe=8 --param efSearch=50 --param ef=50 "
        "--param expansion_search=50 --param leaves_to_search=8 --param reorder=100"
    )
    done = run(*words.split())
    assert done.returncode == 0, done.stderr
    (record,) = read_results([folder / "r.jsonl"])
    assert set(record["parameters"]) == OTHERS[method]
    assert record["recall"]["distance"]["10@10"] > 0.3
    assert record["recall"]["distance"]["1@100"] > 0.9
    sizes = record["bytes"]
    assert all(size >= 0 for size in sizes.values())
    assert sizes["codes"] > 0
    assert record["library"] == name


# Built, written, and read: the answers of both, at one setting.
LOADED = """
import sys
from pathlib import Path
import numpy as np
from dqindex.bench.peers import peer_class, split
x = np.load("v.npy")
for number, method in enumerate(sys.argv[1:]):
    name, argument = split(method)
    found = []
    for way in ("build", "load"):
        peer = peer_class(name)(argument, "cosine", 0)
        folder = Path(f"kept {number}")
        if way == "build":
            folder.mkdir()
            peer.build(x, 1)
            peer.save(folder)
        else:
            peer.load(folder, x)
        peer.set_threads(1)
        peer.set_parameters({key: values[-1] for key, values in peer.grid().items()})
        found.append((peer.search(x[:50], 5).tolist(), peer.parts(len(x))["codes"]))
    assert found[0] == found[1], method
"""


def test_what_a_library_wrote_it_reads(folder):
    methods = ["dqindex:DQ5,IVF16,PQ5x4fs,Refine(SQ8)", "faiss:HNSW8", "hnswlib:M=8"]
    methods += ["usearch:dtype=i8", "voyager", "scann:leaves=16,reorder=i8"]
    methods += ["rabitqlib:lists=16", "glass", "svs", "svs:bits=0"]
    here = []
    for method in methods:
        with contextlib.suppress(MissingDependencyError):
            if peers.peer_class(peers.split(method)[0]).loads:
                here.append(method)
    assert {"dqindex", "faiss"} <= {peers.split(method)[0] for method in here}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *here],
        cwd=folder,
        env=without_coverage(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_indexes_are_kept_for_the_next_run(folder):
    methods = ["dqindex:DQ5,IVF16,PQ5x4fs", "nanopq:M=4,Ks=16"]
    pytest.importorskip("nanopq")

    def bench(name: str, **kept: Any) -> Any:
        return run_bench(describe(folder / "v.npy"), methods, folder / name, threads=[1], **kept)

    built = bench("r.jsonl", keep=folder / "kept", only_build=True)
    assert built.skipped == {"nanopq:M=4,Ks=16": "nanopq: indexes are not kept on disk"}
    assert not (folder / "r.jsonl").exists()
    (told,) = (folder / "kept").rglob("told.json")
    before = told.stat().st_mtime_ns
    bench("r.jsonl", keep=folder / "kept")
    assert told.stat().st_mtime_ns == before
    bench("alone.jsonl")
    ours, alone = read_results([folder / "r.jsonl"]), read_results([folder / "alone.jsonl"])
    for key in ("key", "recall", "bytes", "subspaces", "points"):
        assert [one.get(key) for one in ours] == [one.get(key) for one in alone], key
    # It is the same point in the file, wherever the index came from.
    assert not bench("alone.jsonl", keep=folder / "kept").measured


def test_a_metric_that_a_library_lacks_is_skipped(folder):
    pytest.importorskip("nanopq")
    outcome = run_bench(
        describe(folder / "v.npy", metric="ip"), ["nanopq:M=4"], folder / "r.jsonl", threads=[1]
    )
    assert outcome.skipped == {"nanopq:M=4": "nanopq has no metric 'ip'"}


def test_unknown_options_are_named(folder):
    pytest.importorskip("nanopq")
    outcome = run_bench(
        describe(folder / "v.npy"),
        ["nanopq:bits=4", "nanopq:M=four"],
        folder / "r.jsonl",
        threads=[1],
    )
    assert "no option 'bits'" in outcome.failed["nanopq:bits=4"]
    assert "M=four" in outcome.failed["nanopq:M=four"]


def test_truth_of_fewer_vectors_than_neighbours():
    base = clustered(7, 3)
    assert exact_truth(base, base[:2], 100, "l2").positions.shape == (2, 7)
    assert isinstance(exact_truth(base, base[:2], 1, "l2"), Truth)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its names are those of x86 kernels")
def test_results_name_the_kernels_of_faiss():
    """They change figures threefold, and FAISS chooses them by a list of old processors."""
    code = "from dqindex.bench.machine import machine; print(machine()['faiss_blas'])"
    told = {**os.environ, "OPENBLAS_CORETYPE": "Nehalem"}
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True)
    assert done.stdout.strip() in ("Nehalem", "None"), done.stderr
