"""Numbers that are moved as bytes, several at a time: the one place for that trick.

numpy copies an element of any size at once. So a run of numbers of a row is viewed as one element
of as many bytes, a void, where that saves time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def as_elements(rows: npt.NDArray[Any], width: int) -> npt.NDArray[np.void]:
    """Rows of m * `width` numbers as m elements: (n, m * width) to (n, m), a view.

    `rows` must be C-contiguous. `as_numbers` is the way back.
    """
    return rows.view(np.dtype((np.void, width * rows.dtype.itemsize)))


def as_numbers(elements: npt.NDArray[np.void], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The numbers in contiguous elements, shape (n,), of one width: (n, width), a view."""
    return elements.view(dtype).reshape(len(elements), -1)
