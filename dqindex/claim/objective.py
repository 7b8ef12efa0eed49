"""The losses of DQ-VAE and their gradients, each computed as the paper writes it.

Notation of the note on arXiv 2508.11194: x_l = (z - z̄) W_l, c_l = argmin_j ‖x_l - r_l^j‖²,
ẑ = Σ_l r_l^{c_l} W_lᵀ + z̄, L_R = ‖ẑ - z‖², L_C = Σ_l ‖x_l - r_l^{c_l}‖².

L_R is computed the long way, in the original space through the reconstruction, with its own
gradient; nothing here uses that the two losses are equal. That is for `dqindex.claim` to show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex._types import Float64
from dqindex.quantizer.transform import DQTransform

Float = npt.NDArray[np.floating[Any]]

# Codewords, their gradients and the moments of Adam: shape (L, K, dsub).
Codewords = Float64


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
