"""Tokens as a column of Arrow lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._types import Tokens
from dqindex.errors import FileFormatError
from dqindex.quantizer.encoding import code_dtype


def as_lists(codes: npt.NDArray[Any]) -> pa.ListArray:
    """A matrix of codes, (n, levels), as a list column of int32."""
    n, levels = codes.shape
    offsets = np.arange(0, n * levels + 1, levels, dtype=np.int64)
    values = pa.array(np.ascontiguousarray(codes, dtype=np.int32).ravel())
    if n * levels < 2**31:
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)
    return pa.LargeListArray.from_arrays(pa.array(offsets), values)


def read_lists(column: pa.ChunkedArray, name: str) -> Tokens:
    """A list column of integers, all of one length, as a matrix.

    Raises
    ------
    FileFormatError
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    kind = array.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not (is_list or pa.types.is_fixed_size_list(kind)) or not pa.types.is_integer(
        kind.value_type
    ):
        raise FileFormatError(f"{name}: codes of type {kind}; they must be lists of integers")
    if len(array) == 0:
        raise FileFormatError(f"{name}: a map without items")
    if array.null_count:
        raise FileFormatError(f"{name}: {array.null_count} items have no codes")
    widths = pc.list_value_length(array).to_numpy()
    other = np.flatnonzero(widths != widths[0])
    if other.size or widths[0] == 0:
        row = int(other[0]) if other.size else 0
        raise FileFormatError(
            f"{name}: row {row} has {widths[row]} tokens, the first {widths[0]}; all need the "
            f"same number"
        )
    flat = array.flatten()
    if flat.null_count:
        raise FileFormatError(f"{name}: {flat.null_count} tokens are missing")
    values = flat.to_numpy(zero_copy_only=False)
    if values.min() < 0 or values.max() >= 2**31:
        raise FileFormatError(f"{name}: codes from {values.min()} to {values.max()}; not tokens")
    largest = int(values.max(initial=0))
    codes: Tokens = values.astype(code_dtype(largest + 1)).reshape(len(array), -1)
    return codes
