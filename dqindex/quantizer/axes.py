"""Principal axes, and how many of them the data has."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from dqindex._types import Float64
from dqindex.parallel.threads import single_blas_thread

# An axis whose variance is below this share of the largest, times d, is rounding, not data.
RANK_TOLERANCE = 64 * np.finfo(np.float64).eps


def principal_axes(matrix: Float64) -> tuple[Float64, Float64]:
    """Eigenvalues (descending, not negative) and unit eigenvectors (one a row) of a PSD matrix.

    These are the squared singular values over n, and the right singular vectors W, of the data
    (arXiv 2508.11194, the SVD before eq. for x_l). The entry of largest magnitude in every axis is
    positive, so that the sign does not depend on the solver.
    """
    with single_blas_thread():
        values, vectors = scipy.linalg.eigh(matrix)
    axes = vectors.T[::-1]
    # The first of entries that tie up to rounding decides, whichever of them rounds larger.
    magnitude = np.abs(axes)
    leading = np.argmax(magnitude >= magnitude.max(axis=1, keepdims=True) * (1 - 1e-9), axis=1)
    signs = np.where(axes[np.arange(len(axes)), leading] < 0, -1.0, 1.0)
    return np.clip(values[::-1], 0.0, None), axes * signs[:, None]


def rank_of(variances: Float64) -> int:
    """How many of these variances, descending, are more than rounding."""
    return int(np.count_nonzero(variances > variances[0] * RANK_TOLERANCE * len(variances)))
