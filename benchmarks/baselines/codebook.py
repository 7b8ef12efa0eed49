"""`Codebook`: codewords that follow the vectors they code, and start again where they code none."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dqindex.quantizer.kmeans import train_kmeans

# Share of a codeword's sum and count that stays at each batch.
DECAY = 0.99
# Batches without a vector after which a codeword starts again.
PATIENCE = 100


class Codebook(nn.Module):
    """Codewords that are moving averages of the vectors they code.

    Van den Oord et al., "Neural Discrete Representation Learning", 2017, appendix A: no gradient
    reaches them.

    Attributes
    ----------
    codewords : (K, d)
    sums, counts : (K, d), (K,)
        Moving sums and counts of the vectors that each codes.
    idle : (K,) int64
        Batches since it coded a vector.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("codewords", torch.zeros(size, width))
        self.register_buffer("sums", torch.zeros(size, width))
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("idle", torch.zeros(size, dtype=torch.int64))

    def start(self, rows: Tensor, batch: int, seed: int) -> None:
        """K-means of `rows`, (n, d); averages as if batches of `batch` rows had been seen."""
        centroids, _ = train_kmeans(_array(rows), len(self.codewords), seed=seed)
        self.codewords.copy_(torch.from_numpy(centroids))
        share = torch.bincount(self.nearest(rows), minlength=len(centroids)) / len(rows)
        self.counts.copy_(share * batch)
        self.sums.copy_(self.codewords * self.counts[:, None])

    def nearest(self, rows: Tensor) -> Tensor:
        """The nearest codeword of each row: (n,) int64."""
        words = self.codewords
        return (words.square().sum(dim=1) - 2 * rows @ words.T).argmin(dim=1)

    def follow(self, rows: Tensor, codes: Tensor, chance: torch.Generator) -> None:
        """Move the codewords to the means of what they code; those long idle to rows."""
        size = len(self.codewords)
        counts = torch.bincount(codes, minlength=size)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, rows)
        self.counts.lerp_(counts.to(self.counts.dtype), 1 - DECAY)
        self.sums.lerp_(sums, 1 - DECAY)
        self.idle.add_(1).masked_fill_(counts > 0, 0)
        # One that codes nothing for long keeps its place until it starts again.
        self.codewords.copy_(self.sums / self.counts.clamp_min(1e-6)[:, None])
        self._restart(rows, codes, chance)

    def _restart(self, rows: Tensor, codes: Tensor, chance: torch.Generator) -> None:
        """Put what is idle for long on rows that are coded badly."""
        idle = torch.nonzero(self.idle >= PATIENCE).flatten()
        errors = (rows - self.codewords[codes]).square().sum(dim=1)
        wanted = min(len(idle), int(torch.count_nonzero(errors)))
        if not wanted:
            return
        idle = idle[:wanted]
        drawn = torch.multinomial(errors, wanted, generator=chance)
        typical = self.counts.mean()
        self.codewords[idle] = rows[drawn]
        self.counts[idle] = typical
        self.sums[idle] = rows[drawn] * typical
        self.idle[idle] = 0


def _array(rows: Tensor) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = rows.detach().numpy().astype(np.float32, copy=False)
    return found
