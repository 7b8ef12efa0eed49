"""The note's claim, measured: L_R = L_C, so training DQ-VAE is training a PQ.

Each section gives figures with a tolerance and a verdict. Controls, where the identity must not
hold, are part of it: a check that can't fail shows nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex.codebooks import ProductCodebooks
from dqindex.dqvae import (
    DQVAE,
    Codewords,
    Float,
    Float64,
    Frame,
    assign,
    codebook_gradient,
    codebook_loss,
    reconstruction_gradient,
    reconstruction_loss,
)
from dqindex.errors import InputError
from dqindex.estimator import check_matrix
from dqindex.transform import DQTransform
from dqindex.verdict import Report, Section

Progress = Callable[[str, int, int], None]
Codes = npt.NDArray[np.int64]

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
# A control has failed as it must when it is off by orders of magnitude more than any tolerance.
CONTROL = 1e-3
# A vector that is coded all but exactly has no relative error worth the name: what is left of it is
# rounding, eps ‖z‖ / ‖ẑ - z‖. Below this share of the mean energy E‖z - z̄‖², the error is taken
# relative to that share.
FLOOR = {"float64": 1e-4, "float32": 1e-2}
BETAS = (0.0, 0.25, 1.0, 10.0)
EPOCHS = (5, 20)
# PQ is as good as DQ-VAE if no run of DQ-VAE is lower than it by more than this.
AS_GOOD = 0.02
HELD_OUT = 0.2


def validate(
    X: Any,
    *,
    n_subspaces: int = 8,
    n_codewords: int = 256,
    train_rows: int = 20_000,
    transform: DQTransform | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Measure every part of the claim on `X`.

    Parameters
    ----------
    X : (n, d) array
        All of it is used for the identity; `train_rows` of it for what is trained.
    n_subspaces, n_codewords : int
        L and K.
    train_rows : int
        Vectors to train on, a fifth of them held out.
    transform : DQTransform, optional
        Fitted; by default one is fitted to `X`. One that is not orthonormal fails, as it must.
    seed : int
    progress : callable, optional
        Called with (what, done, total).

    Returns
    -------
    Report

    Raises
    ------
    InputError, NonFiniteError
        If `X` is not a finite matrix, or has too few rows.
    """
    report = progress or (lambda what, done, total: None)
    z = check_matrix(X, "validate").astype(np.float64)
    need = int(np.ceil(n_codewords / (1 - HELD_OUT))) + 1
    if min(len(z), train_rows) < need:
        raise InputError(
            f"validate: {min(len(z), train_rows)} vectors to train on are too few for "
            f"{n_codewords} codewords; it needs {need}"
        )
    if transform is None:
        transform = DQTransform(n_subspaces).fit(z)
    elif transform.n_subspaces != n_subspaces:
        raise InputError(
            f"validate: transform has {transform.n_subspaces} subspaces, not {n_subspaces}"
        )
    frame = Frame.of(transform)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(z))[:train_rows]
    cut = int(len(rows) * (1 - HELD_OUT))
    train, held = z[rows[:cut]], z[rows[cut:]]
    pq = _pq(frame, train, n_codewords, seed)
    sgd = DQVAE(n_subspaces, n_codewords, optimizer="sgd", n_epochs=EPOCHS[0], seed=seed)
    trained = sgd.fit(train, transform=transform).codewords_
    sections = [
        _identity(z, frame, pq, trained, transform.dropped_, rng, report),
        _gradients(train[:4096], frame, pq, rng),
        _beta(train, transform, n_codewords, seed, report),
        _training(train, held, transform, n_codewords, seed, report),
        _controls(z, n_subspaces, n_codewords, seed, report),
    ]
    return Report(
        {"n": len(z), "d": z.shape[1], "trained_on": cut, "held_out": len(rows) - cut},
        {"n_subspaces": n_subspaces, "n_codewords": n_codewords, "seed": seed},
        sections,
    )


# The sections.


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


def _energy(z: Float64) -> float:
    return float(max(z.var(axis=0).sum(), np.finfo(np.float64).tiny))


def _identity(
    z: Float64,
    frame: Frame,
    pq: Codewords,
    trained: Codewords,
    dropped: int,
    rng: np.random.Generator,
    report: Progress,
) -> Section:
    section = Section("Identity: L_R = L_C for every vector and every codebook")
    gram = frame.axes.T @ frame.axes
    padding = ~frame.axes.any(axis=0)
    gram[padding, padding] = 1.0
    section.below("largest entry of WᵀW - I", float(np.abs(gram - np.eye(len(gram))).max()), 1e-10)
    section.below("directions that W lacks", float(dropped), 0, "full rank is needed")
    energy = _energy(z)
    spread = np.sqrt(energy / z.shape[1])
    codebooks = {
        "random codebooks": rng.normal(size=pq.shape) * spread,
        "PQ codebooks": pq,
        "SGD-trained codebooks": trained,
        "codebooks far from the data": pq + 10 * spread,
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


def _gradients(z: Float64, frame: Frame, codewords: Codewords, rng: np.random.Generator) -> Section:
    section = Section("Gradients: ∇L_R = ∇L_C for every codeword")
    moved = codewords + rng.normal(size=codewords.shape) * codewords.std()
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
            worst = max(worst, abs(slope - gradient[place]))
        section.below(
            f"{name} against central differences, the codes held", worst / scale, 1e-6,
            f"{len(probes)} entries",
        )  # fmt: skip
    return section


def _beta(
    train: Float64, transform: DQTransform, n_codewords: int, seed: int, report: Progress
) -> Section:
    section = Section("β does not matter: one start, the same batches, β in {0, 0.25, 1, 10}")
    frame = Frame.of(transform)
    results: dict[str, list[tuple[float, float]]] = {}
    done = 0
    for optimizer in ("sgd", "adam"):
        first: Codewords | None = None
        for beta in BETAS:
            report("beta", done, 2 * len(BETAS))
            done += 1
            model = DQVAE(
                transform.n_subspaces, n_codewords, beta=beta, optimizer=optimizer, n_epochs=2,
                seed=seed,
            )  # fmt: skip
            codewords = model.fit(train, transform=transform).codewords_
            if first is None:
                first = codewords
                continue
            gap = float(np.abs(codewords - first).max() / np.abs(first).max())
            same = float(
                (
                    assign(frame.project(train), codewords) == assign(frame.project(train), first)
                ).mean()
            )
            results.setdefault(optimizer, []).append((gap, same))
    worst = {
        name: (max(g for g, _ in ones), min(s for _, s in ones)) for name, ones in results.items()
    }
    section.below(
        "SGD, rate divided by 1 + β: largest difference of codewords", worst["sgd"][0], 1e-9
    )
    section.above("SGD: share of codes that are the same", worst["sgd"][1], 0.9999)
    section.told(
        "Adam, the same rate: largest difference of codewords",
        worst["adam"][0],
        "Adam divides by the size of the gradient, so 1 + β cancels but for its ε; a code that "
        "flips on rounding then moves two codewords",
    )
    section.told("Adam: share of codes that are the same", worst["adam"][1])
    return section


def _training(
    train: Float64,
    held: Float64,
    transform: DQTransform,
    n_codewords: int,
    seed: int,
    report: Progress,
) -> Section:
    section = Section("Training ends where PQ ends")
    section.columns = [
        "method", "distortion", "held out", "seconds", "same codes", "fixed point", "dead",
    ]  # fmt: skip
    frame = Frame.of(transform)
    x_train = frame.project(train)

    def add(name: str, codewords: Codewords, seconds: float, start: Codewords | None) -> float:
        codes = assign(x_train, codewords)
        losses = [
            float(codebook_loss(z, assign(frame.project(z), codewords), codewords, frame).mean())
            for z in (train, held)
        ]
        same = "" if start is None else f"{(codes == assign(x_train, start)).mean():.4f}"
        dead = sum(n_codewords - len(np.unique(codes[:, level])) for level in range(codes.shape[1]))
        section.rows.append(
            [name, f"{losses[0]:.6g}", f"{losses[1]:.6g}", f"{seconds:.2f}", same,
             f"{fixed_point_distance(x_train, codes, codewords):.1e}", dead]
        )  # fmt: skip
        return losses[1]

    began = time.perf_counter()
    pq = _pq(frame, train, n_codewords, seed)
    best_pq = add("PQ (k-means)", pq, time.perf_counter() - began, None)
    began = time.perf_counter()
    redone = _pq(frame, train, n_codewords, seed, n_redo=10)
    best_pq = min(best_pq, add("PQ, best of 10 starts", redone, time.perf_counter() - began, None))
    runs = [
        (optimizer, start, epochs)
        for optimizer in ("adam", "sgd")
        for start in ("data", "k-means++", "PQ")
        for epochs in (EPOCHS if start != "PQ" else EPOCHS[:1])
    ]
    best_vae, best_name = np.inf, ""
    for done, (optimizer, start, epochs) in enumerate(runs):
        report("train DQ-VAE", done, len(runs))
        began = time.perf_counter()
        model = DQVAE(
            transform.n_subspaces, n_codewords, optimizer=optimizer, n_epochs=epochs, seed=seed,
            init="data" if start == "PQ" else start,
        )  # fmt: skip
        model.fit(train, transform=transform, start=pq if start == "PQ" else None)
        name = f"DQ-VAE, {optimizer}, start {start}, {epochs} epochs"
        loss = add(
            name, model.codewords_, time.perf_counter() - began, pq if start == "PQ" else None
        )
        if loss < best_vae:
            best_vae, best_name = loss, name
    gain = 1 - best_vae / best_pq if best_pq > 0 else 0.0
    lower = "lower" if gain > 0 else "higher"
    section.statement = (
        f"The best of {len(runs)} DQ-VAE runs ({best_name}) has a held-out distortion "
        f"{abs(gain):.2%} {lower} than the best PQ."
    )
    section.below(
        "how much lower the best DQ-VAE is than the best PQ, held out", gain, AS_GOOD,
        "negative: PQ is lower",
    )  # fmt: skip
    return section


def fixed_point_distance(x: Float, codes: Codes, codewords: Codewords) -> float:
    """RMS distance of used codewords from the means of what they code, over that of the data.

    Zero is a fixed point of k-means: each codeword is the mean of what it codes.
    """
    squares, used = 0.0, 0
    k = codewords.shape[1]
    for level in range(codes.shape[1]):
        counts = np.bincount(codes[:, level], minlength=k)
        alive = counts > 0
        for axis in range(x.shape[2]):
            sums = np.bincount(codes[:, level], weights=x[:, level, axis], minlength=k)
            means = sums[alive] / counts[alive]
            squares += float(((codewords[level, alive, axis] - means) ** 2).sum())
        used += int(alive.sum())
    spread = float(x.var(axis=0).sum() / x.shape[1])
    return float(np.sqrt(squares / max(used, 1) / max(spread, np.finfo(np.float64).tiny)))


def _controls(
    z: Float64, n_subspaces: int, n_codewords: int, seed: int, report: Progress
) -> Section:
    section = Section("Where it stops holding: the proof that the check can fail")
    energy = _energy(z)
    rng = np.random.default_rng(seed)
    sample = z[rng.permutation(len(z))[:20_000]]
    d = z.shape[1]
    whole = DQTransform(n_subspaces).fit(z)

    def codewords_of(frame: Frame) -> Codewords:
        return _pq(frame, sample[:8192], n_codewords, seed)

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


def _pq(frame: Frame, z: Float64, n_codewords: int, seed: int, n_redo: int = 1) -> Codewords:
    """Codebooks by k-means in every subspace, run to its end: (L, K, dsub)."""
    pq = ProductCodebooks(
        frame.n_subspaces, n_codewords, seed=seed, n_iter=100, n_redo=n_redo,
        max_points_per_codeword=len(z),
    )  # fmt: skip
    return np.stack(pq.fit(frame.project(z).reshape(len(z), -1)).codebooks_).astype(np.float64)
