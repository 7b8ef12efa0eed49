"""Token tuples of a vector in the order of their true distortion, nearest first."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Float64, Int64, Tokens
from dqindex.quantizer.equals import first_equals
from dqindex.quantizer.model import DQModel

# Coarse tuples that are looked at together.
OFFSETS_AT_ONCE = 4096


class CandidateSearch:
    """The `count` nearest token tuples of each vector, among those that begin as its own.

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
        # Codewords that are the same have the same distance, to the last digit: then the first
        # of them comes first.
        self._firsts = [first_equals(book) for book in model.codebooks_.codebooks_]
        self._coarse_firsts = [first_equals(level) for level in model.coarse_]
        self.sizes = model.code_sizes()

    def nearest(
        self, vectors: Float32, base: Tokens, count: int, held: int = 0
    ) -> tuple[Tokens, Float64]:
        """Tuples in ascending distortion.

        Parameters
        ----------
        vectors : (m, d)
        base : (m, T)
            Tokens of `vectors`; only the first `held` matter.
        count : int
            How many tuples a vector; fewer come back where fewer exist.
        held : int, less than T
            The first tokens of a vector's tuples are those of `base`.

        Returns
        -------
        codes : (m, count, T) int32
        distortions : (m, count) float64
        """
        z = vectors.astype(np.float64)
        levels = len(self._coarse)
        for level in range(min(held, levels)):
            z = z - self._coarse[level][base[:, level]]
        if held < levels:
            codes, sums = self._over_offsets(z, count, held)
        else:
            mean, axes = self._transform.mean_, self._transform.components_.T
            x = (z - mean) @ axes
            codes, sums = self._merge(x, count, held - levels)
            sums = sums + _dropped(z - mean, x)[:, None]
            for place in range(held - levels):
                part = x[:, self._columns(place)] - self._books[place][base[:, levels + place]]
                sums = sums + (part**2).sum(axis=1)[:, None]
        if held:
            own = np.broadcast_to(base[:, None, :held], (len(z), codes.shape[1], held))
            codes = np.concatenate([own.astype(np.int32), codes], axis=2)
        return codes, sums

    def _columns(self, place: int) -> slice:
        size = self._books[0].shape[1]
        return slice(place * size, (place + 1) * size)

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

    def _over_offsets(self, z: Float64, count: int, held: int) -> tuple[Tokens, Float64]:
        """Tuples without the `held` coarse tokens, whose centroids were taken off `z`."""
        sizes = tuple(len(level) for level in self._coarse[held:])
        total = math.prod(sizes)
        codes: Tokens = np.empty((len(z), 0, len(self.sizes) - held), dtype=np.int32)
        sums: Float64 = np.empty((len(z), 0))
        for start in range(0, total, OFFSETS_AT_ONCE):
            some = np.arange(start, min(start + OFFSETS_AT_ONCE, total))
            tokens = np.stack(np.unravel_index(some, sizes), axis=1).astype(np.int32)
            more, values = self._behind(z, count, tokens, held)
            codes = np.concatenate([codes, more], axis=1)
            sums = np.concatenate([sums, values], axis=1)
            order = np.argsort(sums, axis=1, kind="stable")[:, :count]
            codes = np.take_along_axis(codes, order[:, :, None], axis=1)
            sums = np.take_along_axis(sums, order, axis=1)
        return codes, sums

    def _behind(self, z: Float64, count: int, tokens: Tokens, held: int) -> tuple[Tokens, Float64]:
        """The nearest tuples that go on with one of the rows of `tokens`; in any order."""
        mean, axes = self._transform.mean_, self._transform.components_.T
        offsets = np.zeros((len(tokens), z.shape[1]))
        for place, level in enumerate(self._coarse[held:]):
            offsets += level[tokens[:, place]]
        centred = z - mean
        x, moved = centred @ axes, offsets @ axes
        same = self._same_offsets(tokens, held)
        moved = moved[same]
        bounds = self._bounds(centred, x, offsets, moved)[:, same]
        tried = np.argsort(bounds, axis=1, kind="stable")[:, :count]
        rows = np.repeat(np.arange(len(z)), tried.shape[1])
        flat = tried.reshape(-1)
        residual = x[rows] - moved[flat]
        codes, sums = self._merge(residual, count)
        sums = sums + _dropped(centred[rows] - offsets[flat], residual)[:, None]
        first = np.broadcast_to(tokens[flat][:, None], (len(flat), codes.shape[1], tokens.shape[1]))
        codes = np.concatenate([first, codes], axis=2)
        return codes.reshape(len(z), -1, codes.shape[2]), sums.reshape(len(z), -1)

    def _same_offsets(self, tokens: Tokens, held: int) -> Int64:
        """For each row of `tokens`, the first that names the same centroids."""
        firsts = [
            table[column]
            for table, column in zip(self._coarse_firsts[held:], tokens.T, strict=True)
        ]
        numbers = np.ravel_multi_index(firsts, [len(one) for one in self._coarse[held:]])
        _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        return np.asarray(first[inverse])

    def _bounds(self, centred: Float64, x: Float64, offsets: Float64, moved: Float64) -> Float64:
        """Distortion of the best tuple behind each offset, (m, offsets), up to rounding.

        With o an offset and c a codeword, ‖x - o - c‖² = ‖x‖² + ‖o‖² - 2 x·o + (‖c‖² - 2 x·c +
        2 o·c): products of rows, offsets and codewords serve all of them.
        """
        bounds: Float64 = (offsets**2).sum(axis=1) - 2 * centred @ offsets.T
        bounds += (centred**2).sum(axis=1)[:, None]
        for place, book in enumerate(self._books):
            columns = self._columns(place)
            own = (book**2).sum(axis=1) - 2 * x[:, columns] @ book.T
            between = 2 * moved[:, columns] @ book.T
            for offset, products in enumerate(between):
                bounds[:, offset] += (own + products).min(axis=1)
        return bounds

    def _distances(self, x: Float64, level: int) -> Float64:
        book = self._books[level]
        part = x[:, self._columns(level)]
        squares = (part**2).sum(axis=1)[:, None] - 2 * part @ book.T + (book**2).sum(axis=1)
        clipped: Float64 = np.maximum(squares, 0.0)
        return clipped[:, self._firsts[level]]

    def _merge(self, x: Float64, count: int, first: int = 0) -> tuple[Tokens, Float64]:
        """Codes of the subspaces from `first` on, and their part of the distortion."""
        codes: Tokens = np.zeros((len(x), 1, 0), dtype=np.int32)
        sums: Float64 = np.zeros((len(x), 1))
        for level in range(first, len(self._books)):
            near, distances = _smallest(self._distances(x, level), count)
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
