"""Train a FAISS index on a sample: rotation, coarse centroids, codebooks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import faiss
import numpy as np

from dqindex._types import Float32, Progress
from dqindex.errors import InputError, SpecError
from dqindex.index.adding import apply_transform, coarse_residuals
from dqindex.index.anatomy import Anatomy, dissect
from dqindex.index.spec import IndexSpec
from dqindex.parallel.pieces import pieces
from dqindex.parallel.threads import parallel_map
from dqindex.quantizer.codebooks import ProductCodebooks, train_codebooks
from dqindex.quantizer.kmeans import train_kmeans
from dqindex.quantizer.model import DQModel
from dqindex.quantizer.moments import Moments
from dqindex.quantizer.nearest import nearest, nearest_in_pieces
from dqindex.quantizer.polish import POLISH_ROWS, polish
from dqindex.quantizer.transform import DQTransform

log = logging.getLogger(__name__)

COVARIANCES = ("raw", "residual")
# Training vectors a coarse centroid and a codeword, where there are as many. Measured on GloVe
# and on 384-d text embeddings: more changes recall by less than its noise (benchmarks/README.md).
POINTS_PER_CENTROID = 100
POINTS_PER_CODEWORD = 256
POINTS_PER_DIMENSION = 100
COARSE_ITERATIONS = 10
# A random start finds more neighbours than k-means++, which lowers the distortion by serving the
# vectors that lie apart (benchmarks/README.md).
CODEBOOK_START = "random"
CODEBOOK_ITERATIONS = 10
# From the codebooks that polish leaves.
POLISHED_ITERATIONS = 5
BLOCK_ROWS = 16384


class Trained(NamedTuple):
    """What training leaves beside the index itself."""

    transform: DQTransform | None
    model: DQModel | None
    covariance: str | None
    seconds: dict[str, float]


def training_rows(parts: Anatomy, d: int) -> int:
    """Vectors beyond which training uses no more."""
    rows = POINTS_PER_DIMENSION * d
    if parts.ivf is not None:
        rows = max(rows, POINTS_PER_CENTROID * parts.ivf.nlist)
    if parts.pq is not None:
        rows = max(rows, POINTS_PER_CODEWORD * max(parts.pq.ksub, 256))
    return max(rows, POINTS_PER_CODEWORD * 256)


def least_rows(parts: Anatomy) -> int:
    """Vectors without which FAISS can't train."""
    needs = [1]
    if parts.ivf is not None:
        needs.append(parts.ivf.nlist)
    if parts.pq is not None:
        needs.append(parts.pq.ksub)
    return max(needs)


def check_covariance(spec: IndexSpec, parts: Anatomy, covariance: str | None) -> str | None:
    """Which covariance DQ learns from: what was asked for, else what the index quantises.

    Raises
    ------
    SpecError
        If residuals are asked for and the index has none, or its coarse quantizer can't be
        trained ahead of the rotation.
    """
    if spec.n_subspaces is None:
        if covariance is not None:
            raise SpecError(f"spec {spec.text!r} has no DQ; leave out covariance={covariance!r}")
        return None
    if covariance is not None and covariance not in COVARIANCES:
        raise SpecError(f"covariance {covariance!r}; use one of {', '.join(COVARIANCES)}")
    # Only a quantizer that merely stores centroids can be filled from outside.
    ready = parts.ivf is not None and parts.ivf.quantizer.is_trained
    possible = parts.encodes_residuals and ready
    if covariance == "residual" and not possible:
        raise SpecError(
            f"spec {spec.text!r}: covariance 'residual' needs an IVF that encodes residuals to "
            "coarse centroids found by plain k-means; use 'raw'"
        )
    return covariance or ("residual" if possible else "raw")


def train(
    index: faiss.Index,
    spec: IndexSpec,
    sample: Float32,
    *,
    metric: str = "l2",
    balance: str = "log-variance",
    covariance: str | None = None,
    polish_rounds: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Trained:
    """Train `index` on `sample`, shape (n, d), which may change.

    Raises
    ------
    SpecError
        If `covariance` does not fit the spec.
    InputError
        If the sample is too small for the spec.
    """
    parts = dissect(index)
    covariance = check_covariance(spec, parts, covariance)
    if len(sample) < least_rows(parts):
        raise InputError(
            f"spec {spec.text!r} needs at least {least_rows(parts)} vectors to train, there are "
            f"{len(sample)}; use fewer lists or codewords"
        )
    return _Training(
        index, spec, parts, metric, balance, covariance, polish_rounds, seed, progress
    ).run(sample)


@dataclass
class _Training:
    """One run of `train`; the steps share their settings, and what they have learned."""

    index: faiss.Index
    spec: IndexSpec
    parts: Anatomy
    metric: str
    balance: str
    covariance: str | None
    polish_rounds: int
    seed: int
    progress: Progress | None
    seconds: dict[str, float] = field(default_factory=dict)
    coarse: Float32 | None = None
    transform: DQTransform | None = None
    codebooks: list[Float32] | None = None

    def run(self, sample: Float32) -> Trained:
        parts = self.parts
        x = sample
        # For cosine, make_index put the normalisation first.
        dq_place = self.spec.position + (self.metric == "cosine") if self.spec.position >= 0 else -1
        for place, link in enumerate(parts.chain):
            if place == dq_place:
                x = self._rotate(x, link)
                continue
            with self._step("rotation"):
                if not link.is_trained:
                    link.train(x)
                x = apply_transform(link, x)
        if parts.ivf is not None:
            self._train_coarse(x)
        model = self._train_core(x)
        if parts.refine is not None:
            with self._step("refine"):
                refined = sample
                if self.metric == "cosine":
                    refined = apply_transform(parts.chain[0], sample)
                parts.refine.refine_index.train(refined)
        _mark_trained(self.index)
        return Trained(self.transform, model, self.covariance, self.seconds)

    def _step(self, name: str) -> _Step:
        if self.progress is not None:
            self.progress(f"train {name}", 0, 0)
        return _Step(self.seconds, name)

    def _rotate(self, x: Float32, link: Any) -> Float32:
        """Learn DQ on `x` and write it into `link`, the OPQ that holds its place."""
        moments: Moments | None = None
        if self.covariance == "residual":
            with self._step("coarse"):
                centroids, _ = self._coarse_kmeans(x)
                self.coarse = centroids
            with self._step("rotation"):
                moments = self._residual_moments(x, centroids)
        with self._step("rotation"):
            transform = DQTransform(
                int(self.spec.n_subspaces or 1),
                n_components=self.spec.n_components,
                balance=self.balance,
                center=self.metric != "ip" and self.covariance != "residual",
            )
            if moments is None:
                moments = _moments(x)
            transform.fit_moments(moments)
        if self.polish_rounds:
            with self._step("polish"):
                rows = _subset(x, POLISH_ROWS, self.seed + 3)
                if self.coarse is not None:
                    lists, _ = nearest_in_pieces(
                        rows, self.coarse, inner_product=self.metric == "ip"
                    )
                    rows = rows - self.coarse[lists]
                transform, self.codebooks = polish(
                    transform, rows, self.parts.pq.ksub, rounds=self.polish_rounds, seed=self.seed
                )
        with self._step("rotation"):
            linear = transform.to_faiss()
            link.A, link.b, link.have_bias = linear.A, linear.b, linear.have_bias
            link.is_trained = True
            self.transform = transform
            # A refinement is trained on what came in; else the sample is ours to turn.
            return apply_transform(link, x, in_place=self.parts.refine is None)

    def _coarse_kmeans(self, x: Float32) -> tuple[Float32, int]:
        ivf = self.parts.ivf
        rows = max(POINTS_PER_CENTROID * ivf.nlist, POINTS_PER_CODEWORD)
        return train_kmeans(
            _subset(x, rows, self.seed),
            ivf.nlist,
            n_iter=COARSE_ITERATIONS,
            # Here k-means++ gains nothing: 0.1 % less distortion at best, on three sets.
            init="random",
            seed=self.seed,
            spherical=bool(ivf.cp.spherical),
        )

    def _residual_moments(self, x: Float32, centroids: Float32) -> Moments:
        rows = _subset(x, max(POINTS_PER_DIMENSION * x.shape[1], 65536), self.seed + 1)

        def residuals(start: int) -> Moments:
            block = rows[start : start + BLOCK_ROWS]
            lists, _ = nearest(block, centroids, inner_product=self.metric == "ip")
            return Moments(x.shape[1]).update(block - centroids[lists])

        return _merged(residuals, len(rows), x.shape[1])

    def _train_coarse(self, x: Float32) -> None:
        ivf = self.parts.ivf
        quantizer = faiss.downcast_index(ivf.quantizer)
        with self._step("coarse"):
            if not quantizer.is_trained:
                # It learns codes of its own (IMI, PQ); FAISS knows how.
                x = np.ascontiguousarray(x)
                ivf.train_q1(len(x), faiss.swig_ptr(x), False, ivf.metric_type)
                return
            if self.coarse is None:
                centroids, _ = self._coarse_kmeans(x)
            elif self.transform is not None:
                centroids = apply_transform(self.transform.to_faiss(), self.coarse)
            # The same cluster may stand twice (few distinct vectors); FAISS can live with that.
            quantizer.add(np.ascontiguousarray(centroids))

    def _train_core(self, x: Float32) -> DQModel | None:
        core, pq = self.parts.core, self.parts.pq
        holder = faiss.downcast_index(core.storage) if hasattr(core, "storage") else core
        if hasattr(holder, "do_polysemous_training"):
            # Polysemous codes permute the codewords and serve no search that is offered here.
            holder.do_polysemous_training = False
        if core.is_trained and pq is None:
            return None
        with self._step("codebooks"):
            if pq is None:
                core.train(x)
                return None
            codebooks = self._train_codebooks(x)
            stacked = np.stack(codebooks.codebooks_)
            faiss.copy_array_to_vector(stacked.ravel(), pq.centroids)
            # FAISS's own training then finds the codewords in place and only sets its tables.
            pq.train_type = faiss.ProductQuantizer.Train_hot_start
            pq.cp.niter = 0
            pq.cp.min_points_per_centroid = 1
            if hasattr(core, "use_precomputed_table"):
                # The table that speeds up searching takes memory that training needs; see build.
                core.use_precomputed_table = -1
            # With exactly ksub vectors it would take those instead: one more, repeated if need be.
            least = pq.ksub + 1
            rows = x[:least] if type(core).__name__ in SIMPLE_CORES else x
            if len(rows) < least:
                rows = np.resize(rows, (least, x.shape[1]))
            core.train(np.ascontiguousarray(rows))
            pq.train_type = faiss.ProductQuantizer.Train_default
        if self.transform is None or self.spec.position != 0:
            return None
        if self.parts.encodes_residuals and self.coarse is None:
            return None
        coarse = [] if self.coarse is None else [self.coarse]
        return DQModel.from_parts(self.transform, codebooks, coarse)

    def _train_codebooks(self, x: Float32) -> ProductCodebooks:
        pq = self.parts.pq
        codebooks = ProductCodebooks(
            pq.M,
            pq.ksub,
            seed=self.seed,
            n_iter=CODEBOOK_ITERATIONS if self.codebooks is None else POLISHED_ITERATIONS,
            init=CODEBOOK_START,
            max_points_per_codeword=POINTS_PER_CODEWORD * max(1, 256 // pq.ksub),
        )
        rows = _subset(x, codebooks.training_rows(), self.seed + 2)
        if self.parts.encodes_residuals:
            quantizer = faiss.downcast_index(self.parts.ivf.quantizer)
            rows = np.concatenate(
                list(
                    parallel_map(
                        lambda part: coarse_residuals(quantizer, rows[part])[1],
                        pieces(len(rows), rows.shape[1]),
                    )
                )
            )
        return train_codebooks(codebooks, rows, start=self.codebooks)


# Cores whose training is the codebooks alone: once those are in place, few vectors suffice.
SIMPLE_CORES = ("IndexPQ", "IndexPQFastScan", "IndexIVFPQ", "IndexIVFPQFastScan")


class _Step:
    """Adds the time of a block to ``seconds[name]``."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        spent = time.perf_counter() - self._began
        self._seconds[self._name] = self._seconds.get(self._name, 0.0) + spent


def _subset(x: Float32, rows: int, seed: int) -> Float32:
    if rows >= len(x):
        return x
    chosen = np.random.default_rng(seed).choice(len(x), rows, replace=False, shuffle=False)
    return x[np.sort(chosen)]


def _moments(x: Float32) -> Moments:
    return _merged(
        lambda start: Moments(x.shape[1]).update(x[start : start + BLOCK_ROWS]), len(x), x.shape[1]
    )


def _merged(moments: Callable[[int], Moments], n: int, d: int) -> Moments:
    total = Moments(d)
    for part in parallel_map(moments, range(0, n, BLOCK_ROWS)):
        total.merge(part)
    return total


def _mark_trained(index: faiss.Index) -> None:
    """Tell the wrappers, from the inside out, that their parts are trained."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        _mark_trained(index.index)
        index.is_trained = True
    elif isinstance(index, faiss.IndexRefine):
        _mark_trained(index.base_index)
        index.is_trained = True
