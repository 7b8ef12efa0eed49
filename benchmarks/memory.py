"""Peak resident memory of `dqindex build`, beside the size of the index it makes.

    python benchmarks/memory.py [--rows 4000000] [--dim 96] [--spec DQ16,IVF4096,PQ16]

The vectors are generated to disk and built in a process of their own. Of the peak, the pages of
the memory-mapped input count as well: a block of it is mapped at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import common
from generate import generate_apart


def main() -> None:
    """Generate, build, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--dim", type=int, default=96)
    parser.add_argument("--spec", default="DQ16,IVF4096,PQ16")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        vectors = Path(folder) / "vectors.npy"
        generate_apart(vectors, arguments.rows, arguments.dim)
        output = Path(folder) / "index"
        began = time.perf_counter()
        told = Path(folder) / "told.json"
        peak = common.run(
            [sys.executable, "-m", "dqindex", "build", str(vectors), "-o", str(output),
             "--spec", arguments.spec, "--json"],
            told,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        manifest = json.loads(told.read_text())
        size = sum(file.stat().st_size for file in output.iterdir())
    row = {
        "rows": arguments.rows,
        "dim": arguments.dim,
        "spec": arguments.spec,
        "index_mib": round(size / 2**20),
        "peak_mib": round(peak / 2**20),
        "peak_minus_index_mib": round((peak - size) / 2**20),
        "seconds": round(seconds, 1),
        "training_seconds": {
            part: round(took, 1) for part, took in manifest["training_seconds"].items()
        },
        "train_rows": manifest["settings"]["train_rows"],
    }
    print(json.dumps(row, indent=1))
    common.write("memory", [row])


if __name__ == "__main__":
    main()
