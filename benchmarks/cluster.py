"""Time and memory of Spark on this machine, from vectors in Parquet to a unique map and an index.

    python benchmarks/cluster.py [--rows 1000000 --rows 10000000] [--dim 96]

Spark runs as local[2], its driver and executors in one JVM of 1 GiB; the peak of the driver's
Python is told beside it. Each size runs in a process of its own. Figures go to stdout, as JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# Vectors that are generated at a time.
PART_ROWS = 250_000
CENTRES = 20_000


def write_vectors(folder: Path, rows: int, dim: int) -> None:
    """Clusters of unequal sizes, in Parquet files of `PART_ROWS`."""
    rng = np.random.default_rng(0)
    scale = np.exp(-np.arange(dim) / dim * 3)
    centres = rng.normal(size=(CENTRES, dim)) * scale * 2
    for start in range(0, rows, PART_ROWS):
        n = min(PART_ROWS, rows - start)
        chosen = (CENTRES * rng.random(n) ** 2).astype(np.int64)
        vectors = (centres[chosen] + rng.normal(size=(n, dim)) * scale).astype(np.float32)
        lists = pa.ListArray.from_arrays(
            pa.array(np.arange(0, vectors.size + 1, dim, dtype=np.int32)),
            pa.array(vectors.ravel()),
        )
        table = pa.table({"item_id": np.arange(start, start + n), "vector": lists})
        pq.write_table(table, folder / f"part-{start:012d}.parquet")


def measured(rows: int, dim: int, spec: str, sender: Any) -> None:
    """Send the seconds of each step, and the peak of this process."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    from dqindex import spark as engine

    found: dict[str, Any] = {"rows": rows, "dim": dim}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "items").mkdir()
        write_vectors(folder / "items", rows, dim)
        session = (
            SparkSession.builder.master("local[2]")
            .config("spark.driver.memory", "1g")
            .config("spark.ui.enabled", "false")
            .config("spark.local.dir", str(folder / "spark"))
            .getOrCreate()
        )
        frame = session.read.parquet(str(folder / "items"))
        rounds = []

        def step(what: str, work: Any) -> Any:
            begun = time.perf_counter()
            made = work()
            found[what] = round(time.perf_counter() - begun, 1)
            return made

        model = step("fit", lambda: engine.fit(frame, n_subspaces=8, n_codewords=256))
        step(
            "sids",
            lambda: engine.semantic_ids(
                frame, model=model, progress=lambda what, done, total: rounds.append(what)
            ).write.parquet(str(folder / "sids")),
        )
        found["rounds"] = rounds.count("round")
        step("index", lambda: engine.build_index(frame, spec, folder / "index"))
        session.stop()
    found["driver_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    sender.send(found)


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--dim", type=int, default=96)
    parser.add_argument("--spec", default="DQ16,IVF1024,PQ16")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    results = []
    for rows in arguments.rows or [1_000_000, 10_000_000]:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(
            target=measured, args=(rows, arguments.dim, arguments.spec, sender)
        )
        process.start()
        sender.close()
        results.append(receiver.recv())
        process.join()
        print(json.dumps(results[-1]), file=sys.stderr)
    json.dump(results, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
