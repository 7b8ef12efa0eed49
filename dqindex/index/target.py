"""`build_to_target`: an index that reaches a recall, chosen by measuring candidates."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

from dqindex._types import Float32, Int64, Progress, no_progress
from dqindex.errors import InputError, TargetError
from dqindex.evaluation import exact_neighbors, recall_at, without_self
from dqindex.index.anatomy import dissect
from dqindex.index.build import build_index
from dqindex.index.candidates import candidates, fill
from dqindex.index.index import DQIndex
from dqindex.index.weight import weight
from dqindex.parallel.threads import thread_limit
from dqindex.vectors import VectorSource, open_vectors
from dqindex.vectors.rescaled import RescaledVectors

SAMPLE_ROWS = 100_000
QUERIES = 1000
K_FACTORS = (2.0, 4.0, 8.0, 16.0)
# Indexes of all vectors that are built before giving up.
MOST_BUILT = 3
# Rounds in which parameters are raised until the held-out half confirms them.
MOST_ROUNDS = 4
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


class _Queries:
    """Rows that are asked, and their true neighbours among the others."""

    def __init__(self, source: VectorSource, rows: Int64, k: int, metric: str) -> None:
        self.rows, self.k = rows, k
        self.vectors: Float32 = source.rows(rows)
        found, _ = exact_neighbors(source, self.vectors, k + 1, metric=metric)
        self.true = without_self(found, rows)

    def measure(self, index: DQIndex, part: slice) -> tuple[float, float]:
        """Recall of some of the queries, and seconds a query on one thread."""
        queries = self.vectors[part]
        took = []
        with thread_limit(1):
            for _ in range(REPEATS):
                began = perf_counter()
                _, found = index.index.search(queries, self.k + 1)
                took.append(perf_counter() - began)
        recall = recall_at(without_self(found, self.rows[part]), self.true[part])
        return recall, float(np.median(took)) / len(queries)


def build_to_target(
    vectors: Any,
    target_recall: float,
    *,
    max_bytes: float | None = None,
    spec: str | None = None,
    k: int = 10,
    metric: str = "l2",
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **settings: Any,
) -> DQIndex:
    """Build the fastest index that finds `target_recall` of the k nearest neighbours.

    A handful of specs is measured on a sample; the fastest that meets the target is built of all
    vectors, its search parameters are tuned there with one half of some held-out queries, and
    confirmed with the other half.

    Parameters
    ----------
    vectors : array (n, d), path, or VectorSource
    target_recall : float
        k-recall@k, more than 0 and less than 1.
    max_bytes : float, optional
        Most bytes a vector of the index: codes, ids, and a share of centroids and rotation.
    spec : str, optional
        Only tune the parameters of this spec.
    k : int
    metric, threads, seed, progress, **settings
        As in `dqindex.build_index`.

    Returns
    -------
    DQIndex
        Its manifest tells what was tried under ``target``; search uses the chosen parameters.

    Raises
    ------
    TargetError
        If no candidate meets the target; the message says what can be reached.
    InputError, SpecError, NonFiniteError
        If an argument or the vectors are unusable.
    """
    if not 0 < target_recall < 1:
        raise InputError(f"target recall is {target_recall}; give more than 0 and less than 1")
    if max_bytes is not None and max_bytes <= 0:
        raise InputError(f"max bytes is {max_bytes}; give more than 0")
    if k < 1:
        raise InputError(f"k is {k}; ask for at least 1 neighbour")
    if spec is None and settings.get("covariance") is not None:
        raise InputError("covariance is for a spec of your own; leave it out")
    source = open_vectors(vectors)
    if source.n < 4 * (k + 1):
        raise InputError(
            f"{source.name}: {source.n} vectors are too few to measure recall; give a spec"
        )
    if metric == "cosine":
        source = RescaledVectors(source)
    source.check()
    tuner = _Tuner(source, target_recall, max_bytes, k, metric, threads, seed, progress, settings)
    return tuner.run(spec)


class _Tuner:
    """One run of `build_to_target`."""

    def __init__(
        self,
        source: VectorSource,
        target: float,
        max_bytes: float | None,
        k: int,
        metric: str,
        threads: int | None,
        seed: int,
        progress: Progress | None,
        settings: dict[str, Any],
    ) -> None:
        self.source, self.target, self.max_bytes = source, target, max_bytes
        self.k, self.metric, self.threads, self.seed = k, metric, threads, seed
        self.report = progress or no_progress
        self.settings = settings
        self.trials: list[Trial] = []

    def run(self, spec: str | None) -> DQIndex:
        source, rng = self.source, np.random.default_rng(self.seed)
        rows = np.sort(rng.choice(source.n, min(source.n, SAMPLE_ROWS), replace=False))
        sample = open_vectors(source.rows(rows))
        asked = np.sort(rng.choice(sample.n, min(QUERIES, sample.n // 4), replace=False))
        queries = self._queries(sample, asked)
        templates = self._candidates(self.max_bytes) if spec is None else [spec]
        for place, template in enumerate(templates):
            self.report("try", place, len(templates))
            self.trials.append(self._try(template, sample, queries))
        met = sorted((trial for trial in self.trials if trial.met), key=lambda one: -one.qps)
        if not met:
            raise TargetError(self._reachable(sample, queries, spec))
        everyone = self._queries(source, rows[asked])
        best = 0.0
        for trial in met[:MOST_BUILT]:
            index = self._build(source, trial.spec, self.report)
            reached = self._tune(index, everyone)
            if reached >= self.target:
                return index
            best = max(best, reached)
        raise TargetError(
            f"recall {self.target:g} is met on a sample of {sample.n:,} vectors, but not on all "
            f"{source.n:,}: the best of {len(met[:MOST_BUILT])} indexes reaches {best:.3f}; ask "
            "for less, or allow more bytes"
        )

    def _queries(self, source: VectorSource, rows: Int64) -> _Queries:
        self.report("exact neighbours", 0, 0)
        with thread_limit(self.threads):
            return _Queries(source, rows, self.k, self.metric)

    def _candidates(self, max_bytes: float | None) -> list[str]:
        return candidates(self.source.n, self.source.d, max_bytes, self.metric)

    def _try(self, template: str, sample: VectorSource, queries: _Queries) -> Trial:
        """Measure a candidate on the sample, with as many lists as suit the sample."""
        n, d = self.source.n, self.source.d
        index = self._build(sample, fill(template, sample.n))
        parameters, recall, seconds = self._fastest(index, queries, slice(None), self.target)
        spec = fill(template, n)
        heavy = weight(spec, n, d, self.metric)
        return Trial(spec, heavy, parameters, recall, 1 / seconds, recall >= self.target)

    def _build(
        self,
        vectors: Any,
        spec: str,
        progress: Progress | None = None,
    ) -> DQIndex:
        settings = self.settings
        if "DQ" not in spec:
            settings = {key: value for key, value in settings.items() if key != "polish"}
        return build_index(
            vectors,
            spec,
            metric=self.metric,
            threads=self.threads,
            seed=self.seed,
            progress=progress,
            **settings,
        )

    def _fastest(
        self, index: DQIndex, queries: _Queries, part: slice, target: float
    ) -> tuple[dict[str, float], float, float]:
        """The fastest setting that reaches `target`, else that of the highest recall."""
        fastest: tuple[dict[str, float], float, float] | None = None
        highest: tuple[dict[str, float], float, float] = ({}, -1.0, 1.0)
        for k_factor in _k_factors(index):
            for nprobe in _probes(index):
                parameters = {**k_factor, **nprobe}
                index.set_parameters(parameters)
                recall, seconds = queries.measure(index, part)
                if recall > highest[1]:
                    highest = parameters, recall, seconds
                if recall >= target and (fastest is None or seconds < fastest[2]):
                    fastest = parameters, recall, seconds
                # More lists only take longer.
                if recall >= target or (fastest is not None and seconds > fastest[2]):
                    break
        return fastest or highest

    def _tune(self, index: DQIndex, queries: _Queries) -> float:
        """Set the fastest parameters that meet the target, and record it; the recall confirmed."""
        half = len(queries.rows) // 2
        first, second = slice(0, half), slice(half, None)
        goal, confirmed = self.target, 0.0
        for _ in range(MOST_ROUNDS):
            parameters, recall, _ = self._fastest(index, queries, first, goal)
            index.set_parameters(parameters)
            confirmed, seconds = queries.measure(index, second)
            if confirmed >= self.target:
                index.manifest["search_parameters"] = parameters
                index.manifest["target"] = {
                    "recall": self.target,
                    "k": self.k,
                    "max_bytes": self.max_bytes,
                    "confirmed_recall": confirmed,
                    "confirmed_queries": len(queries.rows) - half,
                    "qps_one_thread": 1 / seconds,
                    "candidates": [asdict(trial) for trial in self.trials],
                }
                break
            if recall < goal:
                break
            goal += self.target - confirmed
        return confirmed

    def _reachable(self, sample: VectorSource, queries: _Queries, spec: str | None) -> str:
        """What to say where no candidate meets the target."""
        wanted = f"recall {self.target:g}"
        limit = "" if self.max_bytes is None else f" at {self.max_bytes:g} bytes a vector"
        if self.trials:
            best = max(self.trials, key=lambda trial: trial.recall)
            text = (
                f"{wanted}{limit} cannot be reached: the best of {len(self.trials)} candidates is "
                f"{best.recall:.3f} ({best.spec}, {best.bytes_per_vector:.1f} bytes a vector)"
            )
        else:
            text = f"{wanted}{limit} cannot be reached: no index is so small"
        if spec is not None:
            return f"{text}; leave out the spec to have others tried"
        tried = {trial.spec for trial in self.trials}
        for template in self._candidates(None):
            if fill(template, self.source.n) in tried:
                continue
            self.report("try", 0, 0)
            trial = self._try(template, sample, queries)
            if trial.met:
                return f"{text}; {trial.bytes_per_vector:.1f} bytes can ({trial.spec})"
        return text


def _k_factors(index: DQIndex) -> list[dict[str, float]]:
    if dissect(index.index).refine is None:
        return [{}]
    return [{"k_factor_rf": factor} for factor in K_FACTORS]


def _probes(index: DQIndex) -> list[dict[str, float]]:
    ivf = dissect(index.index).ivf
    if ivf is None:
        return [{}]
    return [{"nprobe": 2**power} for power in range(int(ivf.nlist).bit_length())]
