"""`Finals`: the indexes of nearly all vectors that a choice is between, and why one is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from dqindex.index.index import DQIndex
from dqindex.index.trials import Measured, Queries, Trial, alternately, fastest, measure

# Rounds in which parameters are raised until the held-out half confirms them.
MOST_ROUNDS = 4


class Finals:
    """Indexes of all vectors but the queries against each other; the faster one stays.

    Parameters
    ----------
    target : float
        The recall to meet.
    queries : Queries
    build : function
        An index of a spec, of all vectors but the queries.

    Attributes
    ----------
    best : DQIndex or None
        The fastest so far that meets the target.
    highest : Measured
        What was measured of the highest recall.
    """

    def __init__(self, target: float, queries: Queries, build: Callable[[str], DQIndex]) -> None:
        self.best: DQIndex | None = None
        self.highest = Measured({}, -1.0, 0.0, 1.0)
        self._target, self._build = target, build
        self._tuned_with, self._asked = queries.halves()
        self._measured = self.highest
        self._built: list[dict[str, Any]] = []

    def enter(self, spec: str) -> None:
        """Build it, and keep it if it is the fastest."""
        index = self._build(spec)
        found = self._confirmed(index)
        self.highest = max(self.highest, found, key=lambda one: one.recall)
        met = found.sure >= self._target
        if met and self.best is not None:
            held, found = alternately((self.best, self._measured), (index, found), self._asked)
            self._note(self.best.spec, held)
            self._measured = held
        self._note(spec, found)
        if met and (self.best is None or found.seconds < self._measured.seconds):
            self.best, self._measured = index, found

    def _confirmed(self, index: DQIndex) -> Measured:
        """The fastest setting that meets the target with both halves of the queries.

        The recall of the second half has to exceed the target by its standard error. Else about
        half of the choices would miss the target with queries of the user's.
        """
        target = goal = self._target
        for _ in range(MOST_ROUNDS):
            found = fastest(index, self._tuned_with, goal)
            again = measure(index, self._asked, found.parameters)
            if again.sure >= target or found.recall < goal:
                break
            goal += target - again.sure
        return again

    def _note(self, spec: str, found: Measured) -> None:
        others = [one for one in self._built if one["spec"] != spec]
        self._built = [
            *others,
            {
                "spec": spec,
                "parameters": found.parameters,
                "recall": found.recall,
                "error": found.error,
                "qps": 1 / found.seconds,
                "met": found.sure >= self._target,
            },
        ]

    def crown(self, index: DQIndex, asked_for: dict[str, Any], trials: list[Trial]) -> None:
        """Give `index`, the best with all vectors, its parameters, and what it was chosen from."""
        found = self._measured
        index.set_parameters(found.parameters)
        index.manifest["search_parameters"] = found.parameters
        index.manifest["target"] = {
            **asked_for,
            "confirmed_recall": found.recall,
            "confirmed_error": found.error,
            "confirmed_queries": len(self._asked.vectors),
            "qps_one_thread": 1 / found.seconds,
            "candidates": [asdict(trial) for trial in trials],
            "built": self._built,
            "why": _why(index.spec, trials, self._built, self._target),
        }


def _why(spec: str, trials: list[Trial], built: list[dict[str, Any]], target: float) -> str:
    """In a sentence, why `spec` was chosen."""
    if len(trials) == 1:
        return f"{spec} was asked for, and its parameters are the fastest that reach {target:g}"
    met = sum(trial.met for trial in trials)
    said = f"{met} of {len(trials)} specs reach {target:g} on the sample"
    chosen = next(one for one in built if one["spec"] == spec)
    others = [one for one in built if one is not chosen]
    if others:
        told = ", ".join(
            f"{one['spec']} {one['qps']:,.0f}"
            if one["met"]
            else f"{one['spec']} misses it at {one['recall']:.3f} ± {one['error']:.3f}"
            for one in others
        )
        return (
            f"{said}; of all vectors {spec} answers {chosen['qps']:,.0f} queries a second, {told}"
        )
    rest = [trial for trial in trials if trial.met and trial.spec != spec]
    if not rest:
        return f"{said}: {spec}"
    second = max(rest, key=lambda trial: trial.qps)
    first = next(trial for trial in trials if trial.spec == spec)
    return (
        f"{said}; {spec} answers {first.qps:,.0f} queries a second there, the next, {second.spec}, "
        f"{second.qps:,.0f}"
    )
