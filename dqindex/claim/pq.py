"""PQ in the shape of DQ-VAE's codewords."""

from __future__ import annotations

import numpy as np

from dqindex._types import Float64
from dqindex.claim.objective import Codewords, Frame
from dqindex.quantizer.codebooks import ProductCodebooks


def pq_codewords(
    frame: Frame, z: Float64, n_codewords: int, seed: int, n_redo: int = 1
) -> Codewords:
    """Codebooks by k-means in every subspace, run to its end: (L, K, dsub)."""
    pq = ProductCodebooks(
        frame.n_subspaces,
        n_codewords,
        seed=seed,
        n_iter=100,
        n_redo=n_redo,
        max_points_per_codeword=len(z),
    )
    return np.stack(pq.fit(frame.project(z).reshape(len(z), -1)).codebooks_).astype(np.float64)
