"""Whether `build --target-recall` chooses the fastest: its choice against every spec it could try.

    python benchmarks/chooser.py --data glove-50 [--rows N] [--recall 0.9]

1,000 queries are held out of the data, and of the choice. Every candidate is built of all vectors,
and set by half of those queries to the fastest of a grid that finds the recall. Then the best of
them and the choice, at its own parameters, are timed in turn with the other half, on one thread.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import common
import numpy as np

import dqindex
from dqindex.errors import DQWarning
from dqindex.index.candidates import candidates, fill
from dqindex.index.target import build_to_target
from dqindex.index.trials import Queries, fastest
from dqindex.parallel.threads import thread_limit

QUERIES, NEIGHBOURS, TURNS = 1000, 10, 15


def measure(name: str, x: np.ndarray, target: float) -> list[dict[str, Any]]:
    """The choice, and the fastest others."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    held = np.random.default_rng(0).choice(len(x), QUERIES, replace=False)
    base, queries = np.delete(x, held, axis=0), x[held]
    true, _ = dqindex.exact_neighbors(base, queries, NEIGHBOURS, metric="cosine")
    # None of the queries is a row of the base.
    asked = Queries(np.full(QUERIES, -1), queries, true)
    tuned_with, timed_with = asked.halves()
    began = time.process_time()
    chosen = build_to_target(base, target, metric="cosine")
    seconds = time.process_time() - began
    print(chosen.manifest["target"]["why"], flush=True)
    contenders = []
    for template in candidates(len(base), base.shape[1], None, "cosine"):
        index = dqindex.build_index(base, fill(template, len(base)), metric="cosine")
        found = fastest(index, tuned_with, target)
        print(index.spec, found, flush=True)
        if found.recall >= target:
            contenders.append((index, found))
    contenders.sort(key=lambda one: one[1].seconds)
    own = chosen.manifest["search_parameters"]
    entries = [("chosen", chosen, own)]
    entries += [
        ("of the three fastest", index, found.parameters) for index, found in contenders[:3]
    ]
    least = np.full(len(entries), np.inf)
    recalls = [0.0] * len(entries)
    with thread_limit(1):
        for _ in range(TURNS):
            for place, (_, index, parameters) in enumerate(entries):
                index.set_parameters(parameters)
                began = time.perf_counter()
                positions = index.index.search(timed_with.vectors, NEIGHBOURS)[1]
                least[place] = min(least[place], time.perf_counter() - began)
                recalls[place] = dqindex.recall_at(positions, timed_with.true)
    return [
        {
            "data": name,
            "rows": len(base),
            "target": target,
            "what": what,
            "spec": index.spec,
            "parameters": parameters,
            "recall": round(recalls[place], 4),
            "us": round(float(least[place]) / len(timed_with.rows) * 1e6, 1),
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
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DQWarning)
    rows: list[dict[str, Any]] = []
    for data in arguments.data:
        name, x = common.load(data)
        if arguments.rows is not None:
            x = np.random.default_rng(1).choice(x, arguments.rows, replace=False)
        rows += measure(name, x, arguments.recall)
        for row in rows:
            print(row, flush=True)
    print(common.write("chooser", rows).name)


if __name__ == "__main__":
    main()
