"""Measure indexes on queries whose true neighbours are known: recall, and time on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np

from dqindex._types import Float32, Int64
from dqindex.evaluation import exact_neighbors, recall_of_each
from dqindex.index.anatomy import dissect
from dqindex.index.index import DQIndex
from dqindex.parallel.threads import thread_limit
from dqindex.vectors import VectorSource

K_FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
GRAPH_EFFORTS = (16, 32, 64, 128, 256, 512)
REPEATS = 3
# Where twice the effort finds so little more, still more finds nothing.
LEAST_GAIN = 0.002
# Between an effort that finds too little and its double.
TRIM = 0.75
# Two indexes are timed in turn so many times.
TURNS = 7


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
    """A setting, its recall with the standard error, and seconds a query on one thread."""

    parameters: dict[str, float]
    recall: float
    error: float
    seconds: float

    @property
    def sure(self) -> float:
        """The recall, less the error that so few queries leave."""
        return self.recall - self.error


@dataclass(frozen=True)
class Queries:
    """Vectors that are asked and not indexed, and their true neighbours among those that are.

    A vector that is indexed is easier to ask: it was trained on, its code is nearer than that of
    another one, and a graph has edges from it to its neighbours.

    Attributes
    ----------
    vectors : (n, d) float32
    true : (n, k) int64
    """

    vectors: Float32
    true: Int64

    @classmethod
    def of(cls, vectors: Float32, indexed: VectorSource, k: int, metric: str) -> Queries:
        """`vectors`, and the `k` of the indexed that are nearest to each."""
        return cls(vectors, exact_neighbors(indexed, vectors, k, metric=metric)[0])

    def halves(self) -> tuple[Queries, Queries]:
        """The first half, and the second."""
        half = len(self.vectors) // 2
        return self._part(slice(0, half)), self._part(slice(half, None))

    def _part(self, part: slice) -> Queries:
        return Queries(self.vectors[part], self.true[part])


def measure(
    index: DQIndex, queries: Queries, parameters: dict[str, float], least: float = 0.0
) -> Measured:
    """Set `parameters`, and search; several times where that finds the recall `least`."""
    index.set_parameters(parameters)
    took: list[float] = []
    recall, error = 1.0, 0.0
    with thread_limit(1):
        while len(took) < REPEATS and recall >= least:
            began = perf_counter()
            _, found = index.index.search(queries.vectors, queries.true.shape[1])
            took.append(perf_counter() - began)
            shares = recall_of_each(found, queries.true)
            recall, error = float(shares.mean()), float(shares.std() / np.sqrt(len(shares)))
    # What else the machine does only adds.
    return Measured(parameters, recall, error, min(took) / len(queries.vectors))


def fastest(index: DQIndex, queries: Queries, target: float) -> Measured:
    """The fastest setting that reaches the recall `target`, else that of the highest recall."""
    best: Measured | None = None
    highest = Measured({}, -1.0, 0.0, 1.0)
    for k_factor in _k_factors(index):
        for found in _rising(index, queries, target, k_factor, best):
            if found.recall > highest.recall:
                highest = found
            if found.recall >= target and (best is None or found.seconds < best.seconds):
                best = found
    return highest if best is None else _trimmed(index, queries, target, best)


def _rising(
    index: DQIndex,
    queries: Queries,
    target: float,
    k_factor: dict[str, float],
    best: Measured | None,
) -> Iterator[Measured]:
    """Settings of more and more effort, until one reaches the target or no more can be gained."""
    before = -1.0
    for effort in _efforts(index):
        found = measure(index, queries, {**k_factor, **effort}, target)
        yield found
        # More only takes longer.
        slower = best is not None and found.seconds > best.seconds
        if found.recall >= target or slower or found.recall < before + LEAST_GAIN:
            return
        before = found.recall


def _trimmed(index: DQIndex, queries: Queries, target: float, best: Measured) -> Measured:
    """`best` with less of each parameter, where that still reaches the target."""
    for name, value in best.parameters.items():
        fewer = {**best.parameters, name: max(1, int(value * TRIM))}
        less = measure(index, queries, fewer, target)
        if less.recall >= target and less.seconds < best.seconds:
            best = less
    return best


def alternately(
    one: tuple[DQIndex, Measured], other: tuple[DQIndex, Measured], queries: Queries
) -> tuple[Measured, Measured]:
    """Both measured in turn, so that what else the machine does slows both."""
    turns = [
        [measure(index, queries, found.parameters) for index, found in (one, other)]
        for _ in range(TURNS)
    ]
    first, second = (
        min(each, key=lambda found: found.seconds) for each in zip(*turns, strict=True)
    )
    return first, second


def _k_factors(index: DQIndex) -> list[dict[str, float]]:
    if dissect(index.index).refine is None:
        return [{}]
    return [{"k_factor_rf": factor} for factor in K_FACTORS]


def _efforts(index: DQIndex) -> list[dict[str, float]]:
    """What a search may look at, from little on, each twice the one before."""
    parts = dissect(index.index)
    if hasattr(parts.core, "hnsw"):
        return [{"efSearch": effort} for effort in GRAPH_EFFORTS]
    if parts.ivf is None:
        return [{}]
    return [{"nprobe": 2**power} for power in range(int(parts.ivf.nlist).bit_length())]
