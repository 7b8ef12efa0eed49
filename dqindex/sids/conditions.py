"""Conditions on the figures of a map, for pipelines: ``collision_rate>0.01``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from dqindex.errors import InputError

SIGNS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
CONDITION = re.compile(r"\s*([a-z_0-9.]+)\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*")
# Figures of a set of tokens; those of lists go on with a level or a length, and a name.
NAMES = (
    *("unique_share", "collision_rate", "singleton_share", "largest_group", "gini"),
    *("entropy_ratio", "entropy_capacity_ratio", "same_vector_share", "levels", "prefixes"),
    *("mutual_information", "distortion", "r_squared", "neighbors_decoded", "neighbors_tokens"),
)


class Condition(NamedTuple):
    """A figure, a sign, and what it is held against."""

    figure: str
    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.figure}{self.sign}{self.bound:g}"


def parse(text: str) -> Condition:
    """A condition from its text.

    Raises
    ------
    InputError
        If it is none, or no map has such a figure.
    """
    parts = CONDITION.fullmatch(text)
    try:
        bound = float(parts[3]) if parts else math.nan
    except ValueError:
        bound = math.nan
    if parts is None or not math.isfinite(bound):
        raise InputError(f"{text!r} is not a condition; give one like collision_rate>0.01")
    words = parts[1].split(".")
    head = words[1] if words[0] in ("before", "after") and len(words) > 1 else words[0]
    if head not in NAMES and parts[1] != "n":
        raise InputError(f"{parts[1]!r} is not a figure; there are {', '.join(('n', *NAMES))}")
    return Condition(parts[1], parts[2], bound)


def holding(figures: dict[str, Any], conditions: list[Condition]) -> list[tuple[Condition, float]]:
    """Those of `conditions` that hold for what `evaluate` found, with the figure of each.

    Raises
    ------
    InputError
        If a figure is not among those found.
    """
    known = dict(_numbers(figures, ""))
    # Without a word before it, a figure is one of the published tokens.
    known |= {
        name.removeprefix("after."): value for name, value in known.items() if "after." in name
    }
    found = []
    for condition in conditions:
        value = known.get(condition.figure, math.nan)
        if math.isnan(value):
            near = [name for name in known if name.startswith(condition.figure.split(".")[0])]
            hint = f"there are {', '.join(near[:8])}" if near else "some need --vectors"
            raise InputError(f"{condition.figure!r} is not known for this map; {hint}")
        if SIGNS[condition.sign](value, condition.bound):
            found.append((condition, value))
    return found


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """Every number below `value`, with its name."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _numbers(one, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            key = one["length"] if isinstance(one, dict) and "length" in one else place
            yield from _numbers(one, f"{name}.{key}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)
