"""Vectors of several blocks side by side, as text beside image, each brought to its scale.

Squared distances add up over blocks: one whose numbers are ten times as large as another's counts a
hundred times as much, and the tokens code nothing else. So each block is multiplied by a factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from dqindex._parameters import Rule, number, sequence
from dqindex._types import Float32, Float64, Matrix
from dqindex.errors import InputError, warn

EQUAL = "equal"
# A block with more than this share of the variance leaves no tokens for the others.
MOST_OF_ALL = 0.95

AnyMatrix = TypeVar("AnyMatrix", bound=Matrix)


def scale_rule() -> Rule:
    """What ``block_scale`` may be."""
    some, one = sequence(), number(more_than=0)
    return Rule(
        lambda value: (
            value == EQUAL
            if isinstance(value, str)
            else some.holds(value) and all(map(one.holds, value))
        ),
        "'equal' or a list of numbers of more than 0",
    )


def check_widths(widths: Sequence[int], scale: str | Sequence[float], d: int) -> None:
    """Refuse blocks that are not those of vectors of width `d`.

    Raises
    ------
    InputError
    """
    if not len(widths):
        if not isinstance(scale, str):
            raise InputError(
                f"block_scale is {list(scale)!r}, but block_widths is empty; say how wide the "
                "blocks are"
            )
        return
    if sum(widths) != d:
        raise InputError(
            f"block_widths are {' + '.join(map(str, widths))} = {sum(widths)}, but the vectors are "
            f"{d} wide; give widths that add up to it"
        )
    if not isinstance(scale, str) and len(scale) != len(widths):
        raise InputError(
            f"block_scale has {len(scale)} factors for {len(widths)} blocks; give one a block"
        )


def learn_scale(
    rows: Float32, widths: Sequence[int], scale: str | Sequence[float]
) -> Float64 | None:
    """The factor of every column, (d,); None where there are no blocks.

    With ``equal``, all blocks get the same variance, and that of the whole stays what it was. A
    block that does not vary is left as it is.

    Parameters
    ----------
    rows : (n, d) float32
    widths : sequence of ints
        Of the blocks, from the first column on.
    scale : "equal", or a factor a block

    Warns
    -----
    DQWarning
        If one block has nearly all of the variance after that.
    """
    if not len(widths):
        return None
    edges = np.cumsum([0, *widths])
    variances = np.add.reduceat(rows.var(axis=0, dtype=np.float64), edges[:-1])
    if isinstance(scale, str):
        varying = variances > 0
        mean = variances.sum() / max(int(varying.sum()), 1)
        factors = np.ones(len(widths))
        factors[varying] = np.sqrt(mean / variances[varying])
    else:
        factors = np.array([float(one) for one in scale])
    _warn_of_one(variances * factors**2, edges)
    return np.repeat(factors, np.diff(edges))


def _warn_of_one(variances: Float64, edges: np.ndarray) -> None:
    total = float(variances.sum())
    largest = int(variances.argmax())
    if len(variances) < 2 or variances[largest] <= MOST_OF_ALL * total:
        return
    warn(
        f"block {largest + 1} of {len(variances)} (columns {edges[largest]} to "
        f"{edges[largest + 1] - 1}) holds {variances[largest] / total:.2%} of the variance, so "
        f"the tokens hardly encode the others; use block_scale='equal' (--block-scale equal), or "
        "other factors"
    )


def scaled(rows: AnyMatrix, scale: Float64 | None) -> AnyMatrix:
    """`rows` in the scale that the parts were learned in."""
    if scale is None:
        return rows
    return np.asarray(rows * scale.astype(rows.dtype))  # type: ignore[return-value]
