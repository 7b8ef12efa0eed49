"""Who comes first where several items want one ID: a number an item, the larger the earlier."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqindex._types import Float64
from dqindex.errors import InputError
from dqindex.vectors import VectorSource
from dqindex.vectors.numbers import as_numbers


def read_priority(priority: Any, source: VectorSource) -> Float64 | None:
    """A number an item of `source`, (n,) float64; None where no priority is given.

    Parameters
    ----------
    priority : None, str, or array-like of n numbers
        A name is that of a column of the source.
    source : VectorSource

    Raises
    ------
    InputError
        If there is no such column, or it is not one finite number an item.
    """
    if priority is None:
        return None
    if isinstance(priority, str):
        name = f"{source.name}: column {priority!r}"
        numbers = source.numbers(priority)
    else:
        name = f"{source.name}: priority"
        numbers = as_numbers(priority, name)
    if len(numbers) != source.n:
        raise InputError(f"{name}: {len(numbers)} values for {source.n} items; give one an item")
    missing = np.flatnonzero(~np.isfinite(numbers))
    if len(missing):
        raise InputError(
            f"{name}: {len(missing)} values are missing or not finite, first row {missing[0]}; "
            "fill them, with 0 for example"
        )
    return numbers
