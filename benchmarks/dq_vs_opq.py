"""PQ, DQ and OPQ at equal bytes: recall, distortion, and seconds to train each part.

    python benchmarks/dq_vs_opq.py --data glove-50 --data fr-300 [--data FILE] [-o NAME]
    python benchmarks/dq_vs_opq.py --data data/dictionary.parquet --bytes 32 --repeats 1 \
        -o dq_vs_opq_dictionary

All methods share the training sample, the coarse k-means and the training of the codebooks; they
differ in the rotation alone, but that polish hands its codebooks on to start from. OPQ is FAISS's
own, 50 rounds from a random rotation. The times of the quick methods are medians of three runs, or
of `--repeats`.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from typing import Any

import common
import numpy as np

import dqindex
from dqindex.errors import DQWarning
from dqindex.index.anatomy import dissect

# d -> bytes a vector (8-bit subspaces), and lists of the inverted file by the number of vectors.
SIZES = {50: (8, 16, 32), 300: (10, 20, 30), 384: (16, 48, 96)}
REPEATS = 3
SLOW = ("OPQ",)


def methods(m: int, width: int, lists: int | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name -> spec and settings, all of `m` bytes a vector."""
    tail = f"IVF{lists},PQ{m}" if lists else f"PQ{m}"
    found: dict[str, tuple[str, dict[str, Any]]] = {
        "PQ": (f"Pad{width},{tail}", {}),
        "DQ": (f"DQ{m},{tail}", {"balance": "variance", "covariance": "raw"}),
        "DQ log": (f"DQ{m},{tail}", {"balance": "log-variance", "covariance": "raw"}),
    }
    if lists:
        for name, balance in (("DQ residual", "variance"), ("DQ log residual", "log-variance")):
            found[name] = (f"DQ{m},{tail}", {"balance": balance, "covariance": "residual"})
    # From the better of the starts, in the covariance that an index of this kind defaults to.
    found["DQ polished"] = (f"DQ{m},{tail}", {"balance": "log-variance", "polish": 25})
    found["OPQ"] = (f"OPQ{m}_{width},{tail}", {})
    return found


def distortion(index: dqindex.DQIndex, x: np.ndarray) -> float:
    """Mean squared error a vector, over E‖z - z̄‖²; the transforms are orthonormal."""
    parts = dissect(index.index)
    y = x
    for link in parts.chain:
        y = link.apply(y)
    back = parts.core.sa_decode(parts.core.sa_encode(np.ascontiguousarray(y)))
    return dqindex.distortion(y, back) / float(x.var(axis=0, dtype=np.float64).sum())


def measure(
    name: str,
    x: np.ndarray,
    n_queries: int,
    threads: int,
    *,
    sizes: tuple[int, ...] = (),
    repeats: int = REPEATS,
) -> list[dict[str, Any]]:
    """All methods, code sizes and index kinds on one set."""
    rng = np.random.default_rng(0)
    held = rng.choice(len(x), n_queries, replace=False)
    base = np.delete(x, held, axis=0)
    exact, _ = dqindex.exact_neighbors(base, x[held], 10)
    probe = np.ascontiguousarray(base[rng.choice(len(base), min(20000, len(base)), replace=False)])
    n, d = base.shape
    lists = 2 ** round(np.log2(np.sqrt(n)))
    sizes = sizes or SIZES.get(d, tuple(max(1, d // part) for part in (24, 12, 6)))
    rows = []
    for kind in ("flat", "ivf"):
        for m in sizes:
            width = -(-d // m) * m
            for method, (spec, settings) in methods(
                m, width, lists if kind == "ivf" else None
            ).items():
                runs = []
                for _ in range(1 if method in SLOW else repeats):
                    index = dqindex.build_index(base, spec, threads=threads, **settings)
                    runs.append(index.training_seconds)
                nprobe = min(64, lists // 2) if kind == "ivf" else 0
                found = index.search(
                    x[held], 10, parameters={"nprobe": nprobe} if nprobe else None
                ).positions
                seconds = {
                    part: round(statistics.median(run[part] for run in runs), 3) for part in runs[0]
                }
                total = statistics.median(sum(run.values()) for run in runs)
                rows.append(
                    {
                        "data": name,
                        "n": n,
                        "d": d,
                        "kind": kind,
                        "bytes": m,
                        "lists": lists if kind == "ivf" else 0,
                        "nprobe": nprobe,
                        "method": method,
                        "spec": spec,
                        "recall_10_at_10": round(dqindex.recall_at(found, exact), 4),
                        "recall_1_at_1": round(dqindex.recall_at(found[:, :1], exact[:, :1]), 4),
                        "distortion": round(distortion(index, probe), 5),
                        "seconds": seconds,
                        "seconds_total": round(total, 3),
                    }
                )
                print(row_text(rows[-1]), flush=True)
    return rows


def row_text(row: dict[str, Any]) -> str:
    """One line of the table on the terminal."""
    return (
        f"{row['data']:10s} {row['spec']:26s} {row['method']:16s} "
        f"10@10 {row['recall_10_at_10']:.3f}  1@1 {row['recall_1_at_1']:.3f}  "
        f"distortion {row['distortion']:.4f}  {row['seconds_total']:7.2f} s  {row['seconds']}"
    )


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data", action="append", required=True, help="glove-50, fr-300, or a file"
    )
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--bytes", action="append", type=int, default=[], help="of a code; by the width"
    )
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of the quick methods")
    parser.add_argument("-o", "--output", default="dq_vs_opq", help="name of the JSON")
    arguments = parser.parse_args()
    # Padded and rank-deficient data warn; here both are meant.
    warnings.simplefilter("ignore", DQWarning)
    rows: list[dict[str, Any]] = []
    for data in arguments.data:
        name, x = common.load(data)
        rows += measure(
            name,
            x,
            arguments.queries,
            arguments.threads,
            sizes=tuple(arguments.bytes),
            repeats=arguments.repeats,
        )
        # After every set: a run that is stopped leaves what it measured.
        path = common.write(
            arguments.output,
            rows,
            queries=arguments.queries,
            threads=arguments.threads,
            repeats=arguments.repeats,
        )
    print(path.name)


if __name__ == "__main__":
    main()
