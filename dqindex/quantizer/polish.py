"""OPQ from a DQ start: the rotation that k-means and Procrustes agree on, in few rounds.

Ge et al., "Optimized Product Quantization", TPAMI 2014, section 3.2 (the non-parametric solution)
alternates codebooks and rotation from a random start: in FAISS, fifty rounds over the sample.
Here a round looks at a batch of its own, as in mini-batch k-means (Sculley, "Web-scale k-means
clustering", 2010): sums of codewords and the cross-covariance of Procrustes are kept with a decay,
and one Lloyd step serves both. As the alternation creeps in one direction, a round takes the turn
that Procrustes asks for several times over: three times at first, once in the end, as the turns of
single batches are noisy and the last rounds must settle.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.linalg

from dqindex._types import Float32
from dqindex.parallel.pieces import equal_slices
from dqindex.parallel.threads import parallel_map, single_blas_thread
from dqindex.quantizer.balance import imbalance
from dqindex.quantizer.codebooks import ProductCodebooks, train_codebooks
from dqindex.quantizer.kmeans import cluster_sums
from dqindex.quantizer.nearest import nearest
from dqindex.quantizer.transform import DQTransform

R = TypeVar("R")

# What was tried, on text embeddings of 384 dimensions and on GloVe (docs/no-gain.md):
#
# POLISH_ROWS       rows that are learned from: of a quarter, 384 dimensions fit the noise
# BATCH_ROWS, ...   rows of a round: this many, or as many a codeword or a dimension, whichever is
#                   most; the sums of fewer are too noisy to turn by
# DECAY             what a round keeps of the sums of those before it
# MOST_TURNS        turns that the first rounds take; with four the rotation runs away
# WINDOW, ...       a round takes a turn less once WINDOW rounds gain less than LEAST_GAIN of the
#                   distortion, which varies by 0.2 % between batches
# PIECES            parts of a batch, a thread each: the sums have one order at any thread count
# LEAST_ROWS        a codeword with fewer rows in its sums stays where it is
POLISH_ROWS = 65536
BATCH_ROWS, ROWS_A_CODEWORD, ROWS_A_DIMENSION = 8192, 32, 27
DECAY = 0.5
MOST_TURNS = 3
WINDOW, LEAST_GAIN = 4, 1e-3
PIECES = 4
LEAST_ROWS = 0.1


class Polished(NamedTuple):
    """What `polish` finds: the turned transform, and codebooks for what it projects."""

    transform: DQTransform
    codebooks: list[Float32]


def polish(
    transform: DQTransform,
    X: Float32,
    n_codewords: int | list[int] = 256,
    *,
    rounds: int = 25,
    seed: int = 0,
) -> Polished:
    """Turn the axes of `transform` to lower the distortion of a PQ.

    Parameters
    ----------
    transform : DQTransform
        Fitted: its axes are principal ones. Padding axes stay where they are.
    X : (n, d) float32
        Vectors to learn from; `POLISH_ROWS` of them are used.
    n_codewords : int or list of L ints
        Codewords of each subspace.
    rounds : int
        At least 1, and at most this; fewer once they gain little.
    seed : int
        Of the batches and the codebooks.

    Returns
    -------
    Polished
        A copy of `transform`, with `components_`, `variances_`, `subspace_variances_` and
        `imbalance_` of the new axes, and the L codebooks (K_l, dsub) that the last rounds agree on.
    """
    # A random start: k-means++ ends with as much distortion, and finds fewer neighbours.
    start = ProductCodebooks(transform.n_subspaces, n_codewords, seed=seed, n_iter=1, init="random")
    wanted = ROWS_A_CODEWORD * max(start.sizes()), ROWS_A_DIMENSION * X.shape[1]
    rows = min(len(X), max(BATCH_ROWS, *wanted))
    order = np.random.default_rng(seed).permutation(len(X))[:POLISH_ROWS]
    with single_blas_thread():
        alternation = _Alternation(transform, start, rows)
        turn = asked = np.eye(alternation.n_axes, dtype=np.float32)
        schedule = Schedule(rounds)
        while schedule.goes_on:
            places = range(schedule.done * rows, (schedule.done + 1) * rows)
            distortion = alternation.assign(X, np.take(order, places, mode="wrap"), turn)
            before, asked = asked, alternation.procrustes()
            turn = _extrapolated(before, asked, schedule.after(distortion))
    return Polished(_turned(transform, asked), alternation.codebooks)


class Schedule:
    """How many turns a round takes of those that Procrustes asks for, and when to end.

    `MOST_TURNS` at first, and one fewer after each third of the rounds or, earlier, once the rounds
    gain little. With none it ends.

    Attributes
    ----------
    done : int
        Rounds that are done.
    turns : int
        Turns that the last of them takes.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._distortions: list[float] = []  # of the rounds since a turn was given up
        self.done = 0
        self.turns = MOST_TURNS

    @property
    def goes_on(self) -> bool:
        """Whether there is another round."""
        return self.turns > 0 and self.done < self._rounds

    def after(self, distortion: float) -> int:
        """Turns that a round takes that found this distortion."""
        self.done += 1
        self._distortions.append(distortion)
        due = 1 + MOST_TURNS * (self._rounds - self.done) // self._rounds
        if self.turns > due or self._stalled():
            self.turns -= 1
            self._distortions = []
        return self.turns

    def _stalled(self) -> bool:
        """Whether the last rounds gained less than they should go on for."""
        earlier, later = self._distortions[-2 * WINDOW : -WINDOW], self._distortions[-WINDOW:]
        return len(earlier) == WINDOW and sum(later) > sum(earlier) * (1 - LEAST_GAIN)


def _extrapolated(before: Float32, asked: Float32, turns: int) -> Float32:
    """`asked`, and `turns` - 1 times more of what turned `before` into it."""
    turn, more = asked, before.T @ asked
    for _ in range(turns - 1):
        turn = turn @ more
    return turn


class _Found(NamedTuple):
    """Squared errors, and squared lengths, of the rows of a batch in one subspace."""

    error: float
    energy: float


class _Alternation:
    """Codebooks and the cross-covariance for the rotation, learned batch by batch."""

    def __init__(self, transform: DQTransform, start: ProductCodebooks, rows: int) -> None:
        self._start = start
        self._mean = transform.mean_.astype(np.float32)
        self._kept = _kept(transform)
        self._axes = transform.components_[self._kept].astype(np.float32)
        width = len(self._kept)
        self._size = width // transform.n_subspaces
        # What a batch goes through is kept, as fresh memory costs more than a product.
        self._centred = np.empty((rows, len(self._mean)), dtype=np.float32)
        self._turned = np.empty((rows, width), dtype=np.float32)
        self._decoded = np.empty((rows, width), dtype=np.float32)
        self.codebooks: list[Float32] = []
        self._sums: list[Float32] = []
        self._counts: list[Float32] = []
        self._cross = np.zeros((self.n_axes, self.n_axes), dtype=np.float32)

    @property
    def n_axes(self) -> int:
        """Number of axes that turn: all but padding."""
        return len(self._axes)

    def assign(self, X: Float32, batch: npt.NDArray[np.int64], turn: Float32) -> float:
        """One Lloyd step on the rows `batch` of `X`, turned; the distortion before it."""
        rotation = np.zeros((len(self._mean), len(self._kept)), dtype=np.float32)
        rotation[:, self._kept] = self._axes.T @ turn

        def rotate(part: slice) -> None:
            centred = self._centred[part]
            np.take(X, batch[part], axis=0, out=centred, mode="clip")
            centred -= self._mean
            np.matmul(centred, rotation, out=self._turned[part])

        self._over_rows(rotate)
        if not self.codebooks:
            self.codebooks = train_codebooks(self._start, self._turned).codebooks_
            self._sums = [np.zeros_like(book) for book in self.codebooks]
            self._counts = [np.zeros(len(book), dtype=np.float32) for book in self.codebooks]
        found = list(parallel_map(self._lloyd, range(len(self.codebooks))))
        return sum(one.error for one in found) / max(sum(one.energy for one in found), 1e-30)

    def _lloyd(self, level: int) -> _Found:
        """Assign, move the codewords to the means of what they code, and decode; one subspace."""
        columns = slice(level * self._size, (level + 1) * self._size)
        part = np.ascontiguousarray(self._turned[:, columns])
        book = self.codebooks[level]
        labels, distances = nearest(part, book)
        own_sums, own_counts = cluster_sums(part, labels, len(book))
        energy = float(np.vdot(part, part))
        sums, counts = self._sums[level], self._counts[level]
        sums *= DECAY
        sums += own_sums
        counts *= DECAY
        counts += own_counts.astype(np.float32)
        used = counts > LEAST_ROWS
        moved = book.copy()
        moved[used] = sums[used] / counts[used, None]
        self.codebooks[level] = moved
        self._decoded[:, columns] = np.take(moved, labels, axis=0, out=part, mode="clip")
        return _Found(float(distances.sum(dtype=np.float64)), energy)

    def procrustes(self) -> Float32:
        """The turn that brings the rows seen nearest to their codewords."""
        self._cross *= DECAY
        for cross in self._over_rows(lambda part: self._centred[part].T @ self._decoded[part]):
            self._cross += self._axes @ cross[:, self._kept]
        left, _, right = scipy.linalg.svd(self._cross, check_finite=False)
        return np.ascontiguousarray(left @ right)

    def _over_rows(self, function: Callable[[slice], R]) -> list[R]:
        """`function` of each of `PIECES` parts of the rows, on all threads.

        Sums over the parts then add up in one order at any thread count.
        """
        return list(parallel_map(function, equal_slices(len(self._centred), PIECES)))


def _kept(transform: DQTransform) -> npt.NDArray[np.bool_]:
    """Which axes are no padding."""
    return np.asarray(transform.components_.any(axis=1))


def _turned(transform: DQTransform, turn: Float32) -> DQTransform:
    """A copy of `transform` with its axes turned, and the variances that they then have."""
    exact = scipy.linalg.qr(turn.astype(np.float64))[0]
    exact *= np.sign(np.sum(exact * turn, axis=0))  # the orthonormal matrix nearest in float64
    kept = _kept(transform)
    made = copy.copy(transform)
    made.components_ = transform.components_.copy()
    made.components_[kept] = exact.T @ transform.components_[kept]
    made.variances_ = np.zeros(len(kept))
    # Principal axes are uncorrelated, so that their variances add up along any other axis.
    made.variances_[kept] = transform.variances_[kept] @ exact**2
    made.subspace_variances_ = made.variances_.reshape(transform.n_subspaces, -1).sum(axis=1)
    made.imbalance_ = imbalance(made.variances_, transform.n_subspaces, transform.balance)
    return made
