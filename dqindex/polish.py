"""OPQ from a DQ start: the rotation that k-means and Procrustes agree on, in few rounds.

Ge et al., "Optimized Product Quantization", TPAMI 2014, section 3.2 (the non-parametric solution)
alternates codebooks and rotation from a random start: in FAISS, fifty rounds over the sample.
Here a round looks at a batch of its own, as in mini-batch k-means (Sculley, "Web-scale k-means
clustering", 2010): sums of codewords and the cross-covariance of Procrustes are kept with a decay,
and one Lloyd step serves both. A round takes the turn that Procrustes asks for three times over,
as the alternation creeps in one direction; the last rounds settle.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg

from dqindex.codebooks import ProductCodebooks
from dqindex.kmeans import cluster_sums
from dqindex.nearest import nearest
from dqindex.threads import map_single_threaded, single_blas_thread
from dqindex.transform import DQTransform
from dqindex.vectors.convert import Float32

Float64 = npt.NDArray[np.float64]

# Rows that are learned from: with a quarter of them, 384 dimensions fit their noise.
POLISH_ROWS = 65536
# Rows of a round, or 32 a codeword if that is more.
BATCH_ROWS = 8192
ROWS_A_CODEWORD = 32
# What a round keeps of the sums of those before.
DECAY = 0.5
# Turns beyond the one that Procrustes asks for. With three the rotation runs away.
EXTRA_TURNS = 2
# Share of the rounds, at the end, that take none.
SETTLE = 0.1
# It ends once these many rounds gained less than this share of the distortion.
WINDOW, LEAST_GAIN = 3, 1e-3
# A codeword with fewer rows than this in its sums stays where it is.
LEAST_ROWS = 0.1


def polish(
    transform: DQTransform,
    X: Float32,
    n_codewords: int | list[int] = 256,
    *,
    rounds: int = 25,
    seed: int = 0,
) -> DQTransform:
    """A copy of `transform` whose axes are turned to lower the distortion of a PQ.

    Parameters
    ----------
    transform : DQTransform
        Fitted. Padding axes stay where they are.
    X : (n, d) float32
        Vectors to learn from; `POLISH_ROWS` of them are used.
    n_codewords : int or list of L ints
        Codewords of each subspace.
    rounds : int
        At most; fewer once they gain little.
    seed : int
        Of the batches and the codebooks.

    Returns
    -------
    DQTransform
        With `components_`, `variances_` and `subspace_variances_` of the new axes.
    """
    sizes = ProductCodebooks(transform.n_subspaces, n_codewords).sizes()
    rows = min(len(X), POLISH_ROWS, max(BATCH_ROWS, ROWS_A_CODEWORD * max(sizes)))
    order = np.random.default_rng(seed).permutation(len(X))[:POLISH_ROWS]
    y: Float32 = transform.transform(X[order]).astype(np.float32, copy=False)
    batches = np.array_split(y, max(1, round(len(y) / rows)))
    real = np.asarray(transform.components_.any(axis=1))
    turn = np.eye(int(real.sum()), dtype=np.float32)
    own = y if real.all() else y[:, real]
    mean = own.mean(axis=0, dtype=np.float64)
    covariance = _cross(own, own) / len(own) - np.outer(mean, mean)
    if not rounds:
        return _turned(transform, covariance, turn, real)
    start = ProductCodebooks(transform.n_subspaces, n_codewords, seed=seed, n_iter=2)
    alternation = _Alternation(start.fit(batches[0]).codebooks_, real, len(batches[0]))
    asked, found = turn, []
    for number in range(rounds):
        batch = batches[number % len(batches)]
        before, (asked, distortion) = asked, alternation.step(batch, turn)
        found.append(distortion)
        turn = asked
        if number < rounds - max(1, round(SETTLE * rounds)):
            more = before.T @ asked
            for _ in range(EXTRA_TURNS):
                turn = turn @ more
        if number >= 2 * WINDOW:
            earlier, later = found[-2 * WINDOW : -WINDOW], found[-WINDOW:]
            if sum(later) > sum(earlier) * (1 - LEAST_GAIN):
                break
    return _turned(transform, covariance, asked, real)


class _Step(NamedTuple):
    """What a round finds: the turn that Procrustes asks for, and the distortion before it."""

    turn: Float32
    distortion: float


class _Alternation:
    """Codebooks and the cross-covariance for the rotation, learned batch by batch."""

    def __init__(self, books: list[Float32], real: npt.NDArray[np.bool_], most_rows: int) -> None:
        self._books, self._real = books, real
        # The turned rows and the decoded ones: kept, as fresh memory costs more than a product.
        self._buffers = np.zeros((2, most_rows, len(real)), dtype=np.float32)
        self._sums = [np.zeros_like(book) for book in books]
        self._counts = [np.zeros(len(book), dtype=np.float32) for book in books]
        self._cross = np.zeros((int(real.sum()), int(real.sum())), dtype=np.float32)

    def step(self, batch: Float32, turn: Float32) -> _Step:
        """One Lloyd step on the turned rows of `batch`, then Procrustes on all that was seen."""
        turned, decoded = (buffer[: len(batch)] for buffer in self._buffers)
        if self._real.all():
            own = batch
            _product(own, turn, turned)
        else:
            own = batch[:, self._real]
            turned[:, self._real] = _product(own, turn, np.empty_like(own))
        errors = map_single_threaded(
            lambda level: self._lloyd(turned, decoded, level), range(len(self._books))
        )
        distortion = sum(errors) / max(float(np.einsum("ij,ij->", own, own)), 1e-30)
        fitted = decoded if self._real.all() else decoded[:, self._real]
        self._cross = DECAY * self._cross + _cross(own, fitted)
        with single_blas_thread():
            left, _, right = scipy.linalg.svd(self._cross, check_finite=False)
            return _Step(np.ascontiguousarray(left @ right), distortion)

    def _lloyd(self, turned: Float32, decoded: Float32, level: int) -> float:
        """Assign, move the codewords to the means of what they code, and decode; one subspace."""
        book = self._books[level]
        size = book.shape[1]
        part = np.ascontiguousarray(turned[:, level * size : (level + 1) * size])
        labels, distances = nearest(part, book)
        own_sums, own_counts = cluster_sums(part, labels, len(book))
        sums, counts = self._sums[level], self._counts[level]
        sums *= DECAY
        sums += own_sums
        counts *= DECAY
        counts += own_counts.astype(np.float32)
        used = counts > LEAST_ROWS
        moved = book.copy()
        moved[used] = sums[used] / counts[used, None]
        self._books[level] = moved
        decoded[:, level * size : (level + 1) * size] = moved[labels]
        return float(distances.sum(dtype=np.float64))


# Rows of a product that one thread makes: sums then add up in one order at any thread count.
PRODUCT_ROWS = 2048


def _product(rows: Float32, matrix: Float32, out: Float32) -> Float32:
    """``rows @ matrix`` into `out`, on all threads."""
    parts = [slice(at, at + PRODUCT_ROWS) for at in range(0, len(rows), PRODUCT_ROWS)]
    for _ in map_single_threaded(lambda part: np.matmul(rows[part], matrix, out=out[part]), parts):
        pass
    return out


def _cross(a: Float32, b: Float32) -> Float32:
    """``a.T @ b`` on all threads."""
    step = 2 * PRODUCT_ROWS
    parts = [slice(at, at + step) for at in range(0, len(a), step)]
    total = np.zeros((a.shape[1], b.shape[1]), dtype=np.float32)
    for part in map_single_threaded(lambda one: a[one].T @ b[one], parts):
        total += part
    return total


def _turned(
    transform: DQTransform, covariance: Float64, turn: Float32, real: npt.NDArray[np.bool_]
) -> DQTransform:
    """A copy of `transform` with its real axes turned, and the variances that they then have."""
    exact = scipy.linalg.qr(turn.astype(np.float64))[0]
    exact *= np.sign(np.sum(exact * turn, axis=0))  # the orthonormal matrix nearest in float64
    made = copy.copy(transform)
    made.components_ = transform.components_.copy()
    made.components_[real] = exact.T @ transform.components_[real]
    made.variances_ = np.zeros(len(real))
    made.variances_[real] = np.maximum(np.einsum("ij,ij->j", exact, covariance @ exact), 0)
    made.subspace_variances_ = made.variances_.reshape(transform.n_subspaces, -1).sum(axis=1)
    made.imbalance_ = float(made.subspace_variances_.max() / made.subspace_variances_.mean() - 1)
    return made
