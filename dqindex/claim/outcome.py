"""Training by gradient against training by k-means."""

from __future__ import annotations

import time

import numpy as np

from dqindex._types import Float64, Int64, Progress
from dqindex.claim.dqvae import DQVAE
from dqindex.claim.objective import Codewords, Float, Frame, assign, codebook_loss
from dqindex.claim.pq import pq_codewords
from dqindex.claim.verdict import Section
from dqindex.quantizer.transform import DQTransform

BETAS = (0.0, 0.25, 1.0, 10.0)
EPOCHS = (5, 20)
# PQ is as good as DQ-VAE if no run of DQ-VAE is lower than it by more than this.
AS_GOOD = 0.02


def beta(
    train: Float64, transform: DQTransform, n_codewords: int, seed: int, report: Progress
) -> Section:
    """Training with several β from one start on the same batches ends in one place."""
    section = Section("β does not matter: one start, the same batches, β in {0, 0.25, 1, 10}")
    frame = Frame.of(transform)
    results: dict[str, list[tuple[float, float]]] = {}
    done = 0
    for optimizer in ("sgd", "adam"):
        first: Codewords | None = None
        for one in BETAS:
            report("beta", done, 2 * len(BETAS))
            done += 1
            model = DQVAE(
                transform.n_subspaces,
                n_codewords,
                beta=one,
                optimizer=optimizer,
                n_epochs=2,
                seed=seed,
            )
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


COLUMNS = ["method", "distortion", "held out", "seconds", "same codes", "fixed point", "dead"]


def training(
    train: Float64,
    held: Float64,
    transform: DQTransform,
    n_codewords: int,
    seed: int,
    report: Progress,
) -> Section:
    """Losses of DQ-VAE, trained in several ways, beside those of k-means on the same vectors."""
    section = Section("Training ends where PQ ends", columns=COLUMNS)
    table = _Table(section, Frame.of(transform), train, held)
    began = time.perf_counter()
    pq = pq_codewords(table.frame, train, n_codewords, seed)
    best_pq = table.add("PQ (k-means)", pq, time.perf_counter() - began)
    began = time.perf_counter()
    redone = pq_codewords(table.frame, train, n_codewords, seed, n_redo=10)
    best_pq = min(best_pq, table.add("PQ, best of 10 starts", redone, time.perf_counter() - began))
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
            transform.n_subspaces,
            n_codewords,
            optimizer=optimizer,
            n_epochs=epochs,
            seed=seed,
            init="data" if start == "PQ" else start,
        )
        given = pq if start == "PQ" else None
        model.fit(train, transform=transform, start=given)
        name = f"DQ-VAE, {optimizer}, start {start}, {epochs} epochs"
        loss = table.add(name, model.codewords_, time.perf_counter() - began, given)
        if loss < best_vae:
            best_vae, best_name = loss, name
    gain = 1 - best_vae / best_pq if best_pq > 0 else 0.0
    _conclude(section, gain, len(runs), best_name)
    return section


class _Table:
    """The rows of a section: what each way of training comes to."""

    def __init__(self, section: Section, frame: Frame, train: Float64, held: Float64) -> None:
        self.frame = frame
        self._section, self._sets, self._x = section, (train, held), frame.project(train)

    def add(
        self, name: str, codewords: Codewords, seconds: float, start: Codewords | None = None
    ) -> float:
        """A row; the loss on the vectors that were held out."""
        frame, codes = self.frame, assign(self._x, codewords)
        losses = [
            float(codebook_loss(z, assign(frame.project(z), codewords), codewords, frame).mean())
            for z in self._sets
        ]
        same = "" if start is None else f"{(codes == assign(self._x, start)).mean():.4f}"
        used = sum(len(np.unique(column)) for column in codes.T)
        self._section.rows.append(
            [
                name,
                f"{losses[0]:.6g}",
                f"{losses[1]:.6g}",
                f"{seconds:.2f}",
                same,
                f"{fixed_point_distance(self._x, codes, codewords):.1e}",
                codewords.shape[0] * codewords.shape[1] - used,
            ]
        )
        return losses[1]


def _conclude(section: Section, gain: float, runs: int, best: str) -> None:
    """Say how much lower the best DQ-VAE is than the best PQ, and check it."""
    lower = "lower" if gain > 0 else "higher"
    section.statement = (
        f"The best of {runs} DQ-VAE runs ({best}) has a held-out distortion {abs(gain):.2%} "
        f"{lower} than the best PQ."
    )
    section.below(
        "how much lower the best DQ-VAE is than the best PQ, held out",
        gain,
        AS_GOOD,
        "negative: PQ is lower",
    )


def fixed_point_distance(x: Float, codes: Int64, codewords: Codewords) -> float:
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
