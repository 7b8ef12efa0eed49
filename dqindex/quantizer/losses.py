"""The losses of vectors under a model: L_R, L_C, and what the transform drops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dqindex._types import Codes, Float64
from dqindex.quantizer.blocks import scaled
from dqindex.quantizer.coarse import left_over
from dqindex.quantizer.parts import Parts


class Losses(NamedTuple):
    """Per-vector losses, each (n,) float64, in squared units of the vectors (scaled, by blocks).

    Attributes
    ----------
    reconstruction : (n,) float64
        L_R = ‖ẑ - z‖², computed in the original space.
    codebook : (n,) float64
        L_C = Σ_l ‖x_l - r_l‖², computed in the subspaces.
    dropped : (n,) float64
        Energy of z - z̄ in directions that the transform drops; L_R = L_C + dropped.
    """

    reconstruction: Float64
    codebook: Float64
    dropped: Float64


def losses_of(parts: Parts, rows: Float64, codes: Codes) -> Losses:
    """The losses of `rows`, (n, d), for given `codes`, (n, R + L)."""
    residual = left_over(scaled(rows, parts.scale), parts.coarse, codes)
    projected = parts.transform.projected(residual)
    codewords = parts.codebooks.decode(codes[:, len(parts.coarse) :]).astype(np.float64)
    back = parts.transform.inverse_transform(codewords)
    kept = parts.transform.inverse_transform(projected)
    return Losses(
        reconstruction=((back - residual) ** 2).sum(axis=1),
        codebook=((projected - codewords) ** 2).sum(axis=1),
        dropped=((residual - kept) ** 2).sum(axis=1),
    )
