"""What a search costs, and what each idea to make it cheaper is worth, at one recall.

    python benchmarks/scan.py --data glove-50 --data FILE [--rows N]

Every idea is changed alone. Each index is set to the fastest of a grid of nprobe and k_factor that
finds 90 % of the 10 nearest by cosine of 1,000 held-out queries; then all are timed in turn on one
thread, and the least of the turns counts. The shares of the base are timed by leaving parts out.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import common
import numpy as np

import dqindex
from dqindex.errors import DQWarning
from dqindex.index.anatomy import dissect
from dqindex.parallel.threads import thread_limit

QUERIES, NEIGHBOURS, TARGET, TURNS = 1000, 10, 0.9, 9
PROBES = (8, 12, 16, 24, 32, 48, 64, 96)
FACTORS = (2, 3, 4, 6, 8, 12, 16, 24)
# By width: the base, and what is changed in it: the spec, settings of `build_index`, and a change
# of the FAISS index.
BASES = {50: "DQ25,IVF1024,PQ25x4fs,RFlat", 384: "DQ96,IVF256,PQ96x4fs,Refine(SQ8)"}
Change = tuple[str, str, dict[str, Any], Callable[[Any], None] | None]


def implem(number: int) -> Callable[[Any], None]:
    """Another of FAISS's ways to scan."""

    def change(core: Any) -> None:
        core.implem = number

    return change


def changes(d: int) -> list[Change]:
    """Every idea."""
    base = BASES[d]
    parts, end = (25, "RFlat") if d == 50 else (96, "Refine(SQ8)")
    lists = 1024 if d == 50 else 256
    own = f"DQ{parts},IVF{lists},"
    fewer = [(parts * 22 // 25, 22), (parts * 19 // 25, 19), (parts * 16 // 25, 16)]
    return [
        ("the base", base, {}, None),
        *(
            (f"score-aware codes, weight {eta:g}", base, {"score_aware": eta}, None)
            for eta in (2.0, 3.0, 4.0)
        ),
        *(
            (f"implem {number}: {what}", base, {}, implem(number))
            for number, what in (
                (10, "a heap, query by query"),
                (11, "a reservoir, query by query"),
                (12, "a heap, queries together"),
            )
        ),
        *(
            (
                f"{share} % of the axes are scanned",
                f"DQ{few}_{few * d // parts},IVF{lists},PQ{few}x4fs,{end}",
                {},
                None,
            )
            for few, share in ((few, 4 * of) for few, of in fewer)
        ),
        ("twice the lists", base.replace(f"IVF{lists}", f"IVF{2 * lists}"), {}, None),
        ("half the lists", base.replace(f"IVF{lists}", f"IVF{lists // 2}"), {}, None),
        ("codes of residuals", base.replace("x4fs", "x4fsr"), {}, None),
        ("blocks of 64", base.replace("x4fs", "x4fs_64"), {}, None),
        (
            "refined by 8 bits" if end == "RFlat" else "refined by the vectors",
            f"{own}PQ{parts}x4fs,{'Refine(SQ8)' if end == 'RFlat' else 'RFlat'}",
            {},
            None,
        ),
        ("refined by float16", f"{own}PQ{parts}x4fs,Refine(SQfp16)", {}, None),
        ("no rotation", base.replace(f"DQ{parts},", ""), {}, None),
    ]


class Searched:
    """An index and the setting at which it reaches the recall."""

    def __init__(self, change: Change, base: np.ndarray, queries: np.ndarray, true: np.ndarray):
        self.idea, self.spec, settings, alter = change
        self.index = dqindex.build_index(base, self.spec, metric="cosine", **settings)
        if alter is not None:
            alter(dissect(self.index.index).core)
        self.queries = queries
        self.recall, self.parameters = self._fastest(true)
        self.seconds = np.inf

    def _fastest(self, true: np.ndarray) -> tuple[float, dict[str, float]]:
        """The fastest of the grid that reaches the target, by one look at each."""
        found = []
        with thread_limit(1):
            for factor in FACTORS:
                for probes in PROBES:
                    parameters = {"nprobe": float(probes), "k_factor_rf": float(factor)}
                    self.index.set_parameters(parameters)
                    took, positions = self._search()
                    recall = dqindex.recall_at(positions, true)
                    found.append((recall, took, parameters))
                    slow = min((one[1] for one in found if one[0] >= TARGET), default=np.inf)
                    if recall >= TARGET or took > slow:
                        break
        good = [one for one in found if one[0] >= TARGET]
        recall, _, parameters = (
            min(good, key=lambda one: one[1]) if good else max(found, key=lambda one: one[0])
        )
        return recall, parameters

    def _search(self, k: int = NEIGHBOURS, of: Any = None) -> tuple[float, np.ndarray]:
        began = time.perf_counter()
        found = (self.index.index if of is None else of).search(self.queries, k)[1]
        return time.perf_counter() - began, found

    def turn(self) -> None:
        """Time it once more."""
        self.index.set_parameters(self.parameters)
        self.seconds = min(self.seconds, self._search()[0])


def shares(one: Searched) -> dict[str, float]:
    """Microseconds of a query of the base: its lists found, ten scanned for, more kept, refined."""
    chain = dissect(one.index.index).chain
    core, refine = dissect(one.index.index).core, dissect(one.index.index).refine
    rows = one.queries
    least: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> None:
        took = []
        for _ in range(TURNS):
            began = time.perf_counter()
            call()
            took.append(time.perf_counter() - began)
        least[name] = min(took) / len(one.queries) * 1e6

    kept = int(NEIGHBOURS * one.parameters["k_factor_rf"])
    with thread_limit(1):
        for link in chain:
            rows = link.apply(rows)
        nprobe = int(one.parameters["nprobe"])
        timed("lists", lambda: core.quantizer.search(rows, nprobe))
        timed("ten", lambda: core.search(rows, NEIGHBOURS))
        timed("all", lambda: core.search(rows, kept))
        timed("whole", lambda: one.index.index.search(one.queries, NEIGHBOURS))
        timed("base", lambda: refine.base_index.search(one.queries, kept))
    return {
        "whole": round(least["whole"], 1),
        "rotation": round(max(0.0, least["base"] - least["all"]), 1),
        "lists": round(least["lists"], 1),
        "scan for ten": round(least["ten"] - least["lists"], 1),
        "keeping more": round(least["all"] - least["ten"], 1),
        "refining": round(least["whole"] - least["base"], 1),
    }


def measure(name: str, x: np.ndarray) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """All ideas on one set."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    held = np.random.default_rng(0).choice(len(x), QUERIES, replace=False)
    base, queries = np.delete(x, held, axis=0), x[held]
    true, _ = dqindex.exact_neighbors(base, queries, NEIGHBOURS, metric="cosine")
    searched = []
    for change in changes(x.shape[1]):
        searched.append(Searched(change, base, queries, true))
        print(name, change[0], searched[-1].recall, searched[-1].parameters, flush=True)
    with thread_limit(1):
        for _, one in product(range(TURNS), searched):
            one.turn()
    first = searched[0]
    first.index.set_parameters(first.parameters)
    rows = [
        {
            "data": name,
            "idea": one.idea,
            "spec": one.spec,
            "parameters": one.parameters,
            "recall": round(one.recall, 4),
            "us": round(one.seconds / QUERIES * 1e6, 1),
            "qps_ratio": round(first.seconds / one.seconds, 3),
        }
        for one in searched
    ]
    return rows, shares(first)


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--rows", type=int, help="only so many vectors, drawn at random")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DQWarning)
    rows: list[dict[str, Any]] = []
    of_the_base = {}
    for data in arguments.data:
        name, x = common.load(data)
        if arguments.rows is not None:
            x = np.random.default_rng(1).choice(x, arguments.rows, replace=False)
        some, of_the_base[name] = measure(name, x)
        rows += some
        for row in some:
            print(row)
        print(of_the_base[name], flush=True)
    print(common.write("scan", rows, shares=of_the_base).name)


if __name__ == "__main__":
    main()
