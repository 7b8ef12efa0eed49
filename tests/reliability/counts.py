"""Counts of the suites: what each tries, how many cases it tried, and what it found."""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from reliability.suites import SUITES

# Violations that a failing test lists.
SHOWN = 12
PROPERTY = "reliability"
# This is loaded as the tests begin.
STARTED = time.monotonic()


class Tally:
    """Counts one suite's cases: ``with tally("name") as count: count.tried(); count.violation(…)``.

    The block fails at its end if there were violations, with the first of them; so one run shows
    all that a suite finds. A suite that tried nothing fails as well.
    """

    def __init__(self, suite: str, request: pytest.FixtureRequest) -> None:
        if suite not in SUITES:
            raise KeyError(f"{suite!r} is not told of in tests/reliability/suites.py")
        self.suite, self._request = suite, request
        self.cases = 0
        self.outcomes: Counter[str] = Counter()
        self.violations: list[str] = []

    def tried(self, outcome: str = "", cases: int = 1) -> None:
        """A case was tried; `outcome` is a word for how it ended, for the table."""
        self.cases += cases
        if outcome:
            self.outcomes[outcome] += cases

    def violation(self, what: str) -> None:
        """The case did what it must not: the input, and what came of it."""
        self.violations.append(" ".join(what.split())[:600])

    def __enter__(self) -> Tally:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        record = {
            "suite": self.suite,
            "cases": self.cases,
            "outcomes": dict(self.outcomes),
            "violations": len(self.violations),
        }
        self._request.node.user_properties.append((PROPERTY, record))
        if kind is not None:
            return
        if self.violations:
            shown = "\n".join(f"  {one}" for one in self.violations[:SHOWN])
            pytest.fail(
                f"{self.suite}: {len(self.violations)} violations in {self.cases} cases:\n{shown}",
                pytrace=False,
            )
        assert self.cases, f"{self.suite}: no case was tried"


def add_options(parser: pytest.Parser) -> None:
    """Options of all tests; see `pytest_addoption`."""
    group = parser.getgroup("reliability")
    group.addoption("--long", action="store_true", help="Reliability suites: all cases, bounded.")
    group.addoption("--counts", metavar="FILE", help="Reliability suites: write counts as JSON.")


def summarise(reporter: Any, config: pytest.Config) -> None:
    """Print the counts of all suites that ran, and write them if asked to."""
    rows: dict[str, dict[str, Any]] = {}
    for reports in reporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) != "call":
                continue
            for name, record in report.user_properties:
                if name == PROPERTY:
                    _add(rows, record)
    if not rows:
        return
    reporter.section("reliability")
    width = max(map(len, rows))
    for suite, row in sorted(rows.items()):
        how = ", ".join(f"{number} {word}" for word, number in sorted(row["outcomes"].items()))
        reporter.line(
            f"{suite:{width}}  {row['cases']:>6} cases  {row['violations']} violations"
            + (f"  ({how})" if how else "")
        )
    path = config.getoption("--counts")
    if path:
        record = {
            "command": "pytest tests/reliability"
            + (" --long" if config.getoption("--long") else "")
            + f" --counts {path}",
            "machine": {
                "system": f"{platform.system()} {platform.machine()}",
                "cpus": os.cpu_count(),
            },
            "versions": _versions(),
            "minutes": round((time.monotonic() - STARTED) / 60, 1),
            "rows": [rows[suite] for suite in SUITES if suite in rows],
        }
        Path(path).write_text(json.dumps(record, indent=1) + "\n")


def _add(rows: dict[str, dict[str, Any]], record: dict[str, Any]) -> None:
    row = rows.setdefault(
        record["suite"],
        {"suite": record["suite"], "cases": 0, "outcomes": {}, "violations": 0},
    )
    row["cases"] += record["cases"]
    row["violations"] += record["violations"]
    for word, number in record["outcomes"].items():
        row["outcomes"][word] = row["outcomes"].get(word, 0) + number


def _versions() -> dict[str, str]:
    import pyarrow

    from dqindex.storage.files import versions

    return {**versions(), "pyarrow": pyarrow.__version__, "python": platform.python_version()}
