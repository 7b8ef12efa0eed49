"""Memory beyond what the caller holds: a table of 2 GiB in memory, and as Parquet on disk.

    python benchmarks/memory.py

Each case runs in a process of its own, which holds the table (or nothing, for Parquet), has encoded
a few rows already, and then measures the peak of its resident memory while it works. From that are
taken what it held before and what it gives back.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dqindex import DQModel, build_index, semantic_ids
from dqindex.bench.machine import reset_peak, resident

WIDTH = 256
BATCH = 2**16
SPEC = "DQ16,IVF256,PQ16"
# What is asked of it.
LIMIT = 512 * 2**20


def batches(rows: int) -> Iterator[pa.RecordBatch]:
    """Clusters around 1,000 centres, with ids."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, WIDTH)).astype(np.float32)
    noise = rng.standard_normal((BATCH, WIDTH), dtype=np.float32)
    for start in range(0, rows, BATCH):
        rng = np.random.default_rng([1, start])
        values = noise[: rows - start] * rng.uniform(0.5, 2, WIDTH).astype(np.float32)
        values += centres[rng.integers(len(centres), size=len(values))]
        yield pa.record_batch(
            {
                "item_id": pa.array(np.arange(start, start + len(values))),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), WIDTH),
            }
        )


def work(what: str, source: Any, model: DQModel) -> tuple[Any, int]:
    """Do it; what it gives, and its bytes."""
    if what == "encode":
        codes = model.encode(source)
        return codes, codes.nbytes
    if what == "encode_arrow":
        table = model.encode_arrow(source)
        return table, table.nbytes
    if what == "semantic_ids":
        table = semantic_ids(source, n_subspaces=8, n_codewords=64).table()
        return table, table.nbytes
    index = build_index(source, SPEC)
    return index, int(index.n * index.manifest["bytes_per_vector"])


def measure(what: str, rows: int, file: str | None, model_file: str) -> dict[str, Any]:
    """One case, in this process."""
    source: Any = file
    if file is None:
        source = pa.Table.from_batches(list(batches(rows)))
    model = DQModel.load(model_file)
    model.encode_arrow(next(batches(4096)))
    gc.collect()
    before = resident()["now"]
    reset_peak()
    kept, output = work(what, source, model)
    peak = resident()["peak"]
    del kept
    return {
        "source": "Parquet file" if file else "Arrow table",
        "what": what,
        "held": before,
        "peak": peak,
        "output": output,
        "beyond": peak - before - output,
    }


def main() -> None:
    """Measure all, or with ``--case`` one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = int(options.gib * 2**30 / (4 * WIDTH))
    if options.case:
        what, file, model = options.case
        print(json.dumps(measure(what, rows, file if file != "-" else None, model)))
        return
    found = []
    with tempfile.TemporaryDirectory() as folder:
        parquet, model = f"{folder}/vectors.parquet", f"{folder}/model.safetensors"
        first = next(batches(2**15))
        DQModel(8, 64).fit(pa.Table.from_batches([first])).save(model)
        with pq.ParquetWriter(parquet, first.schema, compression="none") as writer:
            for batch in batches(rows):
                writer.write_batch(batch, row_group_size=BATCH)
        size = Path(parquet).stat().st_size
        for what in ("encode", "encode_arrow", "semantic_ids", "build_index"):
            for file in ("-", parquet):
                if what == "encode" and file != "-":
                    continue
                command = [sys.executable, __file__, "--gib", str(options.gib)]
                done = subprocess.run(
                    [*command, "--case", what, file, model], stdout=subprocess.PIPE, check=True
                )
                found.append(json.loads(done.stdout))
                one = found[-1]
                output, beyond = (one[name] / 2**20 for name in ("output", "beyond"))
                print(
                    f"{one['source']:>12} {what:<12}: {output:4.0f} MiB given back, {beyond:4.0f} "
                    "MiB beyond",
                    flush=True,
                )
    common.write(
        "memory", found, vectors=rows, width=WIDTH, file_bytes=size, spec=SPEC, limit=LIMIT
    )


if __name__ == "__main__":
    main()
