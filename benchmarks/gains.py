"""What each cheap step of training is worth, at the same bytes: distortion and recall.

    python benchmarks/gains.py --data glove-50 --data fr-300 --data FILE

Every step is changed alone, against the defaults of `build` for a flat PQ; the rotation is learned
once a balance. Recall is 10-recall@10 of exhaustive search in the decoded vectors, which is how an
IndexPQ ranks. What the covariance of residuals is worth stands in results/dq_vs_opq.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from typing import Any

import common
import numpy as np
from dq_vs_opq import SIZES

import dqindex
from dqindex.errors import DQWarning
from dqindex.index.learning import CODEBOOK_ITERATIONS, CODEBOOK_START, POINTS_PER_CODEWORD

DEFAULTS = {
    "n_iter": CODEBOOK_ITERATIONS,
    "max_points_per_codeword": POINTS_PER_CODEWORD,
    "init": CODEBOOK_START,
}
STEPS: dict[str, dict[str, Any]] = {
    "the default": {},
    "another seed": {"seed": 1},
    "k-means++ start": {"init": "k-means++"},
    "25 Lloyd steps": {"n_iter": 25},
    "64 rows a codeword": {"max_points_per_codeword": 64},
    "512 rows a codeword": {"max_points_per_codeword": 512},
    "variance": {"balance": "variance"},
    "no rotation": {"balance": None},
}
QUERIES = 1000


def measure(name: str, x: np.ndarray) -> list[dict[str, Any]]:
    """All steps and code sizes on one set."""
    rng = np.random.default_rng(0)
    held = rng.choice(len(x), QUERIES, replace=False)
    base = np.delete(x, held, axis=0)
    exact, _ = dqindex.exact_neighbors(base, x[held], 10)
    energy = float(base.var(axis=0, dtype=np.float64).sum())
    rows = []
    for size in SIZES[x.shape[1]]:
        for step, changed in STEPS.items():
            settings = {**DEFAULTS, **changed}
            balance = settings.pop("balance", "log-variance")
            if balance is None:
                y, asked = (
                    np.pad(part, ((0, 0), (0, -x.shape[1] % size))) for part in (base, x[held])
                )
            else:
                transform = dqindex.DQTransform(size, balance=balance).fit(base)
                y, asked = transform.transform(base), transform.transform(x[held])
            began = time.perf_counter()
            books = dqindex.ProductCodebooks(size, **settings).fit(y)
            seconds = time.perf_counter() - began
            decoded = books.decode(books.encode(y))
            found, _ = dqindex.exact_neighbors(decoded, asked, 10)
            rows.append(
                {
                    "data": name,
                    "bytes": size,
                    "step": step,
                    "seconds": round(seconds, 3),
                    "distortion": round(dqindex.distortion(y, decoded) / energy, 6),
                    "recall": round(dqindex.recall_at(found, exact), 4),
                    "unused": int(books.unused_codewords_.sum()),
                }
            )
            print(rows[-1], flush=True)
    return rows


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each step against the default, over all sets and sizes."""
    base = {(row["data"], row["bytes"]): row for row in rows if row["step"] == "the default"}
    out = []
    for step in STEPS:
        ones = [row for row in rows if row["step"] == step]
        pairs = [(row, base[row["data"], row["bytes"]]) for row in ones]
        gains = [row["recall"] - before["recall"] for row, before in pairs]
        out.append(
            {
                "step": step,
                "distortion": statistics.mean(
                    row["distortion"] / before["distortion"] - 1 for row, before in pairs
                ),
                "recall": statistics.mean(gains),
                "recall_least": min(gains),
                "recall_most": max(gains),
                "time": statistics.median(
                    row["seconds"] / before["seconds"] for row, before in pairs
                ),
                "unused": sum(row["unused"] for row in ones),
            }
        )
    return out


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", action="append", required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DQWarning)
    rows: list[dict[str, Any]] = []
    for data in arguments.data:
        rows += measure(*common.load(data))
    print(common.write("gains", rows, summary=summary(rows)).name)


if __name__ == "__main__":
    main()
