"""What score-aware codes find, by their weight, at the same bytes and the same speed of search.

    python benchmarks/score_aware.py --data glove-50 --data FILE

Of 1,000 held-out queries: how many of the 10 nearest by cosine are among the first 10, 20 and 30
that the codes give (a refinement ranks so many). Then what each part is worth at one weight, and
what encoding costs, in seconds of CPU on one thread, beside the nearest codewords. What
results/score_aware.json holds is not measured again; the weights that tell most come first.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from typing import Any

import common
import numpy as np

import dqindex
from dqindex.errors import DQWarning
from dqindex.index.adding import add_blocks
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer import score_aware

QUERIES = 1000
FIRST = (10, 20, 30)
WEIGHTS = (1.0, 3.0, 4.0, 2.0, 6.0)
# Where parts are left out, and inner products are asked.
ONE_WEIGHT = 3.0
ENCODED_ROWS = 16384
# By width: flat and in lists, of vectors and of residuals, codes of 4 and of 8 bits.
SPECS = {
    50: (
        "DQ25,PQ25x4fs",
        "DQ12,PQ12",
        "DQ25,IVF512,PQ25x4fs",
        "DQ25,IVF512,PQ25x4fsr",
        "DQ12,IVF512,PQ12",
    ),
    384: (
        "DQ96,PQ96x4fs",
        "DQ48,PQ48",
        "DQ96,IVF256,PQ96x4fs",
        "DQ96,IVF256,PQ96x4fsr",
        "DQ48,IVF256,PQ48",
    ),
}
TAKEN_APART = (SPECS[50][0], SPECS[384][0], SPECS[384][4])
KEY = ("data", "spec", "metric", "eta", "part")
# Parts that are changed alone.
PARTS: dict[str, dict[str, int]] = {
    "codewords of k-means": {"ROUNDS": 0},
    "one sweep": {"SWEEPS": 1},
    "four sweeps": {"SWEEPS": 4},
}


def recalls(index: dqindex.DQIndex, queries: np.ndarray, true: np.ndarray) -> list[float]:
    """Shares of the true neighbours among the first that are found; half of the lists probed."""
    # By default a sixteenth.
    probed = index.manifest["search_parameters"].get("nprobe")
    probes = {} if probed is None else {"nprobe": 8 * probed}
    found = index.search(queries, max(FIRST), parameters=probes).positions
    return [
        round(float((found[:, :first, None] == true[:, None]).any(axis=1).mean()), 4)
        for first in FIRST
    ]


def encoding(index: dqindex.DQIndex, base: np.ndarray, eta: float) -> float:
    """Seconds of CPU to add some rows at that weight; the index is then spent."""
    with thread_limit(1):
        began = time.process_time()
        for _ in add_blocks(index.index, [base[:ENCODED_ROWS].copy()], eta):
            pass
        return time.process_time() - began


def tasks(d: int) -> list[tuple[str, str, float, str]]:
    """Spec, metric, weight and changed part of each row."""
    specs = SPECS[d]
    found = [(spec, "cosine", eta, "") for eta in WEIGHTS[:2] for spec in specs]
    apart = [spec for spec in specs if spec in TAKEN_APART]
    found += [(spec, "ip", eta, "") for spec in apart for eta in (1.0, ONE_WEIGHT)]
    found += [(spec, "cosine", ONE_WEIGHT, part) for spec in apart for part in PARTS]
    return found + [(spec, "cosine", eta, "") for eta in WEIGHTS[2:] for spec in specs]


def measure(name: str, x: np.ndarray, rows: list[dict[str, Any]]) -> None:
    """All specs and weights on one set, behind `rows`, which are known."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    held = np.random.default_rng(0).choice(len(x), QUERIES, replace=False)
    base, queries = np.delete(x, held, axis=0), x[held]
    true, _ = dqindex.exact_neighbors(base, queries, 10, metric="cosine")
    known = {tuple(one[key] for key in KEY) for one in rows}

    def row(spec: str, metric: str, eta: float, part: str = "") -> None:
        began = time.process_time()
        index = dqindex.build_index(base, spec, metric=metric, score_aware=eta, threads=1)
        seconds = time.process_time() - began
        found = recalls(index, queries, true)
        plain = encoding(index, base, 1.0)
        rows.append(
            {
                "data": name,
                "spec": spec,
                "metric": metric,
                "eta": eta,
                "part": part,
                "recall": found,
                "build_cpu_seconds": round(seconds, 1),
                "encoding_ratio": round(encoding(index, base, eta) / plain, 2) if eta > 1 else 1.0,
            }
        )
        print(rows[-1], flush=True)
        common.write("score_aware", sorted(rows, key=lambda one: (one["data"], one["spec"])))

    for spec, metric, eta, part in tasks(x.shape[1]):
        if (name, spec, metric, eta, part) in known:
            continue
        before = {key: getattr(score_aware, key) for key in PARTS.get(part, {})}
        for key, value in PARTS.get(part, {}).items():
            setattr(score_aware, key, value)
        row(spec, metric, eta, part)
        for key, value in before.items():
            setattr(score_aware, key, value)


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", action="append", required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DQWarning)
    path = common.RESULTS / "score_aware.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    for data in arguments.data:
        measure(*common.load(data), rows)


if __name__ == "__main__":
    main()
