"""Numbers of any dtype to float32, and the check that they are finite.

What is exact: float16, float32, and integers up to 2**24 in magnitude. float64 is rounded to the
nearest float32, larger integers too; a float64 beyond float32's range becomes infinite and is
reported as such. Byte order, Fortran order and strides change nothing but the memory layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex._types import Float32
from dqindex.errors import InputError


def check_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Refuse what is not a plain number: bool, complex, text, records, Python objects."""
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise InputError(
            f"{name}: dtype {dtype} is not a vector's; use float16, float32, float64 or an integer"
        )


def to_float32(block: npt.NDArray[Any]) -> Float32:
    """C-contiguous float32 copy or view of `block`. Overflow gives infinity, without a warning."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(block, dtype=np.float32)


def non_finite_rows(block: Float32) -> npt.NDArray[np.int64]:
    """Positions, within `block`, of the rows that hold NaN or infinity.

    A product with ones costs one pass at memory speed and is NaN or infinite wherever a value is;
    only the rows it points at are looked at value by value (a sum may overflow on its own).
    """
    if block.size == 0:
        return np.empty(0, dtype=np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(block @ np.ones(block.shape[1], dtype=np.float32)))
    bad: npt.NDArray[np.int64] = suspects[~np.isfinite(block[suspects]).all(axis=1)]
    return bad
