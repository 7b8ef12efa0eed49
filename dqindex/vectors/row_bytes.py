"""Numbers that are moved or compared as bytes, several at a time: the one place for that trick.

numpy copies, and compares, an element of any size at once. So a run of numbers of a row is viewed
as one element of as many bytes, a void, where that saves time or where equal means equal bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex._types import Int64


def as_elements(rows: npt.NDArray[Any], width: int) -> npt.NDArray[np.void]:
    """Rows of m * `width` numbers as m elements: (n, m * width) to (n, m), a view.

    `rows` must be C-contiguous. `as_numbers` is the way back.
    """
    return rows.view(np.dtype((np.void, width * rows.dtype.itemsize)))


def as_numbers(elements: npt.NDArray[np.void], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The numbers in contiguous elements, shape (n,), of one width: (n, width), a view."""
    return elements.view(dtype).reshape(len(elements), -1)


def distinct_rows(*parts: npt.NDArray[Any]) -> tuple[Int64, Int64, Int64]:
    """Which rows are equal in every part, matrices of n rows each; -0.0 equals 0.0.

    Returns
    -------
    first : (m,) int64
        A row of each distinct kind, the first of its kind.
    kind : (n,) int64
        Kind of every row, a position in `first`.
    count : (m,) int64
        Rows of each kind.
    """
    whole = [
        np.ascontiguousarray(part + part.dtype.type(0) if part.dtype.kind == "f" else part)
        for part in parts
    ]
    joined = np.concatenate([part.view(np.uint8) for part in whole], axis=1)
    _, first, kind, count = np.unique(
        as_elements(joined, joined.shape[1]).ravel(),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    return first, kind.reshape(-1), count
