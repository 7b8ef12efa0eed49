"""Where L_R = L_C holds, and the controls where it must not."""

from __future__ import annotations

import numpy as np

from dqindex._types import Float64, Progress
from dqindex.claim.objective import (
    Codewords,
    Float,
    Frame,
    assign,
    codebook_gradient,
    codebook_loss,
    reconstruction_gradient,
    reconstruction_loss,
)
from dqindex.claim.pq import pq_codewords
from dqindex.claim.verdict import Section
from dqindex.quantizer.transform import DQTransform

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
# A control has failed as it must when it is off by orders of magnitude more than any tolerance.
CONTROL = 1e-3
# A vector that is coded all but exactly has no relative error worth the name: what is left of it is
# rounding, eps ‖z‖ / ‖ẑ - z‖. Below this share of the mean energy E‖z - z̄‖², the error is taken
# relative to that share.
FLOOR = {"float64": 1e-4, "float32": 1e-2}


def relative_gap(
    z: Float, codewords: Codewords, frame: Frame, energy: float, dropped: Float | float = 0.0
) -> Float64:
    """|L_R - L_C - dropped| / L_R of every row, in the precision of `z`: (n,)."""
    gaps = []
    floor = FLOOR[z.dtype.name] * energy
    for start in range(0, len(z), 8192):
        block = z[start : start + 8192]
        codes = assign(frame.project(block), codewords)
        left = reconstruction_loss(block, codes, codewords, frame).astype(np.float64)
        right = codebook_loss(block, codes, codewords, frame).astype(np.float64)
        extra = dropped if isinstance(dropped, float) else dropped[start : start + 8192]
        gaps.append(np.abs(left - right - extra) / np.maximum(left, floor))
    return np.concatenate(gaps)


def _without_padding(frame: Frame, codewords: Codewords) -> Codewords:
    """Zero where W has no column: such a coordinate is no part of any codeword of width d / L."""
    real = frame.axes.any(axis=0).reshape(frame.n_subspaces, 1, -1)
    return np.where(real, codewords, 0.0)


def _energy(z: Float64) -> float:
    return float(max(z.var(axis=0).sum(), np.finfo(np.float64).tiny))


def identity(
    z: Float64,
    frame: Frame,
    pq: Codewords,
    trained: Codewords,
    dropped: int,
    rng: np.random.Generator,
    report: Progress,
) -> Section:
    """The two losses, vector by vector, for codebooks of several origins."""
    section = Section("Identity: L_R = L_C for every vector and every codebook")
    gram = frame.axes.T @ frame.axes
    padding = ~frame.axes.any(axis=0)
    gram[padding, padding] = 1.0
    section.below("largest entry of WᵀW - I", float(np.abs(gram - np.eye(len(gram))).max()), 1e-10)
    section.below("directions that W lacks", float(dropped), 0, "full rank is needed")
    energy = _energy(z)
    spread = np.sqrt(energy / z.shape[1])
    codebooks = {
        "random codebooks": _without_padding(frame, rng.normal(size=pq.shape) * spread),
        "PQ codebooks": pq,
        "SGD-trained codebooks": trained,
        "codebooks far from the data": _without_padding(frame, pq + 10 * spread),
    }
    for done, (name, codewords) in enumerate(codebooks.items()):
        report("identity", done, len(codebooks))
        for precision, tolerance in TOLERANCE.items():
            dtype = np.dtype(precision)
            cast = Frame(frame.mean.astype(dtype), frame.axes.astype(dtype), frame.n_subspaces)
            gap = relative_gap(z.astype(dtype), codewords.astype(dtype), cast, energy)
            section.below(
                f"{name}, {precision}: worst vector",
                float(gap.max()),
                tolerance,
                f"mean {gap.mean():.1e}",
            )
    return section


def gradients(z: Float64, frame: Frame, codewords: Codewords, rng: np.random.Generator) -> Section:
    """Both gradients by their own route, at codewords that are no optimum."""
    section = Section("Gradients: ∇L_R = ∇L_C for every codeword")
    moved = codewords + rng.normal(size=codewords.shape) * codewords.std()
    moved = _without_padding(frame, moved)
    codes = assign(frame.project(z), moved)
    long_way = reconstruction_gradient(z, codes, moved, frame)
    short_way = codebook_gradient(z, codes, moved, frame)
    scale = float(np.abs(short_way).max())
    section.below(
        "largest difference, relative to the largest gradient",
        float(np.abs(long_way - short_way).max()) / scale,
        1e-10,
    )
    used = np.argwhere(np.abs(short_way) > 1e-6 * scale)
    probes = used[rng.choice(len(used), min(24, len(used)), replace=False)]
    step = 1e-3 * float(moved.std())
    for name, loss, gradient in (
        ("∇L_R", reconstruction_loss, long_way),
        ("∇L_C", codebook_loss, short_way),
    ):
        worst = 0.0
        for place in map(tuple, probes):
            values = []
            for sign in (1, -1):
                shifted = moved.copy()
                shifted[place] += sign * step
                values.append(float(loss(z, codes, shifted, frame).mean()))
            slope = (values[0] - values[1]) / (2 * step)
            worst = max(worst, abs(slope - float(gradient[place])))
        section.below(
            f"{name} against central differences, the codes held",
            worst / scale,
            1e-6,
            f"{len(probes)} entries",
        )
    return section


def controls(
    z: Float64, n_subspaces: int, n_codewords: int, seed: int, report: Progress
) -> Section:
    """Cases where the identity must not hold: dropped directions, scaled axes, skewed axes."""
    section = Section("Where it stops holding: the proof that the check can fail")
    energy = _energy(z)
    rng = np.random.default_rng(seed)
    sample = z[rng.permutation(len(z))[:20_000]]
    d = z.shape[1]
    whole = DQTransform(n_subspaces).fit(z)

    def codewords_of(frame: Frame) -> Codewords:
        return pq_codewords(frame, sample[:8192], n_codewords, seed)

    report("controls", 0, 3)
    if d > 1:
        kept = max(1, d // 2)
        part = Frame.of(DQTransform(n_subspaces, n_components=kept).fit(z))
        codewords = codewords_of(part)
        centred = sample - part.mean
        lost = ((centred - centred @ part.axes @ part.axes.T) ** 2).sum(axis=1)
        section.below(
            f"{kept} of {d} axes kept: |L_R - L_C - dropped energy| / L_R",
            float(relative_gap(sample, codewords, part, energy, lost).max()),
            TOLERANCE["float64"],
            "exact, once what is dropped is counted",
        )
        if lost.mean() > FLOOR["float64"] * energy:
            section.above(
                f"{kept} of {d} axes kept: |L_R - L_C| / L_R",
                float(relative_gap(sample, codewords, part, energy).mean()),
                CONTROL,
                "must differ",
            )
    report("controls", 1, 3)
    deviations = np.sqrt(whole.variances_)
    scales = np.where(deviations > 1e-6 * deviations.max(), 1 / np.maximum(deviations, 1e-300), 1.0)
    # In the units of the data, so that the figure does not depend on its scale.
    white = Frame(
        whole.mean_, whole.components_.T * (scales * deviations.mean()), whole.n_subspaces
    )
    if np.ptp(scales * deviations.mean()) > 0.1 or abs(scales[0] * deviations.mean() - 1) > 0.1:
        section.above(
            "whitened axes: |L_R - L_C| / L_R",
            float(relative_gap(sample, codewords_of(white), white, energy).mean()),
            CONTROL,
            "must differ",
        )
    report("controls", 2, 3)
    skewed = Frame(whole.mean_, whole.components_.T + 0.1 * _shear(rng, whole), whole.n_subspaces)
    section.above(
        "columns of W not orthonormal: |L_R - L_C| / L_R",
        float(relative_gap(sample, codewords_of(skewed), skewed, energy).mean()),
        CONTROL,
        "must differ",
    )
    return section


def _shear(rng: np.random.Generator, transform: DQTransform) -> Float64:
    d_out, d = transform.components_.shape
    return np.asarray(rng.normal(size=(d, d_out)) / np.sqrt(d))
