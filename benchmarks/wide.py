"""Large dimensions: how many to keep, and what the rotation of a query costs.

    python benchmarks/wide.py [--rows 60000] [--widths 768,1024] [--opq]

Generated vectors with the spectrum of text embeddings (`generate.text_like`), cosine. DQ keeps the
axes with some share of the variance; beside it, PCA and 8 bits a dimension, FAISS's fast-scan
without a rotation, the first dimensions alone (truncation), and OPQ if asked for. Searches are
timed on one thread, all methods in turn, and the least of the turns counts. Rows of other widths
stay in results/wide.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import common
import faiss
import numpy as np
from generate import apart, text_like

import dqindex
import dqindex.index.anatomy
from dqindex.errors import DQWarning
from dqindex.index.weight import weight
from dqindex.parallel.threads import thread_limit

QUERIES, LISTS, TURNS = 1000, 256, 7
KEPT = (0.8, 0.9, 0.95, 1.0)
PARAMETERS = {"nprobe": 16.0, "k_factor_rf": 8.0}
NEIGHBOURS = 10


def kept_axes(x: np.ndarray, share: float) -> int:
    """Principal axes with `share` of the variance, a multiple of 16."""
    centred = x[:20000] - x[:20000].mean(axis=0)
    variances = np.linalg.svd(centred.T @ centred, compute_uv=False)
    axes = int(np.searchsorted(np.cumsum(variances) / variances.sum(), share)) + 1
    return min(int(x.shape[1]), -(-axes // 16) * 16)


def methods(x: np.ndarray, opq: bool) -> list[tuple[str, str, int]]:
    """What it is called, its spec, and how many dimensions of the vectors it is given."""
    d = x.shape[1]
    found = []
    for share in KEPT:
        axes = kept_axes(x, share)
        parts, ivf = axes // 4, f"IVF{LISTS}"
        found += [
            (f"DQ, {share:.0%} kept", f"DQ{parts}_{axes},{ivf},PQ{parts}x4fs,Refine(SQ8)", d),
        ]
        if share in (0.8, 0.95):
            found += [
                (f"PCA + SQ8, {share:.0%} kept", f"PCA{axes},{ivf},SQ8", d),
                (f"truncation to {axes}", f"{ivf},PQ{parts}x4fs,Refine(SQ8)", axes),
            ]
        if opq and share == 0.8:
            found.append(("OPQ, as many", f"OPQ{parts}_{axes},{ivf},PQ{parts}x4fs,Refine(SQ8)", d))
    return [*found, ("no rotation", f"IVF{LISTS},PQ{d // 4}x4fs,Refine(SQ8)", d)]


def measure(d: int, rows: int, opq: bool) -> list[dict[str, Any]]:
    """All methods in `d` dimensions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        apart(text_like, path, rows + QUERIES, d)
        x = np.load(path)
    base, queries = x[:rows], x[rows:]
    true, _ = dqindex.exact_neighbors(base, queries, NEIGHBOURS, metric="cosine")
    built, out = [], []
    for name, spec, width in methods(base, opq):
        began = time.process_time()
        index = dqindex.build_index(
            np.ascontiguousarray(base[:, :width]), spec, metric="cosine", threads=1
        )
        seconds = time.process_time() - began
        has = {key: PARAMETERS[key] for key in index.manifest["search_parameters"]}
        index.set_parameters(has)
        asked = np.ascontiguousarray(queries[:, :width])
        built.append((index, asked))
        out.append(
            {
                "d": d,
                "rows": rows,
                "method": name,
                "spec": spec,
                "bytes": round(weight(spec, rows, width, "cosine"), 1),
                "build_cpu_seconds": round(seconds, 1),
            }
        )
        print(out[-1], flush=True)
    for row, qps, found in zip(out, *timed(built), strict=True):
        row["qps"] = round(qps)
        row["recall"] = round(dqindex.recall_at(found, true), 4)
        index, asked = built[out.index(row)]
        row["rotation_us"] = rotation(index, asked)
        print(row, flush=True)
    return out


def timed(built: list[tuple[dqindex.DQIndex, np.ndarray]]) -> tuple[list[float], list[np.ndarray]]:
    """Queries a second of each, in turn, and what they find."""
    took = np.full(len(built), np.inf)
    found: list[np.ndarray] = [np.empty(0)] * len(built)
    with thread_limit(1):
        for _ in range(TURNS):
            for place, (index, asked) in enumerate(built):
                began = time.perf_counter()
                found[place] = index.index.search(asked, NEIGHBOURS)[1]
                took[place] = min(took[place], time.perf_counter() - began)
    return list(QUERIES / took), found


def rotation(index: dqindex.DQIndex, asked: np.ndarray) -> float:
    """Microseconds of a query in the transforms of all queries at once, on one thread."""
    chain = dqindex.index.anatomy.dissect(index.index).chain
    least = np.inf
    with thread_limit(1):
        for _ in range(TURNS):
            rows, began = asked, time.perf_counter()
            for link in chain:
                if isinstance(link, faiss.LinearTransform):
                    rows = link.apply(rows)
            least = min(least, time.perf_counter() - began)
    return round(least / len(asked) * 1e6, 2)


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--widths", default="768,1024")
    parser.add_argument("--opq", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DQWarning)
    rows: list[dict[str, Any]] = []
    for d in map(int, arguments.widths.split(",")):
        rows += measure(d, arguments.rows, arguments.opq)
    print(common.write("wide", rows, key=("d",), parameters=PARAMETERS).name)


if __name__ == "__main__":
    main()
