"""Train a FAISS index on a sample: rotation, coarse centroids, codebooks."""

from __future__ import annotations

from typing import NamedTuple

import faiss
import numpy as np

from dqindex._types import Float32, Progress, no_progress
from dqindex.errors import InputError, SpecError
from dqindex.index.adding import apply_transform
from dqindex.index.anatomy import Anatomy, dissect
from dqindex.index.installing import install_codebooks, install_rotation, mark_trained, uncentre
from dqindex.index.learning import (
    POINTS_PER_CENTROID,
    POINTS_PER_CODEWORD,
    POINTS_PER_DIMENSION,
    Rotation,
    Settings,
    learn_coarse,
    learn_codebooks,
    learn_rotation,
)
from dqindex.index.quiet import enough, silence, train_opq
from dqindex.index.spec import IndexSpec
from dqindex.index.steps import Steps
from dqindex.quantizer.codebooks import ProductCodebooks
from dqindex.quantizer.model import DQModel
from dqindex.quantizer.transform import DQTransform

COVARIANCES = ("raw", "residual")


class Trained(NamedTuple):
    """What training leaves beside the index itself."""

    transform: DQTransform | None
    model: DQModel | None
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
    needs += [parts.pq.ksub] if parts.pq is not None else [2**bits for bits in parts.additive_bits]
    if parts.refine is not None:
        needs.append(least_rows(dissect(parts.refine.refine_index)))
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
    # Only a quantizer that merely stores centroids can be filled from outside.
    ready = parts.ivf is not None and parts.ivf.quantizer.is_trained
    possible = parts.encodes_residuals and ready
    if covariance == "residual" and not possible:
        raise SpecError(
            f"spec {spec.text!r}: covariance 'residual' needs an IVF that encodes residuals to "
            "coarse centroids found by plain k-means; use 'raw'"
        )
    return covariance or ("residual" if possible else "raw")


def check_rows(spec: IndexSpec, parts: Anatomy, n: int, what: str) -> None:
    """Refuse vectors that are too few to train on.

    Raises
    ------
    InputError
    """
    if n < least_rows(parts):
        raise InputError(
            f"{what}: {n} vectors are too few for {spec.text!r}, which needs at least "
            f"{least_rows(parts)}; use fewer lists or codewords"
        )


def train(
    index: faiss.Index, sample: Float32, settings: Settings, progress: Progress | None = None
) -> Trained:
    """Train `index` on `sample`, shape (n, d), which may change.

    Raises
    ------
    InputError
        If the sample is too small for the spec.
    """
    parts = dissect(index)
    check_rows(settings.spec, parts, len(sample), "training sample")
    steps = Steps(progress or no_progress)
    x, rotation = _train_chain(sample, parts, settings, steps)
    if parts.ivf is not None:
        _train_quantizer(x, parts, rotation, settings.seed, steps)
    codebooks = _train_core(x, parts, rotation, settings.seed, steps, settings.score_aware)
    if parts.refine is not None:
        with steps.step("refine", len(sample)):
            refined = sample
            if settings.metric == "cosine":
                refined = apply_transform(parts.chain[0], sample)
            _train_refinement(refined, parts, settings.seed)
    mark_trained(index)
    return Trained(
        None if rotation is None else rotation.transform,
        _model(parts, settings, rotation, codebooks),
        steps.seconds,
    )


def _train_chain(
    x: Float32, parts: Anatomy, settings: Settings, steps: Steps
) -> tuple[Float32, Rotation | None]:
    """Train the transforms one after another; the vectors as they leave the last."""
    rotation = None
    for place, link in enumerate(parts.chain):
        if place == settings.dq_place:
            rotation = learn_rotation(x, parts, settings, steps)
            install_rotation(link, rotation.transform)
        with steps.step("rotation", len(x)):
            if not link.is_trained:
                if isinstance(link, faiss.OPQMatrix):
                    train_opq(link, x)
                else:
                    link.train(x)
                if settings.inner_product:
                    uncentre(link)
            # A refinement is trained on what came in; else the sample is ours to turn.
            own = place == settings.dq_place and parts.refine is None
            x = apply_transform(link, x, in_place=own)
    return x, rotation


def _train_quantizer(
    x: Float32, parts: Anatomy, rotation: Rotation | None, seed: int, steps: Steps
) -> None:
    """Fill the coarse quantizer, with the centroids that the rotation was learned from if any."""
    ivf = parts.ivf
    quantizer = faiss.downcast_index(ivf.quantizer)
    if not quantizer.is_trained:
        # It learns codes of its own (IMI, PQ); FAISS knows how.
        with steps.step("coarse", len(x)):
            x = np.ascontiguousarray(x)
            silence(parts)
            ivf.train_q1(len(x), faiss.swig_ptr(x), False, ivf.metric_type)
        return
    if rotation is None or rotation.coarse is None:
        centroids = learn_coarse(x, parts, seed, steps)
    else:
        centroids = apply_transform(rotation.transform.to_faiss(), rotation.coarse)
    with steps.step("coarse", len(centroids)):
        quantizer.add(np.ascontiguousarray(centroids))


def _train_core(
    x: Float32,
    parts: Anatomy,
    rotation: Rotation | None,
    seed: int,
    steps: Steps,
    eta: float = 1.0,
) -> ProductCodebooks | None:
    """Train what stores the vectors; the codebooks, where it is a PQ."""
    if parts.pq is None:
        if not parts.core.is_trained:
            with steps.step("codebooks", len(x)):
                silence(parts)
                parts.core.train(enough(x, parts))
        return None
    start = None if rotation is None else rotation.codebooks
    codebooks = learn_codebooks(x, parts, start, seed, steps, eta)
    with steps.step("codebooks", parts.pq.M):
        silence(parts)
        install_codebooks(parts, codebooks.codebooks_, x)
    return codebooks


def _train_refinement(x: Float32, parts: Anatomy, seed: int) -> None:
    """Train what ranks anew; `x` as it reaches that."""
    inner = dissect(parts.refine.refine_index)
    _train_core(x, inner, None, seed, Steps(no_progress))


def _model(
    parts: Anatomy,
    settings: Settings,
    rotation: Rotation | None,
    codebooks: ProductCodebooks | None,
) -> DQModel | None:
    """The model whose codewords the codes of the index name; None where no model has them."""
    if rotation is None or codebooks is None or settings.spec.position != 0:
        return None
    if parts.encodes_residuals and rotation.coarse is None:
        return None
    coarse = [] if rotation.coarse is None else [rotation.coarse]
    return DQModel.from_parts(rotation.transform, codebooks, coarse)
