"""Measure indexes on queries whose true neighbours are known: recall, and time on one thread."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np

from dqindex._types import Float32, Int64
from dqindex.evaluation import exact_neighbors, recall_at, without_self
from dqindex.index.anatomy import dissect
from dqindex.index.index import DQIndex
from dqindex.parallel.threads import thread_limit
from dqindex.vectors import VectorSource

K_FACTORS = (2.0, 4.0, 8.0, 16.0)
REPEATS = 3


@dataclass(frozen=True)
class Trial:
    """What a candidate reached on the sample, at the fastest setting that met the target.

    Attributes
    ----------
    spec : str
        As it would be built for all vectors.
    bytes_per_vector : float
        Of an index of all vectors, by `dqindex.index.weight.weight`.
    parameters : dict
        The setting: the one of highest recall where none met the target.
    recall : float
    qps : float
        Queries a second on one thread.
    met : bool
    """

    spec: str
    bytes_per_vector: float
    parameters: dict[str, float]
    recall: float
    qps: float
    met: bool


class Measured(NamedTuple):
    """A setting, its recall, and seconds a query on one thread."""

    parameters: dict[str, float]
    recall: float
    seconds: float


@dataclass(frozen=True)
class Queries:
    """Rows of the indexed vectors that are asked, and their true neighbours among the others.

    Attributes
    ----------
    rows : (n,) int64
        Where they stand among the indexed vectors.
    vectors : (n, d) float32
    true : (n, k) int64
    """

    rows: Int64
    vectors: Float32
    true: Int64

    @classmethod
    def of(cls, source: VectorSource, rows: Int64, k: int, metric: str) -> Queries:
        """The `rows` of `source`, and their `k` nearest others."""
        vectors = source.rows(rows)
        found, _ = exact_neighbors(source, vectors, k + 1, metric=metric)
        return cls(rows, vectors, without_self(found, rows))

    def halves(self) -> tuple[Queries, Queries]:
        """The first half, and the second."""
        half = len(self.rows) // 2
        return self._part(slice(0, half)), self._part(slice(half, None))

    def _part(self, part: slice) -> Queries:
        return Queries(self.rows[part], self.vectors[part], self.true[part])


def measure(index: DQIndex, queries: Queries, parameters: dict[str, float]) -> Measured:
    """Set `parameters`, and search."""
    index.set_parameters(parameters)
    took = []
    with thread_limit(1):
        for _ in range(REPEATS):
            began = perf_counter()
            _, found = index.index.search(queries.vectors, queries.true.shape[1] + 1)
            took.append(perf_counter() - began)
    recall = recall_at(without_self(found, queries.rows), queries.true)
    return Measured(parameters, recall, float(np.median(took)) / len(queries.rows))


def fastest(index: DQIndex, queries: Queries, target: float) -> Measured:
    """The fastest setting that reaches the recall `target`, else that of the highest recall."""
    best: Measured | None = None
    highest = Measured({}, -1.0, 1.0)
    for k_factor in _k_factors(index):
        for nprobe in _probes(index):
            found = measure(index, queries, {**k_factor, **nprobe})
            if found.recall > highest.recall:
                highest = found
            if found.recall >= target and (best is None or found.seconds < best.seconds):
                best = found
            # More lists only take longer.
            if found.recall >= target or (best is not None and found.seconds > best.seconds):
                break
    return best or highest


def _k_factors(index: DQIndex) -> list[dict[str, float]]:
    if dissect(index.index).refine is None:
        return [{}]
    return [{"k_factor_rf": factor} for factor in K_FACTORS]


def _probes(index: DQIndex) -> list[dict[str, float]]:
    ivf = dissect(index.index).ivf
    if ivf is None:
        return [{}]
    return [{"nprobe": 2**power} for power in range(int(ivf.nlist).bit_length())]
