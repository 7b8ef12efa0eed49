"""The tokens of a map as a generator's vocabulary has them: numbers side by side, and names."""

from __future__ import annotations

import numpy as np

from dqindex._types import Int64
from dqindex.errors import InputError

# Tokens are int32.
MOST_TOKEN = 2**31 - 1


def level_name(level: int) -> str:
    """Letters of a level: a, b, …, z, aa, ab, and so on."""
    name = ""
    level += 1
    while level:
        level, letter = divmod(level - 1, 26)
        name = chr(ord("a") + letter) + name
    return name


def level_offsets(sizes: list[int], start: int = 0) -> Int64:
    """First token of each level, where those of all levels lie side by side from `start`.

    Raises
    ------
    InputError
        If the last token is beyond what int32 holds.
    """
    offsets: Int64 = start + np.cumsum([0, *sizes[:-1]], dtype=np.int64)
    last = int(offsets[-1]) + sizes[-1] - 1
    if last > MOST_TOKEN:
        raise InputError(f"start is {start}: the last token would be {last}, beyond {MOST_TOKEN}")
    return offsets
