"""Numbers of any dtype to float32.

What is exact: float16, bfloat16, float32, and integers up to 2**24 in magnitude. float64 is
rounded to the nearest float32, larger integers too; a float64 beyond float32's range becomes
infinite and is reported as such. Byte order, Fortran order and strides change nothing but the
memory layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex._types import Float32
from dqindex.errors import InputError

FLOAT32_MAX = float(np.finfo(np.float32).max)


def check_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Refuse what is not a plain number: bool, complex, text, records, Python objects."""
    # ml_dtypes registers bfloat16 with numpy, as a kind of its own.
    if dtype.name == "bfloat16":
        return
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise InputError(
            f"{name}: dtype {dtype} is not a vector's; use float16, float32, float64 or an integer"
        )


def to_float32(block: npt.NDArray[Any]) -> Float32:
    """C-contiguous float32 copy or view of `block`. Overflow gives infinity, without a warning."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(block, dtype=np.float32)


def bfloat16_to_float32(bits: npt.NDArray[np.uint16]) -> Float32:
    """The float32 whose upper 16 bits are `bits`: exactly the bfloat16 that they are."""
    wide: npt.NDArray[np.uint32] = bits.astype(np.uint32) << np.uint32(16)
    return wide.view(np.float32)


def why_not_finite(stored: npt.NDArray[Any]) -> str:
    """What is wrong with one row, as stored, in words that follow "first row 7, ".

    NaN and infinity say so; a float64 that float32 cannot hold is named.
    """
    values = np.asarray(stored, dtype=np.float64).ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        place = int(np.flatnonzero(~np.isfinite(values.astype(np.float32)))[0])
    value = float(values[place])
    if np.isfinite(value):
        return (
            f"where dimension {place} is {value:.6g}, beyond the range of float32 "
            f"(±{FLOAT32_MAX:.3g}); scale the vectors"
        )
    return f"where dimension {place} is {value}; remove or repair them"
