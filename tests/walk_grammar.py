"""Build the specs that stdin lists, one a line (``metric width rows spec``), and search them.

A process of its own, as FAISS may crash on one: it names each spec before it begins. The answers
are JSON, one a line.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import faiss
import numpy as np
from conftest import clustered

import dqindex
from dqindex.errors import DQIndexError, InputError
from dqindex.index.anatomy import dissect

QUERIES, K = 40, 10
_made: dict[tuple[int, int], np.ndarray[Any, Any]] = {}
_true: dict[tuple[int, int, str], np.ndarray[Any, Any]] = {}


def vectors(rows: int, width: int) -> np.ndarray[Any, Any]:
    """Norms and a mean that make the three metrics disagree."""
    if (rows, width) not in _made:
        rng = np.random.default_rng(3)
        made = clustered(rows, width) * rng.uniform(0.3, 3, (rows, 1)) + 0.5
        _made[rows, width] = made.astype(np.float32)
    return _made[rows, width]


def true_neighbors(rows: int, width: int, metric: str) -> np.ndarray[Any, Any]:
    """Exact neighbours of the first rows."""
    if (rows, width, metric) not in _true:
        x = vectors(rows, width)
        _true[rows, width, metric] = dqindex.exact_neighbors(x, x[:QUERIES], K, metric=metric)[0]
    return _true[rows, width, metric]


def walk(metric: str, width: int, rows: int, spec: str) -> dict[str, Any]:
    """What becomes of a spec: refused with its reason, or built with what it finds."""
    x = vectors(rows, width)
    looked_at: list[str] = []
    try:
        index = dqindex.build_index(
            x,
            spec,
            metric=metric,
            block_rows=250,
            progress=lambda what, done, total: looked_at.append(what),
        )
    except InputError as error:
        return {"refused": str(error), "worked": bool(looked_at)}
    parts = dissect(index.index)
    if parts.ivf is not None:
        parts.ivf.nprobe = parts.ivf.nlist
    k = min(K, rows)
    found = index.search(x[:QUERIES], k)
    copy = faiss.deserialize_index(faiss.serialize_index(index.index))
    again = copy.search(np.ascontiguousarray(x[:QUERIES]), k)[1]
    true = true_neighbors(rows, width, metric)
    hits = (found.positions[:, :, None] == true[:, None, :]).any(axis=1)
    steps = np.diff(found.distances, axis=1) * (-1 if metric == "ip" else 1)
    return {
        "n": index.n,
        "recall": float(hits.mean()),
        "nearest": float(hits[:, 0].mean()),
        "ordered": bool((steps >= -1e-3).all()),
        "same": float((again == found.positions).mean()),
        "metrics": sorted({int(part.metric_type) for part in (index.index, parts.core)}),
    }


def main() -> None:
    """Answer each line."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        metric, width, rows, spec = line.rstrip("\n").split(" ", 3)
        sys.stdout.write(f"BEGIN {line}")
        sys.stdout.flush()
        try:
            answer = walk(metric, int(width), int(rows), spec)
        except DQIndexError as error:
            answer = {"other": f"{type(error).__name__}: {error}"}
        except Exception as error:
            answer = {"raw": f"{type(error).__name__}: {error}"}
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
