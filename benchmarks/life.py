"""What changes of an index cost, beside plain FAISS's own figures for the same.

    python benchmarks/life.py [--rows 1000000] [--dim 96]

Each change is made three times, ours and FAISS's by turns. Ours reads a folder
(which verifies its SHA-256), changes it, and publishes a new version: written, hashed, synced.
FAISS's reads a file, changes it, and writes a file, without ids of a catalogue, hash or sync.
Medians; seconds of all CPUs stand beside those of the clock, and the least of these: other work on
the machine changes them little.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import common
import faiss
import numpy as np
from generate import generate_apart

from dqindex import build_index, build_like, merge_indexes, open_index, open_vectors
from dqindex.index.folder import read_manifest

SPEC = "DQ16,IVF4096,PQ16"
REPEATS, OPENINGS = 3, 15
SHARDS = 8
QUERIES, K, NPROBE = 1000, 10, 64
SHARES = (0.5, 0.01, 0.0001)
MORE = 100_000

Times = dict[str, list[float]]


class Watch:
    """Seconds of each part, of all repeats: of the clock, and of all CPUs."""

    def __init__(self) -> None:
        self.seconds: Times = {}
        self.cpu_seconds: Times = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """One part."""
        began, used = time.perf_counter(), time.process_time()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        self.cpu_seconds.setdefault(name, []).append(time.process_time() - used)

    def medians(self) -> dict[str, dict[str, float]]:
        """The median of each, and the least by the clock, as fields of a row."""
        return {
            field: {name: round(of(all_), 5) for name, all_ in times.items()}
            for field, times, of in (
                ("seconds", self.seconds, statistics.median),
                ("least_seconds", self.seconds, min),
                ("cpu_seconds", self.cpu_seconds, statistics.median),
            )
        }


def faiss_file(folder: Path) -> str:
    """The plain FAISS file in an index folder."""
    return str(folder / read_manifest(folder)["files"]["index"]["name"])


def inner(index: Any) -> Any:
    """The inverted file behind the transform, which goes with `index`."""
    return faiss.downcast_index(faiss.downcast_index(index).index)


class Bench:
    """An index of the first rows, as a folder of ours and as a file that FAISS changes."""

    def __init__(self, place: Path, x: np.ndarray, n: int) -> None:
        self.place, self.x, self.n = place, x, n
        # Ids of a catalogue: integers, in no order.
        self.ids = np.random.default_rng(1).permutation(4 * len(x))[: len(x)].astype(np.int64)
        watch = Watch()
        with watch.part("build"):
            index = build_index(open_vectors(x[:n], ids=self.ids[:n]), SPEC)
        self.build_seconds = watch.seconds["build"][0]
        self.build_cpu_seconds = watch.cpu_seconds["build"][0]
        self.training_seconds = sum(index.training_seconds.values())
        index.save(place / "index")
        self.file = str(place / "plain.faiss")
        shutil.copy(faiss_file(place / "index"), self.file)

    def change(
        self, job: str, ours: Callable[[Any], None], theirs: Callable[[Any], None]
    ) -> dict[str, Any]:
        """Read, change, write: both, by turns."""
        watch = Watch()
        for _ in range(REPEATS):
            with watch.part("read"):
                index = open_index(self.place / "index")
            with watch.part("change"):
                ours(index)
            with watch.part("write"):
                index.save(self.place / "changed")
            del index
            with watch.part("faiss_read"):
                plain = faiss.read_index(self.file)
            with watch.part("faiss_change"):
                theirs(plain)
            with watch.part("faiss_write"):
                faiss.write_index(plain, str(self.place / "changed.faiss"))
            del plain
        return told({"table": "changes", "job": job, **watch.medians()})

    def changes(self) -> Iterator[dict[str, Any]]:
        """Nothing, additions of several sizes, a removal, a replacement."""
        x, ids, n = self.x, self.ids, self.n
        yield self.change("nothing", lambda index: None, lambda plain: None)
        for count in (1_000, 10_000, MORE):
            yield self.addition(count)
        some = np.random.default_rng(2).choice(n, 10_000, replace=False)
        yield self.change(
            "remove 10,000",
            lambda index: index.remove(ids[some]),
            lambda plain: plain.remove_ids(faiss.IDSelectorBatch(some)),
        )

        def replace(plain: Any) -> None:
            plain.remove_ids(faiss.IDSelectorBatch(some))
            plain.add_with_ids(x[n : n + 10_000], some)

        yield self.change(
            "update 10,000",
            lambda index: index.update(x[n : n + 10_000], ids[some]),
            replace,
        )

    def addition(self, count: int) -> dict[str, Any]:
        """The next `count` vectors."""
        n = self.n
        new, names, rows = self.x[n : n + count], self.ids[n : n + count], np.arange(n, n + count)
        return self.change(
            f"add {count:,}",
            lambda index: index.add(new, names),
            lambda plain: plain.add_with_ids(new, rows),
        )

    def merge(self) -> dict[str, Any]:
        """Shards of one training, against only reading them and writing the result."""
        folders, parts = [], np.array_split(np.arange(self.n), SHARDS)
        for place, rows in enumerate(parts):
            folders.append(self.place / f"shard-{place}")
            source = open_vectors(self.x[rows], ids=self.ids[rows])
            build_like(source, self.place / "index").save(folders[-1])
        files = [faiss_file(folder) for folder in folders]
        watch = Watch()
        for _ in range(REPEATS):
            with watch.part("read"):
                for folder in folders:
                    open_index(folder)
            with watch.part("merge"):
                merged = merge_indexes(folders)
            with watch.part("write"):
                merged.save(self.place / "changed")
            with watch.part("faiss_read"):
                for file in files:
                    faiss.read_index(file)
            with watch.part("faiss_merge"):
                plain = faiss.read_index(files[0])
                for file in files[1:]:
                    # Held by a name: what is inside goes with it.
                    other = faiss.read_index(file)
                    inner(plain).merge_from(inner(other), inner(plain).ntotal)
                plain.ntotal = inner(plain).ntotal
            with watch.part("faiss_write"):
                faiss.write_index(plain, str(self.place / "changed.faiss"))
        if not merged.n == plain.ntotal == self.n:
            raise SystemExit("a merged index has not all vectors")
        return told({"table": "merge", "job": f"merge {SHARDS} shards", **watch.medians()})

    def mapping(self) -> dict[str, Any]:
        """Opening, and the searches that follow."""
        watch, query = Watch(), self.x[:1]
        # One search makes what FAISS makes once in a process.
        open_index(self.place / "index").search(query, K)
        for _ in range(OPENINGS):
            (self.place / "index" / "verified.json").unlink(missing_ok=True)
            with watch.part("open, verified"):
                open_index(self.place / "index", mmap=True)
            with watch.part("open"):
                index = open_index(self.place / "index", mmap=True)
            for part in ("first search", "next search"):
                with watch.part(part):
                    index.search(query, K)
            with watch.part("read"):
                open_index(self.place / "index")
            for name in ("IO_FLAG_MMAP", "IO_FLAG_MMAP_IFC"):
                with watch.part(f"faiss {name}"):
                    plain = faiss.read_index(self.file, getattr(faiss, name))
                for part in ("first search", "next search"):
                    with watch.part(f"faiss {name} {part}"):
                        plain.search(query, K)
            with watch.part("faiss read"):
                faiss.read_index(self.file)
        return told({"table": "mmap", "job": "map", **watch.medians()})

    def filters(self) -> Iterator[dict[str, Any]]:
        """Search among some, with one number of probes."""
        index = open_index(self.place / "index")
        plain = faiss.read_index(self.file)
        inner(plain).nprobe = NPROBE
        rng = np.random.default_rng(3)
        queries = self.x[rng.choice(self.n, QUERIES, replace=False)]
        queries = queries + 0.1 * rng.standard_normal(queries.shape, dtype=np.float32)
        for share in SHARES:
            rows = np.sort(rng.choice(self.n, max(K, round(share * self.n)), replace=False))
            mask = np.zeros(self.n, dtype=bool)
            mask[rows] = True
            flat = faiss.IndexFlatL2(self.x.shape[1])
            flat.add(np.ascontiguousarray(self.x[rows]))
            truth = rows[flat.search(queries, K)[1]]
            watch = Watch()
            for _ in range(REPEATS):
                with watch.part("ours"):
                    found = index.search(
                        queries, K, filter=self.ids[rows], parameters={"nprobe": NPROBE}
                    ).positions
                with watch.part("ours, mask"):
                    index.search(queries, K, filter=mask, parameters={"nprobe": NPROBE})
                with watch.part("faiss"):
                    # Held by a name: the parameters keep no reference to it.
                    selector = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
                    searching = faiss.SearchParametersPreTransform(
                        index_params=faiss.SearchParametersIVF(sel=selector, nprobe=NPROBE)
                    )
                    plainly = plain.search(queries, K, params=searching)[1]
            medians = watch.medians()
            seconds, used = medians["seconds"], medians["cpu_seconds"]
            yield told(
                {
                    "table": "filter",
                    "job": f"{100 * share:g} %",
                    "allowed": len(rows),
                    "queries_s": round(QUERIES / seconds["ours"]),
                    "queries_s_mask": round(QUERIES / seconds["ours, mask"]),
                    "faiss_queries_s": round(QUERIES / seconds["faiss"]),
                    "ms_cpu": round(1e3 * used["ours"] / QUERIES, 3),
                    "faiss_ms_cpu": round(1e3 * used["faiss"] / QUERIES, 3),
                    "recall": share_found(found, truth),
                    "faiss_recall": share_found(plainly, truth),
                    "short": round(float((found < 0).any(axis=1).mean()), 3),
                    "faiss_short": round(float((plainly < 0).any(axis=1).mean()), 3),
                }
            )


def share_found(found: np.ndarray, truth: np.ndarray) -> float:
    """10-recall@10."""
    hits = [len(np.intersect1d(one, two)) for one, two in zip(found, truth, strict=True)]
    return round(float(np.mean(hits)) / K, 3)


def told(row: dict[str, Any]) -> dict[str, Any]:
    """`row` with how much else ran, printed."""
    row["load"] = round(os.getloadavg()[0], 1)
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    """Generate, build, change, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=96)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        generate_apart(place / "vectors.npy", arguments.rows + MORE, arguments.dim)
        x = np.load(place / "vectors.npy", mmap_mode="r")
        bench = Bench(place, np.ascontiguousarray(x), arguments.rows)
        rows = [
            *bench.changes(),
            bench.merge(),
            bench.mapping(),
            *bench.filters(),
        ]
        common.write(
            "life",
            rows,
            spec=SPEC,
            vectors=arguments.rows,
            dim=arguments.dim,
            nprobe=NPROBE,
            build_seconds=round(bench.build_seconds, 1),
            build_cpu_seconds=round(bench.build_cpu_seconds, 1),
            training_seconds=round(bench.training_seconds, 1),
            file_mib=round(Path(bench.file).stat().st_size / 2**20, 1),
            load=[min(row["load"] for row in rows), max(row["load"] for row in rows)],
        )


if __name__ == "__main__":
    main()
