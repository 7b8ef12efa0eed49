"""The note's claim, measured: L_R = L_C, so training DQ-VAE is training a PQ.

Each section gives figures with a tolerance and a verdict. Controls, where the identity must not
hold, are part of it: a check that can't fail shows nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dqindex._parameters import (
    callback,
    checked,
    codewords,
    dimensions,
    instance,
    or_none,
    unbounded,
)
from dqindex._types import Float64, Progress, no_progress
from dqindex.claim.dqvae import DQVAE, check_transform
from dqindex.claim.identity import controls, gradients, identity
from dqindex.claim.objective import Frame
from dqindex.claim.outcome import EPOCHS, beta, training
from dqindex.claim.pq import pq_codewords
from dqindex.claim.verdict import Check, Report, Section
from dqindex.errors import InputError
from dqindex.quantizer.transform import DQTransform
from dqindex.vectors.matrix import check_matrix

__all__ = ["Check", "Report", "Section", "validate"]

HELD_OUT = 0.2


@checked(
    n_subspaces=dimensions(),
    n_codewords=codewords(),
    train_rows=unbounded(1),
    transform=or_none(instance(DQTransform)),
    seed=unbounded(0),
    progress=or_none(callback()),
)
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
        The identity is checked on all of it; `train_rows` of it are the training data.
    n_subspaces, n_codewords : int
        L and K.
    train_rows : int
        Vectors to train on, a fifth of them held out.
    transform : DQTransform, optional
        A fitted transform; by default one is fitted to `X`. The claim fails if it is not
        orthonormal.
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
    z = check_matrix(X, "validate", learn=True).astype(np.float64)
    need = int(np.ceil(n_codewords / (1 - HELD_OUT))) + 1
    if min(len(z), train_rows) < need:
        raise InputError(
            f"validate: {min(len(z), train_rows)} vectors to train on are too few for "
            f"{n_codewords} codewords; it needs {need}"
        )
    if transform is None:
        transform = DQTransform(n_subspaces).fit(z)
    check_transform(transform, n_subspaces, z.shape[1], "validate")
    return _measured(z, transform, n_codewords, train_rows, seed, progress or no_progress)


def _measured(
    z: Float64,
    transform: DQTransform,
    n_codewords: int,
    train_rows: int,
    seed: int,
    report: Progress,
) -> Report:
    """The sections, on vectors and a transform that were checked."""
    n_subspaces = transform.n_subspaces
    frame = Frame.of(transform)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(z))[:train_rows]
    cut = int(len(rows) * (1 - HELD_OUT))
    train, held = z[rows[:cut]], z[rows[cut:]]
    pq = pq_codewords(frame, train, n_codewords, seed)
    sgd = DQVAE(n_subspaces, n_codewords, optimizer="sgd", n_epochs=EPOCHS[0], seed=seed)
    trained = sgd.fit(train, transform=transform).codewords_
    sections = [
        identity(z, frame, pq, trained, transform.dropped_, rng, report),
        gradients(train[:4096], frame, pq, rng),
        beta(train, transform, n_codewords, seed, report),
        training(train, held, transform, n_codewords, seed, report),
        controls(z, n_subspaces, n_codewords, seed, report),
    ]
    return Report(
        {"n": len(z), "d": z.shape[1], "trained_on": cut, "held_out": len(rows) - cut},
        {"n_subspaces": n_subspaces, "n_codewords": n_codewords, "seed": seed},
        sections,
    )
