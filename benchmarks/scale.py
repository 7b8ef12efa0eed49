"""Time and memory of fit, encode, build and semantic IDs by the number of vectors, and of threads.

    python benchmarks/scale.py [--rows 1000000 --rows 4000000 --rows 10000000] [--dim 96]

The vectors are generated to disk, and every command runs in a process of its own, as a user runs
it. Of the peak, the pages of the memory-mapped input count as well: a block is mapped at a time.
Beside the figures stand the machine's limits: sgemm, the copying of memory, the reading of a file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np
from encode import sgemm_rate
from generate import generate_apart

COMMANDS = {
    "fit": "fit {vectors} -o {folder}/model.safetensors -L 16 -K 256",
    "encode": "encode {folder}/model.safetensors {vectors} -o {folder}/codes.npy",
    "build": "build {vectors} -o {folder}/index --spec DQ16,IVF4096,PQ16",
    "sids": "sids extract {vectors} -o {folder}/sids.parquet -L 8 -K 256",
}
MADE = {"fit": "model.safetensors", "encode": "codes.npy", "build": "index", "sids": "sids.parquet"}
CORES = (2, 1)
# Threads are compared here; at the other sizes all are used.
COMPARED = 4_000_000


def limits(vectors: Path) -> dict[str, float]:
    """What the machine can do at most: GFlop/s, and GiB a second."""
    block = np.ones(2**26, dtype=np.float32)
    other = np.empty_like(block)
    copies, reads = [], []
    for _ in range(5):
        began = time.perf_counter()
        np.copyto(other, block)
        copies.append(2 * block.nbytes / (time.perf_counter() - began))
    buffer = bytearray(2**24)
    with vectors.open("rb", buffering=0) as file:
        for _ in range(16):
            began = time.perf_counter()
            size = file.readinto(buffer)
            reads.append(size / (time.perf_counter() - began))
    return {
        "sgemm_gflops_1_thread": round(sgemm_rate(1), 1),
        "sgemm_gflops_2_threads": round(sgemm_rate(2), 1),
        "copy_gib_s": round(statistics.median(copies) / 2**30, 1),
        "read_gib_s": round(statistics.median(reads) / 2**30, 1),
    }


def size_of(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    return sum(one.stat().st_size for one in ([path] if path.is_file() else path.iterdir()))


def measure(job: str, vectors: Path, folder: Path, n: int, d: int, threads: int) -> dict[str, Any]:
    """One command."""
    words = COMMANDS[job].format(vectors=vectors, folder=folder).split()
    began = time.perf_counter()
    peak = common.run(
        [sys.executable, "-m", "dqindex", *words, "--threads", str(threads), "-q"],
        folder / "told",
    )
    seconds = time.perf_counter() - began
    size = size_of(folder / MADE[job])
    return {
        "job": job,
        "rows": n,
        "dim": d,
        "threads": threads,
        "seconds": round(seconds, 1),
        "microseconds_a_row": round(1e6 * seconds / n, 2),
        "peak_mib": round(peak / 2**20),
        "output_mib": round(size / 2**20),
        "beyond_output_mib": round((peak - size) / 2**20),
    }


def main() -> None:
    """Generate, run, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--dim", type=int, default=96)
    parser.add_argument("--jobs", default=",".join(COMMANDS))
    parser.add_argument("-o", "--output", default="scale", help="name of the JSON")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    found: dict[str, float] = {}
    for n in arguments.rows or [1_000_000, 4_000_000, 10_000_000]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            vectors = folder / "vectors.npy"
            generate_apart(vectors, n, arguments.dim)
            if not found:
                # In a process of its own: a child starts with the peak memory of its parent.
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    found = pool.apply(limits, (vectors,))
            for job in arguments.jobs.split(","):
                for threads in CORES if n == COMPARED else CORES[:1]:
                    rows.append(measure(job, vectors, folder, n, arguments.dim, threads))
                    print(json.dumps(rows[-1]), flush=True)
        common.write(arguments.output, rows, limits=found)


if __name__ == "__main__":
    main()
