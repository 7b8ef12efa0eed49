"""Columns of numbers beside the vectors, one number a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dqindex._types import Float64
from dqindex.errors import InputError
from dqindex.vectors.ids import CONVERSION_ERRORS


def as_numbers(values: Any, name: str) -> Float64:
    """Any array-like of integers, floats, decimals or booleans: (n,) float64, NaN where missing.

    Raises
    ------
    InputError
        If it holds something else; messages call it `name`.
    """
    try:
        array = _as_arrow(values)
        kind = array.type
        if pa.types.is_boolean(kind):
            array = array.cast(pa.uint8())
        elif not (
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_decimal(kind)
            or pa.types.is_null(kind)
        ):
            raise InputError(f"{name}: holds {kind}; it must be numbers")
        # Not safe: what float64 rounds is rounded.
        numbers: Float64 = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except CONVERSION_ERRORS as error:
        raise InputError(f"{name}: not a column of numbers ({error})") from None
    return numbers


def _as_arrow(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise TypeError(f"an array of shape {values.shape}")
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values).combine_chunks()
    # NaN is a missing number, too.
    return pa.array(values)
