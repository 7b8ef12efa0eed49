"""`run`: methods on a data set, each in a process of its own, into a file of results."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import IO, Any, NamedTuple

from dqindex._types import Progress, no_progress
from dqindex.bench.dataset import Dataset, Description
from dqindex.bench.machine import machine
from dqindex.bench.peers import peer_class, split
from dqindex.bench.results import ResultsFile, open_results
from dqindex.bench.truth import content_key
from dqindex.errors import InputError, MissingDependencyError
from dqindex.parallel.threads import available_threads
from dqindex.places.scratch import scratch_file
from dqindex.storage.files import versions

DEFAULT_THREADS = (1, available_threads())


class Outcome(NamedTuple):
    """What became of the methods.

    Attributes
    ----------
    measured : int
        Points measured now.
    known : int
        Points that the file held before.
    skipped, failed : dict
        Method to the reason.
    """

    measured: int
    known: int
    skipped: dict[str, str]
    failed: dict[str, str]


def _check(methods: Sequence[str], k: int, threads: Sequence[int]) -> None:
    """Raise where the arguments of a run can't be, before anything is measured."""
    for number in threads:
        if not 1 <= number <= available_threads():
            raise InputError(
                f"threads is {number}; this process may use 1 to {available_threads()}"
            )
    if k < 1:
        raise InputError(f"k is {k}; ask for at least 1 neighbour")
    for method in methods:
        split(method)


def run(
    description: Description,
    methods: Sequence[str],
    output: str | Path,
    *,
    k: int = 10,
    threads: Sequence[int] = DEFAULT_THREADS,
    grid: Mapping[str, Sequence[float]] | None = None,
    auto: bool = False,
    seed: int = 0,
    command: str = "",
    keep: str | Path | None = None,
    only_build: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Outcome:
    """Measure `methods`; points that `output` holds are not measured again.

    Parameters
    ----------
    description : Description
    methods : sequence of str
        ``NAME:ARGUMENT`` of a peer, as in ``dqindex:DQ16,IVF512,PQ16`` or ``hnswlib:M=16``.
    output : path
        JSON lines; appended to.
    k : int
        Neighbours of the searches that are timed; recall at 100 is measured too.
    threads : sequence of int
        Passes: each measures all points on so many threads.
    grid : mapping, optional
        Search parameter to values, instead of a method's own.
    auto : bool
        Measure only points that no other of the same method beats in recall and speed, by a quick
        look at all.
    seed : int
    command : str
        Recorded with every point.
    keep : folder, optional
        Where indexes are kept, so that another run need not build them; what the build took is
        told by the first. Libraries that do not load build theirs in each run.
    only_build : bool
        Build what is not kept, and measure nothing.
    progress, say : callable, optional
        Called with (method, points done, points in all), and with a line for people.

    Raises
    ------
    InputError, SpecError
        If a method does not exist or the data is unusable: before anything is measured.
    """
    _check(methods, k, threads)
    tell = say or (lambda line: None)
    report = progress or no_progress
    with open_results(output) as results:
        report("exact neighbours", 0, 0)
        dataset = Dataset(description)
        if k > len(dataset.base):
            raise InputError(f"k is {k}, but there are {len(dataset.base)} vectors")
        known = dataset.truth().positions.shape[1]
        if k > known:
            raise InputError(
                f"k is {k}, but {description.truth} has {known} neighbours a query; ask for fewer"
            )
        shared = {
            "data": dataset.summary(),
            "machine": machine(),
            "seed": seed,
            "command": command,
        }
        job = {
            "dataset": dataset.as_dict(),
            "data_key": dataset.key,
            "k": k,
            "threads": sorted(set(threads)),
            "grid": {name: list(map(float, values)) for name, values in (grid or {}).items()},
            "auto": auto,
            "seed": seed,
            "keep": None if keep is None else str(Path(keep).absolute()),
            "only_build": only_build,
        }
        # The workers read it themselves.
        del dataset
        campaign = _Campaign(results, shared, tell, report)
        jobs = [{**job, "method": method} for method in methods]
        campaign.left = sum(not campaign.is_complete(one) for one in jobs)
        for method, one in zip(methods, jobs, strict=True):
            campaign.run(method, one)
    return campaign.outcome


class _Campaign:
    """The methods of one run, one after another."""

    def __init__(
        self,
        results: ResultsFile,
        shared: dict[str, Any],
        tell: Callable[[str], None],
        report: Callable[[str, int, int], None],
    ) -> None:
        self.results, self.shared, self.tell, self.report = results, shared, tell, report
        self.outcome = Outcome(0, len(results.done), {}, {})
        # Methods that are not measured yet, and seconds that each of the others took.
        self.left = 0
        self._took: list[float] = []

    def is_complete(self, job: dict[str, Any]) -> bool:
        """Whether all points of a method are in the file."""
        return _key(job) in self.results.complete

    def run(self, method: str, job: dict[str, Any]) -> None:
        """Measure one method."""
        if self.is_complete(job):
            self.tell(f"{method}: already measured")
            return
        self.left -= 1
        try:
            peer_class(split(method)[0])
        except MissingDependencyError as reason:
            self._skip(method, str(reason))
            return
        self.report(method, 0, 0)
        began = perf_counter()
        with (
            scratch_file() as errors,
            subprocess.Popen(
                [sys.executable, "-m", "dqindex.bench.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            try:
                message = {**job, "done": sorted(self.results.done)}
                done = self._listen(method, _key(job), process, message, errors)
            finally:
                process.kill()
        if done:
            self._took.append(perf_counter() - began)
            self.tell(f"{method}: {done} in {_spoken(self._took[-1])}{self._time_left()}")

    def _time_left(self) -> str:
        """What is still to be measured, and how long that takes at the pace of the others."""
        if not self.left:
            return ""
        left = self.left * sum(self._took) / len(self._took)
        return f"; {self.left} method{'s' * (self.left > 1)} left, about {_spoken(left)}"

    def _listen(
        self,
        method: str,
        name: str,
        process: subprocess.Popen[str],
        job: dict[str, Any],
        errors: IO[bytes],
    ) -> str:
        """What was measured; empty where the method was skipped or failed."""
        if process.stdin is None or process.stdout is None:  # for the type checker
            return ""
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        done, total, ended = 0, 0, False
        for line in process.stdout:
            message = json.loads(line)
            if "index" in message:
                index = message["index"]
                total = index["points"]
                if name not in self.results.indexes:
                    index["versions"] = {**versions(), **index["versions"]}
                    self.results.append("index", {"job": name, **index, **self.shared})
            elif "point" in message:
                self.results.append("point", {"job": name, **message["point"]})
                done += 1
                self.outcome = self.outcome._replace(measured=self.outcome.measured + 1)
                self.report(method, done, total)
            elif "skipped" in message:
                self._skip(method, message["skipped"])
                return ""
            elif "failed" in message:
                self._fail(method, message["failed"])
                return ""
            else:
                ended = True
        if ended and job["only_build"]:
            return "built"
        if not ended:
            code = process.wait()
            self._fail(method, f"its process ended with {code}; {_last_line(errors)}")
            return ""
        return f"{done} of {total} points measured"

    def _skip(self, method: str, reason: str) -> None:
        self.tell(f"{method}: skipped, {reason}")
        self.outcome.skipped[method] = reason

    def _fail(self, method: str, reason: str) -> None:
        self.tell(f"{method}: failed, {reason}")
        self.outcome.failed[method] = reason


def _key(job: dict[str, Any]) -> str:
    """By the data's content, not by where it or what was built is."""
    elsewhere = ("dataset", "keep", "only_build")
    chosen = {key: value for key, value in job.items() if key not in elsewhere}
    return content_key(json.dumps(chosen, sort_keys=True))[:20]


def _spoken(seconds: float) -> str:
    """As people say it.

    Examples
    --------
    >>> [_spoken(one) for one in (0.4, 59, 150, 9000)]
    ['0 s', '59 s', '2 min', '2 h 30 min']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = deque(errors.read().decode(errors="replace").splitlines(), maxlen=1)
    return lines[0] if lines else "it said nothing (killed, perhaps for want of memory)"
