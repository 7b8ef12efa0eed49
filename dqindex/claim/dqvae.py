"""The paper's own training: DQ-VAE by stochastic gradient, as a reference to compare PQ with.

L_T = L_R + β L_C is lowered by its gradient, one batch after another: `dqindex.claim.objective` has
the losses, in the notation of the note on arXiv 2508.11194.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dqindex._parameters import (
    callback,
    check,
    codewords,
    dimensions,
    instance,
    integer,
    number,
    number_at_least,
    one_of,
    or_none,
    unbounded,
)
from dqindex._types import Codes, Float64, Matrix, Progress, no_progress
from dqindex.claim.objective import (
    Codewords,
    Frame,
    assign,
    codebook_gradient,
    codebook_loss,
    reconstruction_gradient,
    reconstruction_loss,
)
from dqindex.claim.optimizer import OPTIMIZERS, Optimizer
from dqindex.errors import InputError, NonFiniteError
from dqindex.parallel.threads import single_blas_thread
from dqindex.quantizer.codebooks import ProductCodebooks
from dqindex.quantizer.estimator import Estimator
from dqindex.quantizer.transform import DQTransform
from dqindex.vectors.matrix import as_floats, check_matrix

# Where codewords start.
STARTS = ("data", "k-means++")


class DQVAE(Estimator):
    """Codebooks trained by stochastic gradient on L_T = L_R + β L_C, behind a fixed transform.

    Only the codebooks are trained (remark 1 of the note), so no gradient passes through the
    quantiser and there is no straight-through estimator.

    Parameters
    ----------
    n_subspaces, n_codewords : int
        L and K.
    beta : float, default 0.25
        β, the weight of L_C.
    optimizer : {"adam", "sgd"}, default "adam"
    learning_rate : float, optional
        Of the first step; it falls to zero along half a cosine. None: for ``sgd`` K / 16 / (1 + β),
        which moves a codeword an eighth of the way to the mean of its vectors in a batch; for
        ``adam`` 2 % of the root mean variance of an axis.
    n_epochs, batch_size : int
        Passes over the data, and vectors a step.
    init : {"data", "k-means++"}, default "data"
        Codewords start at random training vectors, or by k-means++.
    seed : int
        Of the start and of the batches.

    Attributes
    ----------
    codewords_ : (L, K, dsub) float64
    dead_codewords_ : (L,) int64
        Codewords that no training vector uses after the training.
    history_ : list of float
        Mean L_T of every epoch's batches.
    transform_ : DQTransform
    """

    _fitted: ClassVar[str] = "codewords_"
    _parameters: ClassVar = {
        "n_subspaces": dimensions(),
        "n_codewords": codewords(),
        "beta": number_at_least(0),
        "optimizer": one_of(*OPTIMIZERS),
        "learning_rate": or_none(number(more_than=0)),
        "n_epochs": integer(1),
        "batch_size": integer(1),
        "init": one_of(*STARTS),
        "seed": unbounded(0),
    }

    codewords_: Codewords
    dead_codewords_: npt.NDArray[np.int64]
    history_: list[float]
    transform_: DQTransform

    def __init__(
        self,
        n_subspaces: int = 8,
        n_codewords: int = 256,
        *,
        beta: float = 0.25,
        optimizer: str = "adam",
        learning_rate: float | None = None,
        n_epochs: int = 10,
        batch_size: int = 1024,
        init: str = "data",
        seed: int = 0,
    ) -> None:
        self.n_subspaces = n_subspaces
        self.n_codewords = n_codewords
        self.beta = beta
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.init = init
        self.seed = seed

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        transform: DQTransform | None = None,
        start: Codewords | None = None,
        progress: Progress | None = None,
    ) -> DQVAE:
        """Train on `X`, shape (n, d), and return self.

        Parameters
        ----------
        transform : DQTransform, optional
            A fitted transform; by default one is fitted to `X`.
        start : (L, K, dsub) array, optional
            Codewords to start from, instead of `init`.
        progress : callable, optional
            Called with ("train", epochs done, epochs).

        Raises
        ------
        InputError, NonFiniteError
            If `X` is not a finite matrix of at least K rows, or `start` is of another shape.
        """
        self._check_params()
        check("DQVAE.fit", "progress", progress, or_none(callback()))
        check("DQVAE.fit", "transform", transform, or_none(instance(DQTransform)))
        report = progress or no_progress
        z = check_matrix(X, "DQVAE", learn=True).astype(np.float64)
        if len(z) < self.n_codewords:
            raise InputError(
                f"DQVAE: {len(z)} vectors for {self.n_codewords} codewords; give at least as many"
            )
        if transform is None:
            transform = DQTransform(self.n_subspaces).fit(z)
        check_transform(transform, self.n_subspaces, z.shape[1], "DQVAE")
        self.transform_ = transform
        frame = Frame.of(transform)
        codewords = self._start(frame, z) if start is None else _as_codewords(start)
        expected = (self.n_subspaces, self.n_codewords, frame.axes.shape[1] // self.n_subspaces)
        if codewords.shape != expected:
            raise InputError(f"DQVAE: start has shape {codewords.shape}; it must be {expected}")
        codewords = self._descend(z, frame, codewords, report)
        self.codewords_ = codewords
        codes = assign(frame.project(z), codewords)
        used = [len(np.unique(codes[:, level])) for level in range(self.n_subspaces)]
        self.dead_codewords_ = self.n_codewords - np.array(used, dtype=np.int64)
        return self

    def _descend(
        self, z: Float64, frame: Frame, codewords: Codewords, report: Progress
    ) -> Codewords:
        """`codewords` after all epochs; `history_` is filled."""
        step = Optimizer(self.optimizer, self._rate(frame, z), codewords.shape)
        rng = np.random.default_rng(self.seed + 1)
        steps = -(-len(z) // self.batch_size) * self.n_epochs
        self.history_ = []
        taken = 0
        for _ in range(self.n_epochs):
            order = rng.permutation(len(z))
            total = 0.0
            # The products of a batch are too small to share between threads.
            with single_blas_thread():
                for begin in range(0, len(z), self.batch_size):
                    batch = z[order[begin : begin + self.batch_size]]
                    codes = assign(frame.project(batch), codewords)
                    loss = reconstruction_loss(batch, codes, codewords, frame)
                    loss = loss + self.beta * codebook_loss(batch, codes, codewords, frame)
                    gradient = reconstruction_gradient(batch, codes, codewords, frame)
                    gradient += self.beta * codebook_gradient(batch, codes, codewords, frame)
                    codewords = step(codewords, gradient, share=taken / steps)
                    total += float(loss.sum())
                    taken += 1
            self.history_.append(total / len(z))
            report("train", len(self.history_), self.n_epochs)
        return codewords

    def encode(self, X: Any) -> Codes:
        """Codes of `X`: (n, L)."""
        self._check_fitted()
        return self.codebooks().encode(self.transform_.projected(X))

    def codebooks(self) -> ProductCodebooks:
        """The learned codewords, as the codebooks of a PQ."""
        self._check_fitted()
        return ProductCodebooks.from_codebooks(list(self.codewords_.astype(np.float32)))

    def _rate(self, frame: Frame, z: Matrix) -> float:
        if self.learning_rate is not None:
            return self.learning_rate
        if self.optimizer == "sgd":
            return self.n_codewords / 16 / (1 + self.beta)
        return 0.02 * float(np.sqrt(frame.project(z[:10000]).var(axis=0).mean()))

    def _start(self, frame: Frame, z: Matrix) -> Codewords:
        """Codewords from the data: other random vectors in every subspace, or k-means++."""
        x = frame.project(z)
        if self.init == "k-means++":
            flat = x.reshape(len(x), -1)
            pq = ProductCodebooks(self.n_subspaces, self.n_codewords, n_iter=1, seed=self.seed).fit(
                flat
            )
            return np.stack(pq.codebooks_).astype(np.float64)
        rng = np.random.default_rng(self.seed)
        return np.stack(
            [
                x[rng.choice(len(x), self.n_codewords, replace=False), level]
                for level in range(self.n_subspaces)
            ]
        )


def check_transform(transform: DQTransform, n_subspaces: int, d: int, owner: str) -> None:
    """Refuse a transform that is not fitted, of other subspaces, or of another width.

    Raises
    ------
    InputError, NotFittedError
    """
    transform._check_fitted()
    if transform.n_subspaces != n_subspaces:
        raise InputError(
            f"{owner}: transform has {transform.n_subspaces} subspaces, not {n_subspaces}"
        )
    if transform.n_features_in_ != d:
        raise InputError(
            f"{owner}: transform was fitted on width {transform.n_features_in_}, the vectors have "
            f"{d}"
        )


def _as_codewords(start: Any) -> Codewords:
    codewords = as_floats(start, "DQVAE.fit: start").astype(np.float64)
    if not np.isfinite(codewords).all():
        raise NonFiniteError("DQVAE.fit: start holds NaN or infinity")
    return codewords
