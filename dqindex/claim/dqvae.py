"""The paper's own training: DQ-VAE by stochastic gradient, as a reference to compare PQ with.

Notation of the note on arXiv 2508.11194: x_l = (z - z̄) W_l, c_l = argmin_j ‖x_l - r_l^j‖²,
ẑ = Σ_l r_l^{c_l} W_lᵀ + z̄, L_T = L_R + β L_C with L_R = ‖ẑ - z‖² and L_C = Σ_l ‖x_l - r_l^{c_l}‖².

L_R is computed the long way, in the original space through the reconstruction, with its own
gradient; nothing here uses that the two losses are equal. That is for `dqindex.claim` to show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dqindex._parameters import (
    callback,
    check,
    instance,
    integer,
    number,
    number_at_least,
    one_of,
    or_none,
)
from dqindex._types import Codes, Float64, Matrix, Progress, no_progress
from dqindex.errors import InputError, NonFiniteError
from dqindex.parallel.threads import single_blas_thread
from dqindex.quantizer.codebooks import ProductCodebooks
from dqindex.quantizer.estimator import Estimator
from dqindex.quantizer.transform import DQTransform
from dqindex.vectors.matrix import as_floats, check_matrix

Float = npt.NDArray[np.floating[Any]]

# Codewords, their gradients and the moments of Adam: shape (L, K, dsub).
Codewords = Float64

OPTIMIZERS = ("adam", "sgd")
STARTS = ("data", "k-means++")
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


@dataclass(frozen=True)
class Frame:
    """The fixed part of the model: z̄ and W̃ = [W_1 … W_L].

    Attributes
    ----------
    mean : (d,) array
        z̄.
    axes : (d, d_out) array
        W̃; subspace l is columns ``l * d_out / L`` to ``(l + 1) * d_out / L``.
    n_subspaces : int
        L.
    """

    mean: Float
    axes: Float
    n_subspaces: int

    @classmethod
    def of(cls, transform: DQTransform, dtype: Any = np.float64) -> Frame:
        """The frame of a fitted transform, in the given precision."""
        return cls(
            transform.mean_.astype(dtype),
            np.ascontiguousarray(transform.components_.T, dtype=dtype),
            transform.n_subspaces,
        )

    def project(self, z: Float) -> Float:
        """x_l for all l: (n, L, dsub)."""
        return ((z - self.mean) @ self.axes).reshape(len(z), self.n_subspaces, -1)

    def reconstruct(self, r: Float) -> Float:
        """ẑ from the chosen codewords r_l, shape (n, L, dsub): (n, d)."""
        return r.reshape(len(r), -1) @ self.axes.T + self.mean


def assign(x: Float, codewords: Float) -> npt.NDArray[np.int64]:
    """c_l = argmin_j ‖x_l - r_l^j‖²: (n, L); the first of equals."""
    # ‖x‖² is the same for every j, and left out.
    products = np.matmul(x.transpose(1, 0, 2), codewords.transpose(0, 2, 1))
    norms = (codewords**2).sum(axis=2)[:, None, :]
    return np.asarray((norms - 2 * products).argmin(axis=2).T)


def chosen(codewords: Float, codes: npt.NDArray[np.integer[Any]]) -> Float:
    """r_l^{c_l}: (n, L, dsub)."""
    found: Float = codewords[np.arange(codewords.shape[0]), codes]
    return found


def reconstruction_loss(
    z: Float, codes: npt.NDArray[np.integer[Any]], codewords: Float, frame: Frame
) -> Float:
    """L_R = ‖ẑ - z‖² of every row, in the original space: (n,)."""
    return np.asarray(((frame.reconstruct(chosen(codewords, codes)) - z) ** 2).sum(axis=1))


def codebook_loss(
    z: Float, codes: npt.NDArray[np.integer[Any]], codewords: Float, frame: Frame
) -> Float:
    """L_C = Σ_l ‖x_l - r_l‖² of every row, in the subspaces: (n,)."""
    return np.asarray(((frame.project(z) - chosen(codewords, codes)) ** 2).sum(axis=(1, 2)))


def reconstruction_gradient(
    z: Float, codes: npt.NDArray[np.integer[Any]], codewords: Float, frame: Frame
) -> Codewords:
    """∂ mean(L_R) / ∂ r_l^j = (2 / n) Σ_{i: c_l(i) = j} (ẑ_i - z_i) W_l: (L, K, dsub)."""
    error = frame.reconstruct(chosen(codewords, codes)) - z
    pulled = (error @ frame.axes).reshape(len(z), frame.n_subspaces, -1)
    return _gather(pulled, codes, codewords.shape)


def codebook_gradient(
    z: Float, codes: npt.NDArray[np.integer[Any]], codewords: Float, frame: Frame
) -> Codewords:
    """∂ mean(L_C) / ∂ r_l^j = (2 / n) Σ_{i: c_l(i) = j} (r_l^j - x_l(i)): (L, K, dsub)."""
    return _gather(chosen(codewords, codes) - frame.project(z), codes, codewords.shape)


def _gather(rows: Float, codes: npt.NDArray[np.integer[Any]], shape: tuple[int, ...]) -> Codewords:
    """(2 / n) times the sum of the rows of each code."""
    out = np.zeros(shape)
    n, levels, size = rows.shape
    for level in range(levels):
        for axis in range(size):
            out[level, :, axis] = np.bincount(
                codes[:, level], weights=rows[:, level, axis], minlength=shape[1]
            )
    out *= 2 / n
    return out


class DQVAE(Estimator):
    """Codebooks trained by stochastic gradient on L_T = L_R + β L_C, behind a fixed transform.

    Only the codebooks are trained (remark 1 of the note), so there is no encoder to reach and no
    straight-through estimator.

    Parameters
    ----------
    n_subspaces, n_codewords : int
        L and K.
    beta : float, default 0.25
        β, the weight of L_C.
    optimizer : {"adam", "sgd"}, default "adam"
    learning_rate : float, optional
        Of the first step; it falls to zero along half a cosine. None: for ``sgd`` K / 16 / (1 + β),
        which moves a codeword an eighth of the way to the mean of what it codes in a batch; for
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
        Codewords that code no training vector in the end.
    history_ : list of float
        Mean L_T of every epoch's batches.
    transform_ : DQTransform
    """

    _fitted: ClassVar[str] = "codewords_"
    _parameters: ClassVar = {
        "n_subspaces": integer(1),
        "n_codewords": integer(1),
        "beta": number_at_least(0),
        "optimizer": one_of(*OPTIMIZERS),
        "learning_rate": or_none(number(more_than=0)),
        "n_epochs": integer(1),
        "batch_size": integer(1),
        "init": one_of(*STARTS),
        "seed": integer(0),
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
            A fitted one to use; by default one is fitted to `X`.
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
        step = _Optimizer(self.optimizer, self._rate(frame, z), codewords.shape)
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
        """What was learned, as the codebooks of a PQ."""
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


class _Optimizer:
    """One step of SGD or Adam (Kingma and Ba, 2015), the rate along half a cosine."""

    def __init__(self, name: str, rate: float, shape: tuple[int, ...]) -> None:
        self._adam = name == "adam"
        self._rate = rate
        self._first, self._second = np.zeros(shape), np.zeros(shape)
        self._taken = 0

    def __call__(self, codewords: Codewords, gradient: Codewords, share: float) -> Codewords:
        rate = self._rate * 0.5 * (1 + np.cos(np.pi * share))
        if not self._adam:
            return np.asarray(codewords - rate * gradient)
        self._taken += 1
        b1, b2 = ADAM_BETAS
        self._first = b1 * self._first + (1 - b1) * gradient
        self._second = b2 * self._second + (1 - b2) * gradient**2
        first = self._first / (1 - b1**self._taken)
        second = self._second / (1 - b2**self._taken)
        return np.asarray(codewords - rate * first / (np.sqrt(second) + ADAM_EPSILON))
