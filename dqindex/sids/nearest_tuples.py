"""Token tuples of a vector in the order of their true distortion, nearest first."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Float64, Tokens
from dqindex.quantizer.model import DQModel

# Coarse tuples up to which all of them are candidates. With more, the earlier coarse tokens of an
# item stay as they are, and the last one is searched.
MOST_OFFSETS = 4096


class CandidateSearch:
    """The `count` nearest token tuples of each vector.

    The distortion of a tuple is a sum over levels, so its order is that of sums of sorted lists.
    Lists are merged two at a time: the n smallest sums of two sorted lists are among the pairs
    (i, j) with (i + 1)(j + 1) <= n. That is exact, and done for many vectors at once.

    A coarse token moves the residual, and so all the other distances. The best tuple behind each
    coarse token is bounded below by its nearest codewords; the n nearest tuples are behind the n
    coarse tokens of the lowest bounds.
    """

    def __init__(self, model: DQModel) -> None:
        self._transform = model.transform_
        self._books = [book.astype(np.float64) for book in model.codebooks_.codebooks_]
        self._coarse = [level.astype(np.float64) for level in model.coarse_]
        self.sizes = model.code_sizes()
        searched = self._coarse
        if int(np.prod([len(level) for level in searched])) > MOST_OFFSETS:
            searched = searched[-1:]
        self._held = len(self._coarse) - len(searched)
        tuples = list(product(*(range(len(level)) for level in searched)))
        self._offset_codes = np.array(tuples, dtype=np.int32).reshape(len(tuples), len(searched))
        d = model.n_features_in_
        self._offsets = np.zeros((len(self._offset_codes), d))
        for place, level in enumerate(searched):
            self._offsets += level[self._offset_codes[:, place]]

    def nearest(self, vectors: Float32, base: Tokens, count: int) -> tuple[Tokens, Float64]:
        """Tuples in ascending distortion.

        Parameters
        ----------
        vectors : (m, d)
        base : (m, T)
            Tokens of `vectors`; only those of held coarse levels matter.
        count : int
            How many tuples a vector; fewer come back where fewer exist.

        Returns
        -------
        codes : (m, count, T) int32
        distortions : (m, count) float64
        """
        z = vectors.astype(np.float64)
        for level in range(self._held):
            z = z - self._coarse[level][base[:, level]]
        codes, sums = self._over_offsets(z, count)
        if self._held:
            held = np.broadcast_to(
                base[:, None, : self._held], (len(z), codes.shape[1], self._held)
            )
            codes = np.concatenate([held.astype(np.int32), codes], axis=2)
        return codes, sums

    def products(self, direction: Float64) -> list[Float64]:
        """What each code adds to ⟨direction, ẑ⟩: a table a level, the mean in the first."""
        axes = self._transform.components_ @ direction
        size = len(axes) // len(self._books)
        tables = [level @ direction for level in self._coarse]
        tables += [
            book @ axes[place * size : (place + 1) * size] for place, book in enumerate(self._books)
        ]
        tables[0] = tables[0] + direction @ self._transform.mean_
        return tables

    def _over_offsets(self, z: Float64, count: int) -> tuple[Tokens, Float64]:
        mean, axes = self._transform.mean_, self._transform.components_.T
        m, n_offsets = len(z), len(self._offsets)
        if not self._coarse:
            x = (z - mean) @ axes
            codes, sums = self._merge(x, count)
            return codes, sums + _dropped(z - mean, x)[:, None]
        x = (z - mean) @ axes
        moved = self._offsets @ axes
        # What the offset leaves outside of the kept axes counts as well.
        bounds = np.empty((m, n_offsets))
        for offset in range(n_offsets):
            bounds[:, offset] = self._bound(x - moved[offset]) + _dropped(
                z - mean - self._offsets[offset], x - moved[offset]
            )
        tried = np.argsort(bounds, axis=1, kind="stable")[:, :count]
        rows = np.repeat(np.arange(m), tried.shape[1])
        flat = tried.reshape(-1)
        residual = x[rows] - moved[flat]
        codes, sums = self._merge(residual, count)
        sums = sums + _dropped(z[rows] - mean - self._offsets[flat], residual)[:, None]
        first = np.broadcast_to(
            self._offset_codes[flat][:, None], (*codes.shape[:2], self._offset_codes.shape[1])
        )
        codes = np.concatenate([first, codes], axis=2).reshape(m, -1, len(self.sizes) - self._held)
        sums = sums.reshape(m, -1)
        order = np.argsort(sums, axis=1, kind="stable")[:, :count]
        return (
            np.take_along_axis(codes, order[:, :, None], axis=1),
            np.take_along_axis(sums, order, axis=1),
        )

    def _distances(self, x: Float64, level: int, start: int) -> Float64:
        book = self._books[level]
        part = x[:, start : start + book.shape[1]]
        squares = (part**2).sum(axis=1)[:, None] - 2 * part @ book.T + (book**2).sum(axis=1)
        clipped: Float64 = np.maximum(squares, 0.0)
        return clipped

    def _bound(self, x: Float64) -> Float64:
        size = x.shape[1] // len(self._books)
        total = np.zeros(len(x))
        for level in range(len(self._books)):
            total += self._distances(x, level, level * size).min(axis=1)
        return total

    def _merge(self, x: Float64, count: int) -> tuple[Tokens, Float64]:
        size = x.shape[1] // len(self._books)
        codes: Tokens = np.zeros((len(x), 1, 0), dtype=np.int32)
        sums: Float64 = np.zeros((len(x), 1))
        for level in range(len(self._books)):
            near, distances = _smallest(self._distances(x, level, level * size), count)
            i, j = _pairs(sums.shape[1], near.shape[1], count)
            totals = sums[:, i] + distances[:, j]
            order = np.argsort(totals, axis=1, kind="stable")[:, :count]
            sums = np.take_along_axis(totals, order, axis=1)
            left = np.take_along_axis(codes, i[order][:, :, None], axis=1)
            right = np.take_along_axis(near, j[order], axis=1)
            codes = np.concatenate([left, right[:, :, None]], axis=2)
        return codes, sums


def _dropped(centred: Float64, projected: Float64) -> Float64:
    """Energy in directions that the transform drops; rounding where it drops none."""
    lost: Float64 = np.maximum((centred**2).sum(axis=1) - (projected**2).sum(axis=1), 0.0)
    return lost


def _smallest(distances: Float64, count: int) -> tuple[Tokens, Float64]:
    """The `count` smallest of every row in ascending order, equals by position."""
    count = min(count, distances.shape[1])
    if count < distances.shape[1] // 2:
        near = np.sort(np.argpartition(distances, count - 1, axis=1)[:, :count], axis=1)
    else:
        near = np.broadcast_to(np.arange(distances.shape[1]), distances.shape)
    values = np.take_along_axis(distances, near, axis=1)
    order = np.argsort(values, axis=1, kind="stable")[:, :count]
    return (
        np.take_along_axis(near, order, axis=1).astype(np.int32),
        np.take_along_axis(values, order, axis=1),
    )


def _pairs(
    left: int, right: int, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs that can be among the `count` smallest sums of two ascending lists."""
    of_each = np.minimum(right, count // np.arange(1, min(left, count) + 1))
    i = np.repeat(np.arange(len(of_each)), of_each)
    j = np.arange(len(i)) - np.repeat(np.cumsum(of_each) - of_each, of_each)
    return i, j
