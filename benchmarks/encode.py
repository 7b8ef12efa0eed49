"""Encoding against FAISS's ``add``, shape by shape, and against the machine's sgemm.

    python benchmarks/encode.py

Both encode the same rows with the same codebooks, in turn, in one process; the figures are medians
of the ratios of neighbouring runs. The rate of arithmetic is that of the distances alone,
2 n M K dsub, whichever way they are found; beside the ratio stands the one that distances at the
rate of the machine's sgemm would reach, if finding the least of them cost nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import common
import faiss
import numpy as np

from dqindex.index.adding import add_blocks
from dqindex.parallel.threads import thread_limit

# d, M, bits.
FLAT = [
    (32, 32, 8),
    (64, 32, 8),
    (64, 16, 8),
    (96, 12, 8),
    (128, 16, 8),
    (384, 48, 8),
    (128, 8, 8),
    (256, 16, 8),
    (768, 48, 8),
    (384, 16, 8),
    (128, 4, 8),
    (1024, 16, 8),
    (64, 32, 4),
    (128, 32, 4),
    (384, 96, 4),
    (384, 48, 4),
    (128, 16, 6),
    (96, 12, 5),
    (128, 16, 10),
    (768, 96, 6),
]
INVERTED = [(96, 16, 8), (128, 8, 8), (384, 48, 8), (768, 48, 8), (384, 96, 4)]
LISTS = 1024
ROUNDS = 5
WORK = 1e10


def sgemm_rate(threads: int) -> float:
    """Multiplications and additions a second of a large product, in 1e9."""
    a = np.ones((2048, 2048), dtype=np.float32)
    out = np.empty_like(a)
    rates = []
    with thread_limit(threads):
        for _ in range(7):
            began = time.perf_counter()
            np.matmul(a, a, out=out)
            rates.append(2 * 2048**3 / (time.perf_counter() - began) / 1e9)
    return statistics.median(rates)


def fill(index: Any, x: np.ndarray) -> None:
    """Codebooks and centroids from the rows themselves: their quality does not matter here."""
    rng = np.random.default_rng(1)
    pq = index.pq
    parts = x.reshape(len(x), pq.M, pq.dsub)
    books = np.stack([parts[rng.choice(len(x), pq.ksub, False), m] for m in range(pq.M)])
    faiss.copy_array_to_vector(books.ravel(), pq.centroids)
    if hasattr(index, "nlist"):
        index.quantizer.add(x[rng.choice(len(x), index.nlist, False)])
    index.is_trained = True


def paired(first: Callable[[], None], second: Callable[[], None]) -> tuple[float, float, float]:
    """Median seconds of both, and the median ratio second / first of neighbouring runs."""
    first(), second()
    took = []
    for _ in range(ROUNDS):
        pair = []
        for one in (first, second):
            began = time.perf_counter()
            one()
            pair.append(time.perf_counter() - began)
        took.append(pair)
    ratio = statistics.median(b / a for a, b in took)
    return (*(statistics.median(column) for column in zip(*took, strict=True)), ratio)


def differing(ours: np.ndarray, theirs: np.ndarray, x: np.ndarray, index: Any) -> float:
    """Share of codes that differ by more than a tie: the decoded vector is then farther."""
    pq = index.pq
    rows = np.flatnonzero((ours != theirs).any(axis=1))
    if not rows.size:
        return 0.0
    errors = [
        ((pq.decode(np.ascontiguousarray(codes[rows])) - x[rows]) ** 2).sum(axis=1)
        for codes in (ours, theirs)
    ]
    return float((errors[0] > errors[1] * (1 + 1e-5)).sum() / len(x))


def measure(
    d: int, m: int, bits: int, threads: int, inverted: bool, sgemm: float
) -> dict[str, Any]:
    """One shape; `sgemm` in GFlop/s on as many threads."""
    work = m * 2**bits * (d // m) + (LISTS * d if inverted else 0)
    # Enough for several pieces a thread.
    n = int(min(200_000, max(80_000 if inverted else 20_000, WORK / work)))
    x = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    if inverted:
        quantizer = faiss.IndexFlatL2(d)
        index = faiss.IndexIVFPQ(quantizer, d, LISTS, m, bits)
    else:
        index = faiss.IndexPQ(d, m, bits)
    fill(index, x)

    def ours() -> None:
        index.reset()
        for _ in add_blocks(index, [x]):
            pass

    def theirs() -> None:
        index.reset()
        index.add(x)

    wrong = None
    with thread_limit(threads):
        if not inverted:
            ours()
            codes = faiss.vector_to_array(index.codes).reshape(n, -1)
            theirs()
            wrong = differing(codes, faiss.vector_to_array(index.codes).reshape(n, -1), x, index)
        mine, other, ratio = paired(ours, theirs)
    flops = 2 * n * work
    return {
        "index": "ivf" if inverted else "flat",
        "d": d,
        "M": m,
        "bits": bits,
        "dsub": d // m,
        "threads": threads,
        "rows": n,
        "rows_a_second": round(n / mine),
        "faiss_rows_a_second": round(n / other),
        "ratio": round(ratio, 2),
        "ratio_at_sgemm": round(other / (flops / sgemm / 1e9), 2),
        "gflops": round(flops / mine / 1e9, 1),
        "worse_codes": wrong,
    }


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", default="encode", help="name of the JSON")
    arguments = parser.parse_args()
    rates = {threads: round(sgemm_rate(threads), 1) for threads in (1, 2)}
    print(f"sgemm, GFlop/s: {rates}")
    rows = []
    for shape in FLAT:
        rows.append(measure(*shape, threads=1, inverted=False, sgemm=rates[1]))
        print(rows[-1], flush=True)
    for shape in INVERTED:
        for threads in (1, 2):
            rows.append(measure(*shape, threads=threads, inverted=True, sgemm=rates[threads]))
            print(rows[-1], flush=True)
    print(common.write(arguments.output, rows, sgemm_gflops=rates).name)


if __name__ == "__main__":
    main()
