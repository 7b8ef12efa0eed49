"""What Spark takes on this machine, from vectors in Parquet to a unique map and an index.

    python benchmarks/cluster.py [--rows 1000000 --rows 10000000] [--dim 96] [--tokens 4]

Spark runs as local[2]: its driver and its executor are one JVM, of 1 GiB, which has two tasks at a
time, each with a Python worker beside it. Each size runs in a process of its own, on vectors that
are generated. The resident memory of the JVM, of the driver's Python and of the workers is read
from /proc five times a second, as is the CPU that they use; bytes that are shuffled, and seconds of
tasks, are what Spark counts of each stage. A size that was measured already, with the same
settings, is not measured again: a run that was ended goes on. Remove the file of results to begin
anew.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import common
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# Vectors that are generated at a time.
PART_ROWS = 250_000
CENTRES = 20_000
MIB = 2**20
WATCHED_SECONDS = 0.2
JVM = "1g"
CODEWORDS = 256


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


class Watch(threading.Thread):
    """What the processes below this one use, by what they are: memory at most, and CPU so far."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks: dict[str, int] = {}
        self._loads: list[float] = []
        self._used: dict[int, tuple[str, float]] = {}
        self._page, self._ticks = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
        self.begin()
        self.done = threading.Event()

    def run(self) -> None:
        """Look until it is `done`."""
        while not self.done.wait(WATCHED_SECONDS):
            self.look()

    def begin(self) -> None:
        """Forget what was seen of memory and load."""
        self.peaks = {"driver_python": 0, "jvm": 0, "worker_python": 0}
        self._loads = []

    def load(self) -> float:
        """The machine's load, on average since then."""
        return sum(self._loads) / max(1, len(self._loads))

    def look(self) -> None:
        """Look once."""
        self._loads.append(os.getloadavg()[0])
        for pid, (kind, fields) in self._processes().items():
            self.peaks[kind] = max(self.peaks[kind], int(fields[21]) * self._page)
            used = (int(fields[11]) + int(fields[12])) / self._ticks
            self._used[pid] = (kind, used)

    def cpu_seconds(self) -> dict[str, float]:
        """Of each kind, of all processes that were seen."""
        self.look()
        found = dict.fromkeys(self.peaks, 0.0)
        for kind, used in list(self._used.values()):
            found[kind] += used
        return found

    @staticmethod
    def _processes() -> dict[int, tuple[str, list[str]]]:
        """The process and those below: what each is, and what /proc says behind its name."""
        every = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text()
                except OSError:
                    continue  # It has ended.
                name = stat.partition("(")[2].rpartition(")")[0]
                every[int(entry.name)] = (name, stat.rpartition(")")[2].split())
        found = {os.getpid(): ("driver_python", every[os.getpid()][1])}
        more = True
        while more:
            more = False
            for pid, (name, fields) in every.items():
                if int(fields[1]) in found and pid not in found:
                    kind = "jvm" if name == "java" else "worker_python"
                    found[pid], more = (kind, fields), True
        return found


class Steps:
    """Seconds of each step, and what Spark counts of its stages."""

    def __init__(self, session: Any, watch: Watch) -> None:
        self._context, self._watch = session.sparkContext, watch
        self._seen: set[int] = set()
        self.found: dict[str, Any] = {}

    def measure(self, name: str, work: Any) -> Any:
        """Do `work`."""
        self._watch.begin()
        begun, before = time.perf_counter(), self._watch.cpu_seconds()
        made = work()
        seconds = time.perf_counter() - begun
        used = self._watch.cpu_seconds()
        stages = [one for one in self._stages() if one.stageId() not in self._seen]
        self._seen |= {one.stageId() for one in stages}
        self.found[name] = {
            "seconds": round(seconds, 1),
            "task_seconds": round(sum(one.executorRunTime() for one in stages) / 1000, 1),
            "cpu_seconds": {kind: round(now - before[kind], 1) for kind, now in used.items()},
            "shuffled_mib": round(sum(one.shuffleWriteBytes() for one in stages) / MIB, 1),
            "spilled_mib": round(sum(one.diskBytesSpilled() for one in stages) / MIB, 1),
            "tasks": sum(one.numCompleteTasks() for one in stages),
            "peak_mib": {kind: peak // MIB for kind, peak in self._watch.peaks.items()},
            "load": round(self._watch.load(), 1),
        }
        print(name, json.dumps(self.found[name]), file=sys.stderr, flush=True)
        return made

    def _stages(self) -> list[Any]:
        gateway = self._context._gateway
        none, no_quantiles = (
            gateway.jvm.java.util.ArrayList(),
            gateway.new_array(gateway.jvm.double, 0),
        )
        store = self._context._jsc.sc().statusStore()
        found = store.stageList(None, False, False, no_quantiles, none)
        return [found.apply(place) for place in range(found.size())]


def new_session(folder: Path) -> Any:
    """Spark, with its driver and executors in one JVM of 1 GiB."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    settings = {
        "spark.driver.memory": JVM,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(folder / "spark"),
        "spark.sql.shuffle.partitions": "64",
        "spark.ui.enabled": "false",
        "spark.ui.retainedStages": "100000",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def measured(rows: int, dim: int, tokens: int, spec: str, sender: Any) -> None:
    """Send the figures of one size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "items").mkdir()
        # In a process of its own: what it leaves is no memory of the driver's.
        generated = multiprocessing.get_context("spawn").Process(
            target=write_vectors, args=(folder / "items", rows, dim)
        )
        generated.start()
        generated.join()
        watch = Watch()
        session = new_session(folder)
        watch.start()
        found = {"rows": rows, "dim": dim, **steps_of(session, watch, folder, tokens, spec)}
        session.stop()
        watch.done.set()
        watch.join()
        found |= counted(folder / "sids", tokens)
        size = sum(file.stat().st_size for file in (folder / "index").iterdir())
        found["index_mib"] = round(size / MIB, 1)
    sender.send(found)


def steps_of(session: Any, watch: Watch, folder: Path, tokens: int, spec: str) -> dict[str, Any]:
    """The figures of each step."""
    from dqindex import spark as engine

    frame = session.read.parquet(str(folder / "items"))
    steps, rounds = Steps(session, watch), []

    def told(what: str, done: int, total: int) -> None:
        rounds.append(what)

    def make_map() -> None:
        made = engine.semantic_ids(frame, model=model, progress=told)
        made.write.parquet(str(folder / "sids"))

    model = steps.measure(
        "fit", lambda: engine.fit(frame, n_subspaces=tokens, n_codewords=CODEWORDS)
    )
    steps.measure("sids", make_map)
    index = steps.measure("index", lambda: engine.build_index(frame, spec, folder / "index"))
    return {
        **steps.found,
        "rounds": rounds.count("round"),
        "partitions": frame.rdd.getNumPartitions(),
        "index_vectors": index.n,
    }


def counted(folder: Path, tokens: int) -> dict[str, int]:
    """How many items shared their tuple, how many moved, and how many IDs there are."""
    table = pq.read_table(folder, columns=["codes", "base_codes"])
    places = CODEWORDS ** np.arange(tokens, dtype=np.int64)
    codes, base = (
        table[column].combine_chunks().flatten().to_numpy().reshape(-1, tokens) @ places
        for column in ("codes", "base_codes")
    )
    shared = np.unique(base, return_counts=True)[1]
    return {
        "items": len(table),
        "shared": int(shared[shared > 1].sum()),
        "largest_group": int(shared.max()),
        "moved": int((codes != base).sum()),
        "distinct": len(np.unique(codes)),
    }


def measured_before(name: str, settings: dict[str, Any], dim: int) -> list[dict[str, Any]]:
    """Rows of a run with these settings, which may have been ended."""
    path = common.RESULTS / f"{name}.json"
    if not path.exists():
        return []
    record = json.loads(path.read_text())
    if any(record["settings"].get(name) != value for name, value in settings.items()):
        return []
    return [row for row in record["rows"] if row["dim"] == dim]


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--dim", type=int, default=96)
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--spec", default="DQ16,IVF1024,PQ16")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    settings = {
        "spec": arguments.spec,
        "codes": [CODEWORDS] * arguments.tokens,
        "master": "local[2]",
        "jvm": JVM,
    }
    asked = arguments.rows or [1_000_000, 3_000_000, 10_000_000]
    name = f"cluster-{arguments.tokens}-tokens"
    results = measured_before(name, settings, arguments.dim)
    for rows in asked:
        if any(row["rows"] == rows for row in results):
            continue
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(
            target=measured, args=(rows, arguments.dim, arguments.tokens, arguments.spec, sender)
        )
        process.start()
        sender.close()
        results.append(receiver.recv())
        process.join()
        results.sort(key=lambda row: row["rows"])
        print(json.dumps(results), file=sys.stderr)
        # What was measured stays, whatever comes of the larger ones.
        print(common.write(name, results, asked=asked, **settings))


if __name__ == "__main__":
    main()
