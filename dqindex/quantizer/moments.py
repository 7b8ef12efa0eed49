"""Count, mean and second moments of vectors: streaming, float64, mergeable."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex._parameters import check, dimensions, instance
from dqindex._types import Float64
from dqindex.errors import InputError

# Rows widened to float64 at a time: small enough to stay in cache, large enough for BLAS.
CHUNK_ROWS = 4096


class Moments:
    """Mean and scatter matrix of a stream of d-dimensional vectors.

    The scatter is about the running mean, and corrected when the mean changes (Chan, Golub and
    LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979), so
    that a large mean causes no cancellation. The raw second moment is computed from it, never the
    reverse.

    Attributes
    ----------
    count : int
        Number of vectors seen.
    mean : (d,) float64
        Their mean.
    scatter : (d, d) float64
        Sum of ``outer(z - mean, z - mean)``.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(12.0).reshape(6, 2)
    >>> halves = Moments(2).update(X[:3]).merge(Moments(2).update(X[3:]))
    >>> bool(np.allclose(halves.covariance(), np.cov(X.T, bias=True)))
    True
    """

    def __init__(self, d: int) -> None:
        check("Moments", "d", d, dimensions())
        self.count = 0
        self.mean: Float64 = np.zeros(d)
        try:
            self.scatter: Float64 = np.zeros((d, d))
        except MemoryError:
            raise InputError(
                f"Moments: {d} x {d} second moments do not fit into memory; take vectors of fewer "
                "dimensions"
            ) from None

    def update(self, block: npt.NDArray[Any]) -> Moments:
        """Add the rows of `block`, shape (b, d), and return self.

        Raises
        ------
        InputError
            If `block` is not an array of real numbers, or of another width.
        """
        if not isinstance(block, np.ndarray) or block.dtype.kind not in "fiu":
            raise InputError("Moments: block is not an array of real numbers; give shape (b, d)")
        if block.ndim != 2 or block.shape[1] != len(self.mean):
            raise InputError(f"moments of width {len(self.mean)} cannot take shape {block.shape}")
        for start in range(0, len(block), CHUNK_ROWS):
            chunk = block[start : start + CHUNK_ROWS].astype(np.float64)
            # What is not finite, or too long, makes moments that `DQTransform` refuses.
            with np.errstate(over="ignore", invalid="ignore"):
                mean = chunk.mean(axis=0)
                chunk -= mean
                self._add(len(chunk), mean, chunk.T @ chunk)
        return self

    def merge(self, other: Moments) -> Moments:
        """Add the vectors of `other`, and return self.

        Raises
        ------
        InputError
            If `other` is not a `Moments`, or of another width.
        """
        check("Moments.merge", "other", other, instance(Moments))
        if len(other.mean) != len(self.mean):
            raise InputError(
                f"moments of width {len(self.mean)} cannot take those of width {len(other.mean)}"
            )
        self._add(other.count, other.mean, other.scatter)
        return self

    def _add(self, count: int, mean: Float64, scatter: Float64) -> None:
        if count == 0:
            return
        total = self.count + count
        delta = mean - self.mean
        self.scatter += scatter
        self.scatter += np.outer(delta, delta * (self.count * count / total))
        self.mean = self.mean + delta * (count / total)
        self.count = total

    def covariance(self) -> Float64:
        """Covariance (divided by n), shape (d, d)."""
        return self.scatter / max(self.count, 1)

    def second_moment(self) -> Float64:
        """Raw second moment E[z zᵀ], shape (d, d): about the origin, as inner products need it."""
        return self.covariance() + np.outer(self.mean, self.mean)
