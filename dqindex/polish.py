"""OPQ rounds from a DQ start: the rotation that k-means and Procrustes agree on.

Ge et al., "Optimized Product Quantization", TPAMI 2014, section 3.2 (the non-parametric solution)
alternates codebooks and rotation from a random start, fifty rounds in FAISS. From the principal
axes few rounds are left to do, each with one Lloyd step, and the codes of that step serve for the
rotation as well.
"""

from __future__ import annotations

import copy

import numpy as np
import scipy.linalg

from dqindex.codebooks import ProductCodebooks
from dqindex.nearest import nearest
from dqindex.threads import map_single_threaded, single_blas_thread
from dqindex.transform import DQTransform
from dqindex.vectors.convert import Float32

# Rows that a round looks at, and the share of the distortion below which a round's gain ends it.
POLISH_ROWS = 16384
LEAST_GAIN = 5e-4


def polish(
    transform: DQTransform,
    X: Float32,
    n_codewords: int | list[int] = 256,
    *,
    rounds: int = 20,
    seed: int = 0,
) -> DQTransform:
    """A copy of `transform` whose axes are turned to lower the distortion of a PQ.

    Parameters
    ----------
    transform : DQTransform
        Fitted. Padding axes stay where they are.
    X : (n, d) float32
        Vectors to learn from; `POLISH_ROWS` of them are used, or 32 a codeword if that is more.
    n_codewords : int or list of L ints
        Codewords of each subspace.
    rounds : int
        At most; fewer once a round gains less than `LEAST_GAIN` of the distortion.
    seed : int
        Of the sample and the codebooks.

    Returns
    -------
    DQTransform
        With `components_`, `variances_` and `subspace_variances_` of the new axes.
    """
    start = ProductCodebooks(transform.n_subspaces, n_codewords, seed=seed, n_iter=4)
    rows = max(POLISH_ROWS, 32 * max(start.sizes()))
    if len(X) > rows:
        chosen = np.random.default_rng(seed).choice(len(X), rows, replace=False)
        X = X[np.sort(chosen)]
    y: Float32 = transform.transform(X).astype(np.float32, copy=False)
    real = transform.components_.any(axis=1)
    books = start.fit(y).codebooks_
    turn = np.eye(int(real.sum()), dtype=np.float32)
    turned, before = y, np.inf
    for _ in range(rounds):
        books, decoded, distortion = _lloyd_step(turned, books)
        if before - distortion < LEAST_GAIN * before:
            break
        before = distortion
        # Procrustes: the orthonormal map of y that comes nearest to what was decoded.
        with single_blas_thread():
            left, _, right = scipy.linalg.svd(y[:, real].T @ decoded[:, real])
            turn = np.ascontiguousarray(left @ right)
            turned = y.copy()
            turned[:, real] = y[:, real] @ turn
    made = copy.copy(transform)
    made.components_ = transform.components_.copy()
    exact = scipy.linalg.qr(turn.astype(np.float64))[0]
    exact *= np.sign(np.sum(exact * turn, axis=0))  # the orthonormal matrix nearest in float64
    made.components_[real] = exact.T @ transform.components_[real]
    made.variances_ = turned.var(axis=0, dtype=np.float64)
    made.subspace_variances_ = made.variances_.reshape(transform.n_subspaces, -1).sum(axis=1)
    made.imbalance_ = float(made.subspace_variances_.max() / made.subspace_variances_.mean() - 1)
    return made


def _lloyd_step(y: Float32, books: list[Float32]) -> tuple[list[Float32], Float32, float]:
    """Codewords moved to the means of what they code, the rows decoded by them, the distortion."""
    size = books[0].shape[1]
    decoded = np.empty_like(y)

    def one(level: int) -> tuple[Float32, float]:
        part = np.ascontiguousarray(y[:, level * size : (level + 1) * size])
        labels, _ = nearest(part, books[level])
        counts = np.bincount(labels, minlength=len(books[level]))
        sums = np.stack(
            [np.bincount(labels, weights=column, minlength=len(counts)) for column in part.T],
            axis=1,
        )
        used = counts > 0
        book = books[level].copy()
        book[used] = sums[used] / counts[used, None]
        decoded[:, level * size : (level + 1) * size] = book[labels]
        return book, float(((book[labels] - part) ** 2).sum(dtype=np.float64))

    moved = list(map_single_threaded(one, range(len(books))))
    return [book for book, _ in moved], decoded, sum(error for _, error in moved)
