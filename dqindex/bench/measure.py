"""Recall by id and by distance, throughput, and the latency of single queries."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Int64
from dqindex.bench.truth import Truth, pair_distances

Search = Callable[[Float32, int], Int64]

# A throughput is stable once the middle half of its runs lies within this share of the median.
STABLE = 0.03
LEAST_RUNS, MOST_RUNS = 4, 15
LEAST_SECONDS, MOST_SECONDS = 0.4, 4.0
MOST_SINGLE = 1000
SINGLE_SECONDS = 2.0
# Distances are float64; this is rounding, not tolerance.
EPSILON = 1e-9


def recalls(
    found: Int64, truth: Truth, base: Float32, queries: Float32, metric: str, k: int
) -> dict[str, dict[str, float]]:
    """Recall 1@1, 1@k and k@k of the first k of `found`, by id and by distance.

    By id, the neighbours must be the very rows that exact search names. By distance, a neighbour
    counts that is no farther than the k-th true one, so that equally near vectors are equal. A row
    that stands twice in an answer counts once.
    """
    found = _distinct(found[:, :k])
    true = truth.positions[:, :k]
    distances = pair_distances(base, queries, found, metric)
    near = {
        at: np.where(np.isnan(distances), np.inf, distances) <= _edge(truth.distances[:, at - 1])
        for at in (1, k)
    }
    same = found[:, :, None] == true[:, None, :]
    return {
        "id": {
            "1@1": float(same[:, 0, 0].mean()),
            f"1@{k}": float(same[:, :, 0].any(axis=1).mean()),
            f"{k}@{k}": float(same.any(axis=2).sum(axis=1).mean() / true.shape[1]),
        },
        "distance": {
            "1@1": float(near[1][:, 0].mean()),
            f"1@{k}": float(near[1].any(axis=1).mean()),
            f"{k}@{k}": float(near[k].sum(axis=1).mean() / true.shape[1]),
        },
    }


def _edge(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (distances + EPSILON * np.abs(distances))[:, None]


def _distinct(found: Int64) -> Int64:
    """`found` with -1 for what stood before in the same row."""
    order = np.argsort(found, axis=1, kind="stable")
    ordered = np.take_along_axis(found, order, axis=1)
    again = np.zeros(found.shape, dtype=bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    out = found.copy()
    rows, columns = np.nonzero(again)
    out[rows, order[rows, columns]] = -1
    return out


def throughput(search: Search, queries: Float32, k: int, warm_seconds: float) -> dict[str, Any]:
    """Queries a second of one call with all queries: median and middle half of stable runs.

    Where a call would take more than a few seconds, fewer queries are used; `warm_seconds` is what
    a call with all took before.
    """
    share = min(1.0, MOST_SECONDS / LEAST_RUNS / max(warm_seconds, 1e-9))
    used = queries[: max(1, int(share * len(queries)))]
    seconds: list[float] = []
    while sum(seconds) < MOST_SECONDS:
        began = perf_counter()
        search(used, k)
        seconds.append(perf_counter() - began)
        low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
        enough = len(seconds) >= LEAST_RUNS and sum(seconds) >= LEAST_SECONDS
        if enough and (high - low <= STABLE * middle or len(seconds) >= MOST_RUNS):
            break
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    rates = {"qps": middle, "qps_low": high, "qps_high": low}
    return {
        **{name: len(used) / float(one) for name, one in rates.items()},
        "queries": len(used),
        "runs": len(seconds),
    }


def latency(search: Search, queries: Float32, k: int) -> dict[str, Any]:
    """Milliseconds of one query at a time: p50, p95 and p99."""
    for place in range(min(10, len(queries))):
        search(queries[place : place + 1], k)
    took: list[float] = []
    for place in range(min(MOST_SINGLE, len(queries))):
        one = queries[place : place + 1]
        began = perf_counter()
        search(one, k)
        took.append(perf_counter() - began)
        if sum(took) > SINGLE_SECONDS:
            break
    p50, p95, p99 = (1000 * float(value) for value in np.quantile(took, [0.5, 0.95, 0.99]))
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "queries": len(took)}


def pareto(points: list[tuple[float, float]]) -> list[int]:
    """Places of the (recall, rate) that no other beats in both; in the order given.

    Examples
    --------
    >>> pareto([(0.5, 10.0), (0.9, 5.0), (0.8, 4.0)])
    [0, 1]
    """
    best = -np.inf
    kept = []
    for place in sorted(range(len(points)), key=lambda at: (-points[at][0], -points[at][1])):
        if points[place][1] > best:
            best = points[place][1]
            kept.append(place)
    return sorted(kept)
