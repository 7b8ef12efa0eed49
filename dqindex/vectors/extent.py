"""How long vectors may be: what float32 can square, and FAISS compares.

Everything below this package compares squared distances in float32, which holds 1.2e-38 to 3.4e38;
and FAISS, as it encodes by a table of distances, knows no distance above 1e20. So vectors are
served whose length is at most `LARGEST_NORM`: a squared distance is then at most 4e18. And sets are
served whose longest vector is not below `LEAST_NORM`: what is a thousandth of it still has a
square. (A set of zeros has nothing to square, and is served.) For cosine the length means nothing,
so that `rescaled` brings every vector into the range, and all that are finite are served.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex._types import Float64, Int64, Matrix
from dqindex.errors import NonFiniteError, RangeError

LEAST_NORM, LARGEST_NORM = 1e-15, 1e9


@dataclass(frozen=True)
class Extent:
    """How far the vectors of a set reach.

    Attributes
    ----------
    norm : float
        The largest Euclidean length.
    row : int
        The first row that has it.
    lowest, highest : float
        The least and the largest value.
    """

    norm: float
    row: int
    lowest: float
    highest: float


def row_norms(rows: npt.NDArray[Any]) -> Float64:
    """Length of every row, right for all values that float64 holds: (n,).

    NaN or infinite where the row has such a value, or is longer than float64 can tell.
    """
    wide = rows.dtype.kind != "f" or rows.dtype.itemsize > 4
    array: Matrix = rows.astype(np.float64 if wide else np.float32, copy=False)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", array, array)
        lengths: Float64 = np.sqrt(squares, dtype=np.float64)
        odd = np.flatnonzero(~_in_range(lengths))
        if odd.size:
            some = array[odd].astype(np.float64)
            largest = np.abs(some).max(axis=1)
            scale = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)
            some /= scale[:, None]
            lengths[odd] = scale * np.sqrt(np.einsum("ij,ij->i", some, some))
    return lengths


def rescaled(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`rows`, those out of range times the power of two that makes their largest value 0.5 to 1.

    The direction stays, to the last bit; zeros, and what is not finite, stay as they are. float64
    where a row of `rows` in another type than float32 was scaled, or in float64.
    """
    lengths = row_norms(rows)
    odd = np.flatnonzero(~_in_range(lengths) & (lengths != 0))
    if not odd.size:
        return rows
    some = rows[odd].astype(np.float64)
    largest = np.abs(some).max(axis=1)
    fits = np.isfinite(largest)
    _, exponents = np.frexp(np.where(fits, largest, 1.0))
    wide = rows.dtype.kind != "f" or rows.dtype.itemsize > 4
    out = rows.astype(np.float64 if wide else np.float32)
    out[odd[fits]] = np.ldexp(some[fits], -exponents[fits, None])
    return out


def check_longest(norm: float, owner: str) -> None:
    """Refuse a set whose longest vector, of length `norm`, is too short to be squared.

    Raises
    ------
    RangeError
    """
    if 0 < norm < LEAST_NORM:
        raise RangeError(
            f"{owner}: the longest vector has the norm {norm:.3g}; float32 can square those from "
            f"{LEAST_NORM:g} to {LARGEST_NORM:g}. Rescale the vectors, for example so that the "
            "mean norm is 1"
        )


def check_labels(labels: Int64) -> Int64:
    """`labels`, unless one is -1: FAISS's word for a distance that float32 can't hold.

    Raises
    ------
    RangeError
    """
    if labels.size and labels.min() < 0:
        raise RangeError(
            "a squared distance is beyond float32: vectors, or centroids, have norms above "
            f"{LARGEST_NORM:g}; rescale them"
        )
    return labels


class Refused:
    """Rows that can't be served, counted block by block; true once there are some.

    Parameters
    ----------
    owner : str
        What messages call the vectors.
    n : int
        Rows in all.
    rows : (n,) int64, optional
        What messages call each row; by default its place.
    """

    def __init__(self, owner: str, n: int, rows: Int64 | None = None) -> None:
        self._owner, self._n, self._rows = owner, n, rows
        self._count, self._first, self._finite, self._norm = 0, -1, True, 0.0

    def __bool__(self) -> bool:
        return self._count > 0

    def look(self, block: npt.NDArray[Any], norms: Float64, start: int) -> None:
        """Count the rows of `block`, of these `norms`, that are not finite or too long."""
        bad = np.flatnonzero(~(norms <= LARGEST_NORM))
        if not bad.size:
            return
        infinite = bad[~np.isfinite(block[bad]).all(axis=1)]
        # What is not finite is told first, as scaling would not mend it.
        if infinite.size and self._finite:
            self._count, self._first, self._finite = 0, -1, False
        some = bad if self._finite else infinite
        if not some.size:
            return
        places = start + some if self._rows is None else self._rows[start + some]
        least = int(places.argmin())
        if self._first < 0 or places[least] < self._first:
            self._first, self._norm = int(places[least]), float(norms[some[least]])
        self._count += some.size

    def throw(self, why: Callable[[int], str] | None = None) -> None:
        """Raise what was found, if anything.

        Parameters
        ----------
        why : callable, optional
            What is wrong with a row that is not finite as float32, in words that follow
            "first row 7, ".

        Raises
        ------
        NonFiniteError, RangeError
        """
        if not self._count:
            return
        found = f"{self._owner}: {self._count} of {self._n} rows"
        if not self._finite:
            raise NonFiniteError(
                f"{found} hold NaN or infinity{' (as float32)' if why else ''}, first row "
                f"{self._first}{', ' + why(self._first) if why else '; remove or repair them'}"
            )
        raise RangeError(
            f"{found} have a norm above {LARGEST_NORM:g}, first row {self._first} with "
            f"{self._norm:.3g}; their squared distances exceed what FAISS can compare in float32. "
            f"Norms from {LEAST_NORM:g} to {LARGEST_NORM:g} are supported: rescale the vectors, or "
            "remove these rows"
        )


def _in_range(lengths: Float64) -> npt.NDArray[np.bool_]:
    return (lengths >= LEAST_NORM) & (lengths <= LARGEST_NORM)
