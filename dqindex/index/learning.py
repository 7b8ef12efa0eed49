"""What training learns from a sample: coarse centroids, the rotation, the codebooks.

Each function returns what it finds; `dqindex.index.installing` writes that into the FAISS index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import faiss
import numpy as np

from dqindex._types import Float32
from dqindex.index.adding import coarse_residuals
from dqindex.index.anatomy import Anatomy
from dqindex.index.score_aware import origin_of
from dqindex.index.spec import IndexSpec
from dqindex.index.steps import Steps
from dqindex.parallel.pieces import pieces
from dqindex.parallel.threads import parallel_map
from dqindex.quantizer.codebooks import ProductCodebooks, train_codebooks
from dqindex.quantizer.kmeans import train_kmeans
from dqindex.quantizer.moments import Moments
from dqindex.quantizer.nearest import nearest, nearest_in_pieces
from dqindex.quantizer.polish import POLISH_ROWS, polish
from dqindex.quantizer.score_aware import directions, train_score_aware
from dqindex.quantizer.transform import DQTransform

# Training vectors a coarse centroid and a codeword, where there are as many. Measured on GloVe
# and on 384-d text embeddings: more changes recall by less than its noise (docs/no-gain.md).
POINTS_PER_CENTROID = 100
POINTS_PER_CODEWORD = 256
POINTS_PER_DIMENSION = 100
COARSE_ITERATIONS = 10
# A random start finds more neighbours than k-means++, which lowers the distortion by serving the
# vectors that lie apart (docs/no-gain.md).
CODEBOOK_START = "random"
CODEBOOK_ITERATIONS = 10
# From the codebooks that polish leaves.
POLISHED_ITERATIONS = 5
BLOCK_ROWS = 16384
# Training vectors a codeword of score-aware codes, and of all codewords.
AWARE_POINTS, LEAST_AWARE_ROWS = 128, 8192


@dataclass(frozen=True)
class Settings:
    """How an index is trained.

    Attributes
    ----------
    spec : IndexSpec
    metric : {"l2", "ip", "cosine"}
    balance : {"log-variance", "variance"}
    covariance : {"raw", "residual"} or None
        None without a DQ.
    polish : int
        Rounds, at most.
    seed : int
    score_aware : float
        Weight of an error along a vector; 1 for codes of the nearest codewords.
    """

    spec: IndexSpec
    metric: str = "l2"
    balance: str = "log-variance"
    covariance: str | None = None
    polish: int = 0
    seed: int = 0
    score_aware: float = 1.0

    @property
    def inner_product(self) -> bool:
        """Whether the largest product is nearest."""
        return self.metric == "ip"

    @property
    def dq_place(self) -> int:
        """Place of DQ in the chain of transforms, from 0; -1 without one."""
        # For cosine, make_index puts the normalisation first.
        return self.spec.position + (self.metric == "cosine") if self.spec.position >= 0 else -1


class Rotation(NamedTuple):
    """What stands in place of the DQ word, and what was learned on the way to it.

    Attributes
    ----------
    transform : DQTransform
    coarse : (nlist, d) float32 or None
        Centroids of the vectors before the rotation, where it was learned from residuals.
    codebooks : list of arrays or None
        Those that polish leaves.
    """

    transform: DQTransform
    coarse: Float32 | None
    codebooks: list[Float32] | None


def learn_rotation(x: Float32, parts: Anatomy, settings: Settings, steps: Steps) -> Rotation:
    """Learn DQ on `x`, the vectors as they reach its place in the chain."""
    coarse = None
    if settings.covariance == "residual":
        coarse = learn_coarse(x, parts, settings.seed, steps)
    with steps.step("rotation", len(x)):
        transform = DQTransform(
            int(settings.spec.n_subspaces or 1),
            n_components=settings.spec.n_components,
            balance=settings.balance,
            center=not settings.inner_product and coarse is None,
        )
        transform.fit_moments(
            moments_of(x) if coarse is None else residual_moments(x, coarse, settings)
        )
    if not settings.polish:
        return Rotation(transform, coarse, None)
    rows = subset(x, POLISH_ROWS, settings.seed + 3)
    with steps.step("polish", len(rows)):
        if coarse is not None:
            lists, _ = nearest_in_pieces(rows, coarse, inner_product=settings.inner_product)
            rows = rows - coarse[lists]
        polished = polish(
            transform, rows, parts.pq.ksub, rounds=settings.polish, seed=settings.seed
        )
    return Rotation(polished.transform, coarse, polished.codebooks)


def learn_coarse(x: Float32, parts: Anatomy, seed: int, steps: Steps) -> Float32:
    """Centroids of the inverted lists, shape (nlist, d).

    The same centroid may stand twice, where there are few distinct vectors.
    """
    ivf = parts.ivf
    rows = subset(x, max(POINTS_PER_CENTROID * ivf.nlist, POINTS_PER_CODEWORD), seed)
    with steps.step("coarse", len(rows)):
        centroids, _ = train_kmeans(
            rows,
            ivf.nlist,
            n_iter=COARSE_ITERATIONS,
            # Here k-means++ gains nothing: 0.1 % less distortion at best, on three sets.
            init="random",
            seed=seed,
            spherical=bool(ivf.cp.spherical),
        )
    return centroids


def learn_codebooks(
    x: Float32,
    parts: Anatomy,
    start: list[Float32] | None,
    seed: int,
    steps: Steps,
    eta: float = 1.0,
) -> ProductCodebooks:
    """Codebooks for what the PQ of `parts`, whose coarse quantizer is ready, encodes of `x`.

    Parameters
    ----------
    start : list of arrays or None
        Codebooks to start from.
    eta : float
        Weight of `dqindex.quantizer.score_aware`.
    """
    pq = parts.pq
    codebooks = ProductCodebooks(
        pq.M,
        pq.ksub,
        seed=seed,
        n_iter=CODEBOOK_ITERATIONS if start is None else POLISHED_ITERATIONS,
        init=CODEBOOK_START,
        max_points_per_codeword=POINTS_PER_CODEWORD * max(1, 256 // pq.ksub),
    )
    with steps.step("codebooks", pq.M):
        rows = subset(x, codebooks.training_rows(), seed + 2)
        if parts.encodes_residuals:
            rows = _residuals(rows, faiss.downcast_index(parts.ivf.quantizer))
        train_codebooks(
            codebooks,
            rows,
            start=start,
            progress=lambda _, done, total: steps.tell("codebooks", done, total),
        )
    if eta > 1:
        with steps.step("score-aware codebooks", pq.M):
            _weigh_scores(codebooks, x, parts, seed, eta)
    return codebooks


def _weigh_scores(
    codebooks: ProductCodebooks, x: Float32, parts: Anatomy, seed: int, eta: float
) -> None:
    """Move the codewords to where score-aware codes lose least."""
    rows = subset(x, max(AWARE_POINTS * parts.pq.ksub, LEAST_AWARE_ROWS), seed + 4)
    along = directions(rows - origin_of(parts.chain), eta)
    if parts.encodes_residuals:
        rows = _residuals(rows, faiss.downcast_index(parts.ivf.quantizer))
    codebooks.codebooks_ = train_score_aware(rows, along, codebooks.codebooks_)


def _residuals(rows: Float32, quantizer: faiss.Index) -> Float32:
    parts = parallel_map(
        lambda part: coarse_residuals(quantizer, rows[part])[1], pieces(len(rows), rows.shape[1])
    )
    return np.concatenate(list(parts))


def residual_moments(x: Float32, centroids: Float32, settings: Settings) -> Moments:
    """Moments of what the nearest centroids leave over."""
    rows = subset(x, max(POINTS_PER_DIMENSION * x.shape[1], 65536), settings.seed + 1)

    def residuals(block: Float32) -> Float32:
        lists, _ = nearest(block, centroids, inner_product=settings.inner_product)
        return block - centroids[lists]

    return moments_of(rows, residuals)


def moments_of(x: Float32, function: Callable[[Float32], Float32] | None = None) -> Moments:
    """Moments of `x`, or of a function of its rows; the same at any thread count."""

    def moments(start: int) -> Moments:
        block = x[start : start + BLOCK_ROWS]
        return Moments(x.shape[1]).update(block if function is None else function(block))

    total = Moments(x.shape[1])
    for part in parallel_map(moments, range(0, len(x), BLOCK_ROWS)):
        total.merge(part)
    return total


def subset(x: Float32, rows: int, seed: int) -> Float32:
    """`rows` of the rows of `x`, drawn at random, in their order; `x` itself if it has no more."""
    if rows >= len(x):
        return x
    chosen = np.random.default_rng(seed).choice(len(x), rows, replace=False, shuffle=False)
    return x[np.sort(chosen)]
