"""Codes of rows that are projected already: FAISS's kernels or our search, whichever is faster.

FAISS's ``ProductQuantizer.compute_codes`` has kernels of its own for a few widths, which are faster
for few centroids; `quantizer_is_faster` says where (benchmarks/encode.py has the table).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Matrix
from dqindex.errors import InputError
from dqindex.quantizer.nearest import nearest
from dqindex.vectors.row_bytes import as_elements, as_numbers


def code_dtype(n_codewords: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The smallest unsigned dtype that holds codes of `n_codewords` codewords."""
    return np.min_scalar_type(n_codewords - 1)


def check_codes(codes: Any, sizes: Sequence[int]) -> npt.NDArray[np.integer[Any]]:
    """`codes` as a matrix of integers, one column for each of `sizes` and below it.

    Raises
    ------
    InputError
    """
    try:
        array = np.asarray(codes)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(
            f"codes: their rows are not of one length, or no numbers; give integers of shape "
            f"(n, {len(sizes)})"
        ) from None
    if array.ndim != 2 or array.shape[1] != len(sizes) or array.dtype.kind not in "iu":
        raise InputError(
            f"codes of shape {array.shape} and dtype {array.dtype}; give integers of shape "
            f"(n, {len(sizes)})"
        )
    rows, columns = np.nonzero((array < 0) | (array >= np.array(sizes)))
    if rows.size:
        row, column = rows[0], columns[0]
        raise InputError(
            f"code {array[row, column]} in row {row}, column {column}; codes there are from 0 to "
            f"{sizes[column] - 1}"
        )
    return array


def quantizer_is_faster(width: int, bits: int) -> bool:
    """Whether ``compute_codes`` is at least as fast as `nearest` for 2**`bits` centroids.

    Measured on one thread, `nearest` over ``compute_codes``: 0.4 to 0.95 where this says so, 1.1
    to 13 elsewhere.
    """
    if width in (2, 4):
        return bits <= 8
    if width == 8:
        return bits <= 6
    return width >= 16 and bits <= 5


def encoder(codebooks: list[Float32]) -> Callable[[Matrix, npt.NDArray[Any]], None]:
    """A function that writes the codes of rows to an array, on its thread, as fast as it can."""
    sizes = {len(book) for book in codebooks}
    size, width = max(sizes), codebooks[0].shape[1]
    bits = size.bit_length() - 1
    if len(sizes) > 1 or size != 2**bits or not bits or not quantizer_is_faster(width, bits):
        return lambda rows, out: nearest_codes(rows, codebooks, out)
    quantizer = faiss.ProductQuantizer(len(codebooks) * width, len(codebooks), bits)
    faiss.copy_array_to_vector(np.stack(codebooks).ravel(), quantizer.centroids)

    def encode(rows: Matrix, out: npt.NDArray[Any]) -> None:
        packed = quantizer.compute_codes(np.ascontiguousarray(rows, dtype=np.float32))
        out[:] = packed if bits == 8 else faiss.unpack_bitstrings(packed, len(codebooks), bits)

    return encode


# Subspaces and rows that are copied together: the rows are then read once, and stay in cache.
COPIED_SUBSPACES, COPIED_ROWS = 8, 1024


def nearest_codes(rows: Matrix, codebooks: list[Float32], out: npt.NDArray[Any]) -> None:
    """Write the nearest codeword of every subspace of `rows` to `out`; on this thread."""
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    n, width = len(rows), codebooks[0].shape[1]
    slices = as_elements(rows, width)  # numpy copies those in half the time
    for first in range(0, len(codebooks), COPIED_SUBSPACES):
        some = codebooks[first : first + COPIED_SUBSPACES]
        parts = np.empty((len(some), n), dtype=slices.dtype)
        for start in range(0, n, COPIED_ROWS):
            tile = slice(start, start + COPIED_ROWS)
            parts[:, tile] = slices[tile, first : first + len(some)].T
        for level, (part, codebook) in enumerate(zip(parts, some, strict=True), first):
            out[:, level] = nearest(as_numbers(part, np.float32), codebook)[0]
