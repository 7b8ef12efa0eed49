"""One method, measured in a process of its own: ``python -m dqindex.bench.worker``.

The job comes as JSON on the first line of stdin, and messages go out as JSON lines. The process
ends when stdin closes, so that it does not outlive who started it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

from dqindex.bench.dataset import Dataset, Description
from dqindex.bench.machine import pin, reset_peak, resident
from dqindex.bench.measure import latency, pareto, recalls, throughput
from dqindex.bench.peers import package_versions, peer_class, split
from dqindex.bench.peers.base import Peer, Unsupported
from dqindex.bench.truth import Truth, content_key
from dqindex.errors import DQIndexError, MissingDependencyError
from dqindex.evaluation import recall_at
from dqindex.parallel.threads import available_threads, thread_limit

Emit = Callable[[dict[str, Any]], None]
Point = dict[str, float]


def point_key(job: dict[str, Any], parameters: Point, threads: int) -> str:
    """Name of a point: of all that was chosen, and nothing that was measured."""
    chosen = [job["data_key"], job["k"], job["method"], job["seed"], threads]
    return content_key(*chosen, json.dumps(parameters, sort_keys=True))[:20]


def measure(job: dict[str, Any], emit: Emit) -> None:
    """Build the method's index and measure the points that are not done."""
    dataset = Dataset(Description(**job["dataset"]))
    truth, k = dataset.truth(), job["k"]
    library, argument = split(job["method"])
    peer = peer_class(library)(argument, dataset.metric, job["seed"])
    built = _ready(peer, job, dataset)
    if job["only_build"]:
        return
    points = _points(peer, job)
    if job["auto"]:
        points = _worthwhile(peer, points, dataset.queries, truth.positions, k)
    emit({"index": {**built, "points": len(points) * len(job["threads"])}})
    reset_peak()
    cpus = available_threads()
    for threads in job["threads"]:
        with thread_limit(threads):
            pin(threads)
            peer.set_threads(threads)
            for parameters in points:
                key = point_key(job, parameters, threads)
                if key in job["done"]:
                    continue
                peer.set_parameters(parameters)
                emit(
                    {
                        "point": {
                            "key": key,
                            "parameters": parameters,
                            "threads": threads,
                            "k": k,
                            **_figures(peer, dataset, truth, k),
                            "search_peak": resident().get("peak"),
                        }
                    }
                )
        pin(cpus)


def _ready(peer: Peer, job: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Build the index, or load the one that is kept: what `_build` told of it."""
    if job["keep"] is None or not peer.loads:
        if job["only_build"]:
            raise Unsupported(f"{peer.package}: indexes are not kept on disk")
        return _build(peer, job, dataset)
    name = content_key(job["data_key"], job["method"], job["seed"])[:20]
    folder = Path(job["keep"]) / name
    told = folder / "told.json"
    if told.exists():
        if not job["only_build"]:
            peer.load(folder, dataset.base)
        found: dict[str, Any] = json.loads(told.read_text())
        return found
    # What an earlier process left half-way.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    built = _build(peer, job, dataset)
    peer.save(folder)
    told.write_text(json.dumps(_rounded(built)))
    return built


def _build(peer: Peer, job: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Build the index on all CPUs: what it is, what it took, what it weighs."""
    cpus = available_threads()
    before = resident().get("now")
    reset_peak()
    with thread_limit(cpus):
        peer.build(dataset.base, cpus)
    memory = {"before": before, "build_peak": resident().get("peak")}
    library = split(job["method"])[0]
    return {
        "method": job["method"],
        "library": library,
        "options": peer.options,
        "versions": package_versions(library),
        "build": {**peer.seconds, "total": sum(peer.seconds.values()), "threads": cpus},
        "bytes": _sizes(peer, len(dataset.base)),
        **peer.details(dataset.base),
        "memory": memory,
    }


def _figures(peer: Peer, dataset: Dataset, truth: Truth, k: int) -> dict[str, Any]:
    """Recall, throughput and latency of the peer as it is set."""
    queries = dataset.queries
    began = perf_counter()
    answers = peer.search(queries, k)
    warm = perf_counter() - began
    batch = throughput(peer.search, queries, k, warm)
    single = latency(peer.search, queries, k)
    found = {k: answers}
    most = truth.positions.shape[1]
    if k < most:
        found[most] = peer.search(queries, most)
    recall: dict[str, dict[str, float]] = {"id": {}, "distance": {}}
    for at, positions in found.items():
        by = recalls(positions, truth, dataset.base, queries, dataset.metric, at)
        for kind, values in by.items():
            # 1@1 is of the search that was timed.
            recall[kind] = {**values, **recall[kind]}
    return {"recall": recall, "batch": batch, "single": single}


def _sizes(peer: Peer, n: int) -> dict[str, float]:
    """Bytes of the serialised index, by what they are for."""
    with tempfile.TemporaryDirectory() as folder:
        peer.save(Path(folder))
        file = sum(one.stat().st_size for one in Path(folder).rglob("*") if one.is_file())
    parts = peer.parts(n)
    parts[peer.rest] = file - sum(parts.values())
    return {**parts, "file": file, "per_vector": file / n}


def _points(peer: Peer, job: dict[str, Any]) -> list[Point]:
    """The grid of the method's own parameters, with the values that were asked for."""
    grid = peer.grid()
    for name, values in job["grid"].items():
        if name in grid or name in peer.extra_parameters:
            grid[name] = values
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _worthwhile(peer: Peer, points: list[Point], queries: Any, true: Any, k: int) -> list[Point]:
    """The points that no other of the method beats in recall and speed, by one quick look."""
    seen = []
    peer.set_threads(1)
    with thread_limit(1):
        for parameters in points:
            peer.set_parameters(parameters)
            peer.search(queries[:10], k)
            began = perf_counter()
            found = peer.search(queries, k)
            seen.append((recall_at(found, true[:, :k]), 1 / (perf_counter() - began)))
    return [points[place] for place in pareto(seen)]


def main() -> None:
    """Read the job, measure, and say how it went."""
    # Libraries print what they like to stdout; messages need a channel of their own.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def emit(message: dict[str, Any]) -> None:
        print(json.dumps(_rounded(message)), file=out, flush=True)

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        measure(job, emit)
        emit({"end": True})
    except (Unsupported, MissingDependencyError) as reason:
        emit({"skipped": str(reason)})
    except DQIndexError as error:
        emit({"failed": str(error)})
    except Exception as error:
        traceback.print_exc()
        emit({"failed": f"{type(error).__name__}: {' '.join(str(error).split())}"})
    finally:
        out.flush()
        # Some libraries crash as they unload.
        os._exit(0)


def _rounded(value: Any) -> Any:
    """Floats to six digits: more is noise, and takes room."""
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
