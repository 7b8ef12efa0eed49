"""Tokens of a model with coarse levels, by beam search: fewer dead ends than one token at a time.

A reconstruction is a sum of one atom a level: coarse centroids, and codewords turned back from
their subspaces. Its distance follows from inner products alone,

    ‖z - Σ a‖² = ‖z‖² + Σ_t (‖a_t‖² - 2 z·a_t) + 2 Σ_{s<t} a_s·a_t,

so that one product of the rows with all atoms, and one table of products of atoms with each other,
serve every prefix in the beam (additive quantisation: Babenko and Lempitsky, "Additive
Quantization for Extreme Vector Compression", CVPR 2014; beam search as in Martinez et al.,
"Revisiting Additive Quantization", ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dqindex._types import Float32, Int64, Matrix
from dqindex.quantizer.transform import DQTransform

# Rows whose candidates stay in cache.
TILE_ROWS = 256


class BeamSearch:
    """Tokens of rows: the best prefixes of coarse tokens, and behind each the nearest codewords.

    Subspaces are orthogonal to each other: behind a prefix, the nearest codeword of each is the
    exact choice, and only the coarse levels need a beam.

    Parameters
    ----------
    coarse : sequence of R >= 1 arrays (K_t, d) float32
    transform : DQTransform
    codebooks : sequence of L arrays (K_l, dsub) float32
    width : int
        Prefixes that are kept after each coarse level.
    """

    def __init__(
        self,
        coarse: Sequence[Float32],
        transform: DQTransform,
        codebooks: Sequence[Float32],
        width: int,
    ) -> None:
        self._width = width
        # All are measured from the middle of the first level: squares of a large mean would
        # swallow the differences that count.
        self._middle = coarse[0].mean(axis=0, dtype=np.float64).astype(np.float32)
        self._mean = transform.mean_.astype(np.float32)
        self._axes = transform.components_.astype(np.float32)
        self._coarse = [coarse[0] - self._middle, *coarse[1:]]
        self._books = list(codebooks)
        size = self._books[0].shape[1]
        self._columns = [slice(at * size, (at + 1) * size) for at in range(len(self._books))]
        self._coarse_squares = [_squares(level) for level in self._coarse]
        self._book_squares = [_squares(book) for book in self._books]
        # Twice the products of every coarse level with those after it, and with the codewords.
        self._between = [
            [2 * (earlier @ later.T) for earlier in self._coarse[:place]]
            for place, later in enumerate(self._coarse)
        ]
        turned = [level @ self._axes.T for level in self._coarse]
        self._behind = [
            [2 * (level[:, columns] @ book.T) for level in turned]
            for book, columns in zip(self._books, self._columns, strict=True)
        ]

    def __call__(self, rows: Matrix) -> Int64:
        """Tokens of finite `rows`: (n, R + L); on this thread."""
        codes = np.empty((len(rows), len(self._coarse) + len(self._books)), dtype=np.int64)
        for start in range(0, len(rows), TILE_ROWS):
            tile = slice(start, start + TILE_ROWS)
            codes[tile] = self._tile(rows[tile].astype(np.float32) - self._middle - self._mean)
        return codes

    def _tile(self, z: Float32) -> Int64:
        prefixes = np.zeros((len(z), 1, 0), dtype=np.int64)
        scores = np.zeros((len(z), 1), dtype=np.float32)
        for place, level in enumerate(self._coarse):
            own = _own(z, level, self._coarse_squares[place])
            scores = _extended(scores, own, self._between[place], prefixes)
            kept = _smallest(scores, min(self._width, scores.shape[1]))
            scores = np.take_along_axis(scores, kept, axis=1)
            parent, token = np.divmod(kept, len(level))
            prefixes = np.concatenate(
                [np.take_along_axis(prefixes, parent[:, :, None], axis=1), token[:, :, None]],
                axis=2,
            )
        x = z @ self._axes.T
        nothing = np.zeros_like(scores)
        tokens = []
        for place, (book, columns) in enumerate(zip(self._books, self._columns, strict=True)):
            own = _own(x[:, columns], book, self._book_squares[place])
            values = _extended(nothing, own, self._behind[place], prefixes)
            values = values.reshape(*scores.shape, len(book))
            nearest = values.argmin(axis=2)
            tokens.append(nearest)
            scores += np.take_along_axis(values, nearest[:, :, None], axis=2)[:, :, 0]
        whole = np.concatenate([prefixes, np.stack(tokens, axis=2)], axis=2)
        best = scores.argmin(axis=1)
        return np.asarray(np.take_along_axis(whole, best[:, None, None], axis=1)[:, 0])


def _squares(atoms: Float32) -> Float32:
    return np.asarray(np.einsum("ij,ij->i", atoms, atoms))


def _own(rows: Float32, atoms: Float32, squares: Float32) -> Float32:
    """Squared distances to the atoms of one level, less the squares of the rows: (n, K)."""
    products = rows @ atoms.T
    products *= -2
    products += squares
    return products


def _extended(
    scores: Float32, own: Float32, products: Sequence[Float32], prefixes: Int64
) -> Float32:
    """Scores of every prefix with every next token: (n, prefixes * tokens)."""
    values = scores[:, :, None] + own[:, None, :]
    for place, table in enumerate(products):
        values += table[prefixes[:, :, place]]
    return np.asarray(values.reshape(len(scores), -1))


def _smallest(values: Float32, count: int) -> Int64:
    """Positions of the `count` smallest of every row."""
    if count == values.shape[1]:
        return np.broadcast_to(np.arange(count), values.shape)
    return np.asarray(np.argpartition(values, count - 1, axis=1)[:, :count])
