"""Codes by either kernel, and rows that are moved and compared as bytes."""

from __future__ import annotations

import numpy as np
import pytest

from dqindex.quantizer.encoding import (
    COPIED_ROWS,
    COPIED_SUBSPACES,
    code_dtype,
    encoder,
    nearest_codes,
)
from dqindex.vectors.row_bytes import as_elements, as_numbers


@pytest.mark.parametrize(
    ("n_codewords", "dtype"),
    [(1, "u1"), (256, "u1"), (257, "u2"), (2**16, "u2"), (2**16 + 1, "u4"), (2**32 + 1, "u8")],
)
def test_codes_fit_in_their_dtype_and_in_none_smaller(n_codewords, dtype):
    assert code_dtype(n_codewords) == np.dtype(dtype)


@pytest.mark.parametrize("n", [1, COPIED_ROWS - 1, COPIED_ROWS, COPIED_ROWS + 1])
@pytest.mark.parametrize("levels", [1, COPIED_SUBSPACES, COPIED_SUBSPACES + 1])
def test_every_row_of_every_subspace_is_coded(n, levels):
    # Codewords j, 100 + j, 200 + j, ... : a row or a subspace that is skipped or mixed up shows.
    books = [(100 * level + np.arange(7.0))[:, None].repeat(3, axis=1) for level in range(levels)]
    wanted = np.random.default_rng(n).integers(7, size=(n, levels))
    rows = np.concatenate([books[level][wanted[:, level]] for level in range(levels)], axis=1)
    out = np.full((n, levels), 99, dtype=np.uint8)
    books = [book.astype(np.float32) for book in books]
    nearest_codes(rows, books, out)
    np.testing.assert_array_equal(out, wanted)
    out[:] = 99
    encoder(books)(rows, out)
    np.testing.assert_array_equal(out, wanted)


def test_elements_are_slices_of_rows():
    rows = np.arange(24, dtype=np.float32).reshape(4, 6)
    elements = as_elements(rows, 3)
    assert elements.shape == (4, 2)
    np.testing.assert_array_equal(
        as_numbers(np.ascontiguousarray(elements[:, 1]), np.float32), rows[:, 3:]
    )
