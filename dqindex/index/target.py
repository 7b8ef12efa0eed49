"""`build_to_target`: an index that reaches a recall, chosen by measuring candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dqindex._parameters import (
    callback,
    checked,
    number,
    one_of,
    or_none,
    text,
    thread_count,
    unbounded,
)
from dqindex._types import METRICS, Float32, Progress, no_progress
from dqindex.errors import InputError, TargetError
from dqindex.index.anatomy import dissect
from dqindex.index.build import build_index
from dqindex.index.candidates import FAMILIES, candidates, fill
from dqindex.index.finals import Finals
from dqindex.index.index import DQIndex
from dqindex.index.score_aware import serves
from dqindex.index.spec import make_index, parse_spec
from dqindex.index.trials import Queries, Trial, fastest
from dqindex.index.weight import weight
from dqindex.parallel.threads import thread_limit
from dqindex.vectors import VectorSource, open_vectors
from dqindex.vectors.rescaled import RescaledVectors
from dqindex.vectors.rest import RestOfVectors

SAMPLE_ROWS = 100_000
QUERIES = 1000
# Indexes of all vectors that are built: to compare those that are nearly as fast as the fastest on
# the sample, and before giving up.
MOST_BUILT = 3
NEARLY = 0.8


@checked(
    target_recall=number(more_than=0, less_than=1),
    max_bytes=or_none(number(more_than=0)),
    spec=or_none(text()),
    family=one_of(*FAMILIES),
    k=unbounded(1),
    metric=one_of(*METRICS),
    threads=thread_count(),
    seed=unbounded(0),
    progress=or_none(callback()),
)
def build_to_target(
    vectors: Any,
    target_recall: float,
    *,
    max_bytes: float | None = None,
    spec: str | None = None,
    family: str = "all",
    k: int = 10,
    metric: str = "l2",
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **settings: Any,
) -> DQIndex:
    """Build the fastest index that finds `target_recall` of the k nearest neighbours.

    Up to 1,000 vectors are held out as queries. It measures up to two dozen specs, with and without
    DQ, on a sample of the others. It builds the fastest that reaches the target, and up to two that
    are nearly as fast, from all others. It tunes their search parameters with one half of the
    queries, and confirms them with the other half, where the recall has to exceed the target by its
    standard error. The fastest of those is built once more, from all vectors.

    Parameters
    ----------
    vectors : array (n, d), path, or VectorSource
    target_recall : float
        k-recall@k, more than 0 and less than 1.
    max_bytes : float, optional
        Limit for the bytes a vector: codes, ids, and a share of centroids and rotation.
    spec : str, optional
        Only tune the parameters of this spec.
    family : {"all", "dq"}
        Which specs to try: "dq" excludes those of FAISS without DQ (fast-scan codes without a
        rotation, RaBitQ, SQ8, a graph).
    k : int
    metric, threads, seed, progress, **settings
        As in `dqindex.build_index`.

    Returns
    -------
    DQIndex
        Its manifest has the measurements, and the reason for the choice, under ``target``; searches
        use the chosen parameters.

    Raises
    ------
    TargetError
        If no candidate reaches the target; the message says what can be reached.
    InputError, SpecError, NonFiniteError
        If an argument or the vectors are unusable.
    """
    if spec is None and settings.get("covariance") is not None:
        raise InputError("covariance is for a spec of your own; leave it out")
    source = open_vectors(vectors)
    if source.n < 4 * (k + 1):
        raise InputError(
            f"{source.name}: {source.n} vectors are too few to measure recall; give a spec"
        )
    report = progress or no_progress
    if metric == "cosine":
        source = RescaledVectors(source)
    source.check(progress=report)
    task = _Task(
        source, target_recall, k, max_bytes, spec, family, metric, threads, seed, settings, report
    )
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(source.n, min(source.n, SAMPLE_ROWS), replace=False))
    drawn = source.rows(rows)
    asked = np.sort(rng.choice(len(rows), min(QUERIES, len(rows) // 4), replace=False))
    sample, others = (
        open_vectors(np.delete(drawn, asked, axis=0)),
        RestOfVectors(source, rows[asked]),
    )
    queries = task.queries(drawn[asked], sample)
    trials = task.trials(sample, queries)
    met = sorted((trial for trial in trials if trial.met), key=lambda one: -one.qps)[:MOST_BUILT]
    if not met:
        raise TargetError(_reachable(task, trials, sample, queries))
    finals = Finals(
        target_recall,
        task.queries(drawn[asked], others),
        lambda one: task.build(others, one, report),
    )
    for trial in met:
        if finals.best is None or trial.qps >= NEARLY * met[0].qps:
            finals.enter(trial.spec)
    if finals.best is None:
        raise TargetError(
            f"recall {target_recall:g} is reached on a sample of {sample.n:,} vectors, but not on "
            f"all {source.n:,}: the best of {len(met)} indexes reaches {finals.highest.recall:.3f} "
            f"± {finals.highest.error:.3f}, and it has to exceed the target by that error; ask for "
            "less, or allow more bytes"
        )
    asked_for = {"recall": target_recall, "k": k, "max_bytes": max_bytes, "family": family}
    index = task.build(source, finals.best.spec, report)
    finals.crown(index, asked_for, trials)
    return index


@dataclass(frozen=True)
class _Task:
    """What `build_to_target` was asked for, and the verbs that need all of it."""

    source: VectorSource
    target: float
    k: int
    max_bytes: float | None
    spec: str | None
    family: str
    metric: str
    threads: int | None
    seed: int
    settings: dict[str, Any]
    report: Progress

    def queries(self, vectors: Float32, indexed: VectorSource) -> Queries:
        """`vectors`, with their exact neighbours among the indexed."""
        self.report("exact neighbours", 0, len(vectors))
        with thread_limit(self.threads):
            found = Queries.of(vectors, indexed, self.k, self.metric)
        self.report("exact neighbours", len(vectors), len(vectors))
        return found

    def templates(self, max_bytes: float | None) -> list[str]:
        """Specs that could be tried at this limit."""
        return candidates(self.source.n, self.source.d, max_bytes, self.metric, self.family)

    def trials(self, sample: VectorSource, queries: Queries) -> list[Trial]:
        """What each candidate reaches on the sample."""
        templates = self.templates(self.max_bytes) if self.spec is None else [self.spec]
        trials: list[Trial] = []
        for template in templates:
            self.report("try", len(trials), len(templates))
            trials.append(self.trial(template, sample, queries))
        self.report("try", len(trials), len(templates))
        return trials

    def trial(self, template: str, sample: VectorSource, queries: Queries) -> Trial:
        """Measure a candidate on the sample, with as many lists as suit the sample."""
        n, d = self.source.n, self.source.d
        index = self.build(sample, fill(template, sample.n))
        found = fastest(index, queries, self.target)
        spec = fill(template, n)
        return Trial(
            spec,
            weight(spec, n, d, self.metric),
            found.parameters,
            found.recall,
            1 / found.seconds,
            found.recall >= self.target,
        )

    def build(self, source: VectorSource, spec: str, report: Progress | None = None) -> DQIndex:
        """Build `spec` of the vectors of `source`."""
        settings = dict(self.settings)
        if "DQ" not in spec:
            settings.pop("polish", None)
        if self.spec is None and not self._takes_weights(spec):
            settings.pop("score_aware", None)
        return build_index(
            source,
            spec,
            metric=self.metric,
            threads=self.threads,
            seed=self.seed,
            progress=report,
            **settings,
        )

    def _takes_weights(self, spec: str) -> bool:
        index = make_index(parse_spec(spec, self.source.d), self.source.d, self.metric)
        return serves(dissect(index), self.metric)


def _reachable(task: _Task, trials: list[Trial], sample: VectorSource, queries: Queries) -> str:
    """What to say where no candidate meets the target."""
    wanted = f"recall {task.target:g}"
    limit = "" if task.max_bytes is None else f" at {task.max_bytes:g} bytes a vector"
    if trials:
        best = max(trials, key=lambda trial: trial.recall)
        said = (
            f"{wanted}{limit} cannot be reached: the best of {len(trials)} candidates is "
            f"{best.recall:.3f} ({best.spec}, {best.bytes_per_vector:.1f} bytes a vector)"
        )
    else:
        said = f"{wanted}{limit} cannot be reached: no index is so small"
    if task.spec is not None:
        return f"{said}; leave out the spec to have others tried"
    tried = {trial.spec for trial in trials}
    more = [one for one in task.templates(None) if fill(one, task.source.n) not in tried]
    for place, template in enumerate(more):
        task.report("try", place, len(more))
        trial = task.trial(template, sample, queries)
        if trial.met:
            return f"{said}; {trial.bytes_per_vector:.1f} bytes can ({trial.spec})"
    return said
