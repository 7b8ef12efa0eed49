"""Checks with a tolerance and a verdict, in sections that make a report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Check:
    """One figure, and whether it is what the claim says.

    Attributes
    ----------
    name : str
    figure : float
    tolerance : float
    passed : bool or None
        None where the figure is told, and nothing is claimed of it.
    note : str
    """

    name: str
    figure: float
    tolerance: float
    passed: bool | None
    note: str = ""


@dataclass
class Section:
    """A part of the report: checks, and rows of a table where there is one."""

    title: str
    checks: list[Check] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    statement: str = ""

    def below(self, name: str, figure: float, tolerance: float, note: str = "") -> None:
        """Add a figure that must not be above `tolerance` (NaN is)."""
        self.checks.append(Check(name, figure, tolerance, bool(figure <= tolerance), note))

    def above(self, name: str, figure: float, tolerance: float, note: str = "") -> None:
        """Add a figure that must be above `tolerance`."""
        self.checks.append(Check(name, figure, tolerance, bool(figure > tolerance), note))

    def told(self, name: str, figure: float, note: str = "") -> None:
        """Add a figure without a verdict."""
        self.checks.append(Check(name, figure, float("nan"), None, note))

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)


@dataclass
class Report:
    """All sections, for one set of vectors.

    Attributes
    ----------
    vectors : dict
        n, d, and the rows that training used.
    settings : dict
    sections : list of Section
    """

    vectors: dict[str, Any]
    settings: dict[str, Any]
    sections: list[Section]

    @property
    def passed(self) -> bool:
        """Whether every part of the claim holds on these vectors."""
        return all(section.passed for section in self.sections)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: NaN becomes None."""

        def clean(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: clean(one) for key, one in value.items()}
            if isinstance(value, list):
                return [clean(one) for one in value]
            return None if isinstance(value, float) and not np.isfinite(value) else value

        sections = [{**asdict(one), "passed": one.passed} for one in self.sections]
        record = {
            "passed": self.passed,
            "vectors": self.vectors,
            "settings": self.settings,
            "sections": sections,
        }
        cleaned: dict[str, Any] = clean(record)
        return cleaned
