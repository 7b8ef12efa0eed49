"""Whether `build --target-recall` chooses the fastest: its choice against every spec it could try.

    python benchmarks/chooser.py --data glove-50 [--rows N] [--recall 0.9] [--against r.jsonl]

1,000 queries are held out of the data, and of the choice. Every candidate is built of all vectors,
and set by half of those queries to the fastest of a grid that finds the recall. Then the best of
them and the choice, at its own parameters, are timed in turn with the other half, on one thread.

With `--against`, results of `dqindex bench run` on the same data, the choice is held against the
fastest points that it found at the recall instead, and timed with the queries that it held out.
Rows of other data stay in results/chooser.json.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any, NamedTuple

import common
import numpy as np

import dqindex
from dqindex.bench.dataset import Dataset, Description
from dqindex.bench.results import read_results
from dqindex.errors import DQWarning
from dqindex.index.candidates import candidates, fill
from dqindex.index.target import build_to_target
from dqindex.index.trials import Queries, fastest
from dqindex.parallel.threads import thread_limit

QUERIES, NEIGHBOURS, TURNS = 1000, 10, 15
# Methods of a bench run that are built again.
FASTEST = 5


class Entry(NamedTuple):
    """An index, and the parameters that it is timed at."""

    what: str
    made: dqindex.DQIndex
    parameters: dict[str, float]


def of_all_candidates(base: np.ndarray, tuned_with: Queries, target: float) -> list[Entry]:
    """The three fastest of what the chooser could try, each at the fastest of its grid."""
    contenders = []
    for template in candidates(len(base), base.shape[1], None, "cosine"):
        index = dqindex.build_index(base, fill(template, len(base)), metric="cosine")
        found = fastest(index, tuned_with, target)
        print(index.spec, found, flush=True)
        if found.recall >= target:
            contenders.append((index, found))
    contenders.sort(key=lambda one: one[1].seconds)
    return [
        Entry("of the three fastest", index, found.parameters) for index, found in contenders[:3]
    ]


def of_bench_run(base: np.ndarray, path: str, target: float) -> list[Entry]:
    """The fastest points of `bench run` at the recall, one a method, of ours and FAISS's."""
    best: dict[str, dict[str, Any]] = {}
    for one in read_results([path]):
        method, found = one["method"], one["recall"]["id"][f"{NEIGHBOURS}@{NEIGHBOURS}"]
        if one["library"] not in ("dqindex", "faiss") or found < target:
            continue
        if method not in best or one["batch"]["qps"] > best[method]["batch"]["qps"]:
            best[method] = one
    entries = []
    for one in sorted(best.values(), key=lambda one: -one["batch"]["qps"])[:FASTEST]:
        spec, eta = one["options"]["spec"], float(one["options"].get("score_aware", 1.0))
        index = dqindex.build_index(base, spec, metric="cosine", score_aware=eta)
        what = "bench run" if eta == 1 else f"bench run, score-aware {eta:g}"
        entries.append(Entry(what, index, one["parameters"]))
        print(spec, one["parameters"], round(one["batch"]["qps"]), flush=True)
    return entries


def measure(name: str, x: np.ndarray, target: float) -> list[dict[str, Any]]:
    """The choice, and the fastest of all candidates."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    held = np.random.default_rng(0).choice(len(x), QUERIES, replace=False)
    base, queries = np.delete(x, held, axis=0), x[held]
    true, _ = dqindex.exact_neighbors(base, queries, NEIGHBOURS, metric="cosine")
    asked = Queries(queries, true)
    tuned_with, timed_with = asked.halves()
    chosen, seconds = choose(base, target)
    rivals = of_all_candidates(base, tuned_with, target)
    return rows_of(name, chosen, seconds, rivals, timed_with, target)


def measure_against(data: str, path: str, target: float) -> list[dict[str, Any]]:
    """The choice, and the fastest of a bench run, with the queries that it held out."""
    dataset = Dataset(Description(data, None, "cosine", QUERIES, 0))
    true = dataset.truth().positions[:, :NEIGHBOURS]
    asked = Queries(dataset.queries, true)
    chosen, seconds = choose(dataset.base, target)
    rivals = of_bench_run(dataset.base, path, target)
    return rows_of(dataset.name, chosen, seconds, rivals, asked, target)


def choose(base: np.ndarray, target: float) -> tuple[dqindex.DQIndex, float]:
    """What `build --target-recall` chooses, and the seconds of CPU that it takes."""
    began = time.process_time()
    chosen = build_to_target(base, target, metric="cosine")
    print(chosen.manifest["target"]["why"], flush=True)
    return chosen, time.process_time() - began


def rows_of(
    name: str,
    chosen: dqindex.DQIndex,
    seconds: float,
    rivals: list[Entry],
    asked: Queries,
    target: float,
) -> list[dict[str, Any]]:
    """All of them timed in turn."""
    entries = [Entry("chosen", chosen, chosen.manifest["search_parameters"]), *rivals]
    least = np.full(len(entries), np.inf)
    recalls = [0.0] * len(entries)
    with thread_limit(1):
        for _ in range(TURNS):
            for place, (_, index, parameters) in enumerate(entries):
                index.set_parameters(parameters)
                began = time.perf_counter()
                positions = index.index.search(asked.vectors, NEIGHBOURS)[1]
                least[place] = min(least[place], time.perf_counter() - began)
                recalls[place] = dqindex.recall_at(positions, asked.true)
    return [
        {
            "data": name,
            "rows": len(chosen),
            "target": target,
            "what": what,
            "spec": index.spec,
            "parameters": parameters,
            "recall": round(recalls[place], 4),
            "us": round(float(least[place]) / len(asked.vectors) * 1e6, 1),
            "qps_ratio": round(float(least[0] / least[place]), 3),
            "cpu_seconds": round(seconds, 1) if what == "chosen" else None,
            "tried": len(chosen.manifest["target"]["candidates"]),
            "why": chosen.manifest["target"]["why"] if what == "chosen" else None,
        }
        for place, (what, index, parameters) in enumerate(entries)
    ]


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--rows", type=int, help="only so many vectors, drawn at random")
    parser.add_argument("--recall", type=float, default=0.9)
    parser.add_argument("--against", metavar="FILE", help="results of a bench run on the data")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DQWarning)
    rows: list[dict[str, Any]] = []
    for data in arguments.data:
        if arguments.against is not None:
            rows += measure_against(data, arguments.against, arguments.recall)
        else:
            name, x = common.load(data)
            if arguments.rows is not None:
                x = np.random.default_rng(1).choice(x, arguments.rows, replace=False)
            rows += measure(name, x, arguments.recall)
    for row in rows:
        print(row, flush=True)
    print(common.write("chooser", rows, key=("data",)).name)


if __name__ == "__main__":
    main()
