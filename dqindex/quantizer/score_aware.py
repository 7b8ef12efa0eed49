"""Product codes for scores: an error along a vector costs more than one across it.

The neighbours of a vector, by angle or by product, lie in its direction, so what moves their scores
is the error of its code along the vector itself. Guo et al., "Accelerating Large-Scale Inference
with Anisotropic Vector Quantization" (ICML 2020), weigh that error by eta:

    loss(x, x̂) = ‖e‖² + (eta - 1) (e·u)²,   e = x - x̂,   u = x / ‖x‖

The second term ties the subspaces together. So codes are found by coordinate descent: from the
nearest codewords, one subspace after another takes a codeword of less loss, given the others.
Here the weight lies in the vector v = sqrt(eta - 1) u, and the loss is ‖e‖² + (e·v)².
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex._types import Codes, Float32
from dqindex.parallel.pieces import equal_slices, pieces
from dqindex.parallel.threads import parallel_map
from dqindex.quantizer.encoding import code_dtype, encoder
from dqindex.quantizer.kmeans import cluster_sums
from dqindex.quantizer.nearest import nearest

# The square of less is next to what float32 can't hold.
LEAST_LENGTH = 1e-18
# Times that each subspace chooses.
SWEEPS = 2
# Rounds of training: codes, then the codewords of the least loss for them.
ROUNDS = 4
# So many codewords are looked at one by one; more are searched.
FEW = 64
# Products of those few with so many vectors stay in cache.
TILE_VALUES = 2**16


def directions(vectors: Float32, eta: float) -> Float32:
    """The v of `vectors`: of the length sqrt(eta - 1), or 0 where a vector is as good as 0."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    factors = np.zeros_like(norms)
    np.divide(np.float32(np.sqrt(eta - 1)), norms, out=factors, where=norms > LEAST_LENGTH)
    found: Float32 = vectors * factors[:, None]
    return found


class ScoreAwareEncoder:
    """Codes of rows, for one set of codebooks.

    Parameters
    ----------
    codebooks : list of L arrays (K, dsub) float32
    """

    def __init__(self, codebooks: list[Float32]) -> None:
        self._nearest = encoder(codebooks)
        self._size, self._width = max(map(len, codebooks)), codebooks[0].shape[1]
        kind = _Few if self._size <= FEW else _Many
        self._books = [kind(book) for book in codebooks]

    def encode(self, rows: Float32, along: Float32) -> Codes:
        """Codes of `rows`, (n, L * dsub), whose v are `along`; on this thread."""
        codes = np.empty((len(rows), len(self._books)), dtype=code_dtype(self._size))
        self._nearest(rows, codes)
        # Many codewords are searched by FAISS, which is quick with many rows.
        tile = TILE_VALUES // self._size if self._size <= FEW else max(len(rows), 1)
        for part in equal_slices(len(rows), -(-len(rows) // tile)):
            x, v = (np.ascontiguousarray(one[part].T) for one in (rows, along))
            self._descend(x, v, codes[part])
        return codes

    def _descend(self, rows: Float32, along: Float32, codes: Codes) -> None:
        """Lower the loss of `codes` in place; the others are transposed, (L * dsub, n)."""
        width = self._width
        cuts = [slice(first, first + width) for first in range(0, len(rows), width)]
        # e·v of all subspaces.
        error = np.einsum("ij,ij->j", rows, along)
        for level, (cut, book) in enumerate(zip(cuts, self._books, strict=True)):
            error -= np.einsum("ij,ij->j", book.columns.take(codes[:, level], axis=1), along[cut])
        # Memory that is new costs more than the arithmetic in it.
        memory = np.empty((3, self._size * rows.shape[1] if self._size <= FEW else 0), np.float32)
        for _ in range(SWEEPS):
            before = codes.copy()
            for level, (cut, book) in enumerate(zip(cuts, self._books, strict=True)):
                codes[:, level] = book.step(rows[cut], along[cut], error, codes[:, level], memory)
            if np.array_equal(before, codes):
                return

    def encode_all(self, rows: Float32, along: Float32) -> Codes:
        """As `encode`, on all threads."""
        parts = pieces(len(rows), self._width)
        return np.concatenate(
            list(parallel_map(lambda part: self.encode(rows[part], along[part]), parts))
        )


class _Few:
    """A codebook of few codewords: the loss of each, for many vectors at once.

    Attributes
    ----------
    columns : (dsub, K)
    """

    def __init__(self, book: Float32) -> None:
        self.columns = np.ascontiguousarray(book.T)
        self._book = book
        squares = np.einsum("ij,ij->i", book, book)
        self._losses = np.concatenate([-2 * book, squares[:, None]], axis=1)
        # The largest is that of the first of equal codewords.
        self._places = np.arange(len(book))[::-1, None].astype(np.uint8)

    def step(
        self, x: Float32, v: Float32, error: Float32, codes: npt.NDArray[Any], memory: Float32
    ) -> npt.NDArray[Any]:
        """The codewords of the least loss for (dsub, n) vectors; `error` is then theirs."""
        size, (width, n) = len(self._book), x.shape
        products, losses, squares = (one[: size * n].reshape(size, n) for one in memory)
        np.matmul(self._book, v, out=products)
        places = np.arange(n)
        # e·v with this subspace left out: of the others, and of x.
        error += products.ravel().take(codes.astype(np.int64) * n + places)
        target = np.ones((width + 1, n), dtype=np.float32)
        np.multiply(v, error, out=target[:width])
        target[:width] += x
        # ‖c‖² - 2 (x + t v)·c + (v·c)²
        np.matmul(self._losses, target, out=losses)
        losses += np.multiply(products, products, out=squares)
        # ``losses.argmin(axis=0)``, which takes ten times as long.
        least = losses == losses.min(axis=0)
        found = size - 1 - (least.view(np.uint8) * self._places).max(axis=0)
        error -= products.ravel().take(found.astype(np.int64) * n + places)
        return np.asarray(found)


class _Many:
    """A codebook of many codewords: the nearest to where the loss draws each vector.

    With c₀ the codeword so far and w = ‖v‖² in this subspace, which is small, (v·(c - c₀))² is at
    most w ‖c - c₀‖². With that in its place, the codeword nearest to (x + t v + w c₀) / (1 + w) has
    the least loss, where t is e·v; and the true loss is then no more than before.
    """

    def __init__(self, book: Float32) -> None:
        self.columns = np.ascontiguousarray(book.T)
        self._book = book

    def step(
        self, x: Float32, v: Float32, error: Float32, codes: npt.NDArray[Any], memory: Float32
    ) -> npt.NDArray[Any]:
        """Codewords of less loss for (dsub, n) vectors; `error` is then theirs."""
        before = self.columns.take(codes, axis=1)
        weight = np.einsum("ij,ij->j", v, v)
        target = before * weight
        target += x
        target += v * error
        target /= 1 + weight
        found, _ = nearest(target.T, self._book)
        before -= self.columns.take(found, axis=1)
        error += np.einsum("ij,ij->j", before, v)
        return found


def train_score_aware(rows: Float32, along: Float32, codebooks: list[Float32]) -> list[Float32]:
    """Codebooks of less loss for the codes that they give, from `codebooks` on.

    For the rows that have a codeword, its c of the least loss solves (Σ I + v vᵀ) c = Σ x + t v,
    where t is e·v with c left out. Codewords of no row stay what they are.
    """
    books, width = list(codebooks), codebooks[0].shape[1]
    parts = [slice(level * width, (level + 1) * width) for level in range(len(books))]
    for _ in range(ROUNDS):
        codes = ScoreAwareEncoder(books).encode_all(rows, along).astype(np.int64)
        error = np.einsum("ij,ij->i", rows, along)
        for level, part in enumerate(parts):
            error -= np.einsum("ij,ij->i", books[level][codes[:, level]], along[:, part])
        for level, part in enumerate(parts):
            labels, v = codes[:, level], along[:, part]
            error += np.einsum("ij,ij->i", books[level][labels], v)
            books[level] = _solved(rows[:, part], v, error, labels, books[level])
            error -= np.einsum("ij,ij->i", books[level][labels], v)
    return books


def _solved(
    x: Float32, v: Float32, error: Float32, labels: npt.NDArray[np.int64], book: Float32
) -> Float32:
    """The codebook of one subspace that has the least loss for `labels`."""
    size, width = book.shape
    squares = (v[:, :, None] * v[:, None, :]).reshape(len(v), -1)
    features = np.concatenate([squares, x + error[:, None] * v], axis=1)
    sums, counts = cluster_sums(features, labels, size)
    left = sums[:, :-width].reshape(size, width, width).astype(np.float64)
    left += counts[:, None, None] * np.eye(width)
    out, used = book.copy(), counts > 0
    out[used] = np.linalg.solve(left[used], sums[used, -width:, None])[:, :, 0]
    return out
