"""`Autoencoder`: an encoder, codebooks of the latent vectors, and a decoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.codebook import Codebook
from baselines.network import Network


class Coded(NamedTuple):
    """Latent vectors as their codewords have them.

    Attributes
    ----------
    latent : (n, w)
        Of the codewords; its gradient is that of the vectors that were coded (straight through).
    commitment : scalar
        Mean squared distance of what each level codes from its codeword.
    """

    latent: Tensor
    commitment: Tensor


class Autoencoder(nn.Module):
    """RQ-VAE, or VQ-VAE of several codebooks.

    Residual: each codebook codes what those before leave over of the latent vector (Lee et al.,
    "Autoregressive Image Generation using Residual Quantization", 2022; TIGER's RQ-VAE). Otherwise
    each codes a part of the latent vector.
    """

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        books: list[Codebook],
        residual: bool,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.residual = encoder, decoder, residual
        self.books = nn.ModuleList(books)

    def start(self, rows: Tensor, batch: int, seed: int) -> None:
        """Let k-means find all codebooks for the latent vectors of `rows`."""
        with torch.no_grad():
            left = self.encoder(rows)
            parts = self._parts(left)
            for level, book in enumerate(self.books):
                part = left if self.residual else parts[level]
                book.start(part, batch, seed + level)
                if self.residual:
                    left = left - book.codewords[book.nearest(left)]

    def quantise(self, latent: Tensor, chance: torch.Generator | None = None) -> Coded:
        """Code latent vectors (n, w); with `chance`, the codebooks follow them."""
        left, parts, words, errors = latent, self._parts(latent), [], []
        for level, book in enumerate(self.books):
            rows = left if self.residual else parts[level]
            with torch.no_grad():
                codes = book.nearest(rows)
                word = book.codewords[codes]
            if chance is not None:
                book.follow(rows.detach(), codes, chance)
            words.append(word)
            errors.append((rows - word).square().mean())
            left = left - word if self.residual else left
        found = torch.stack(words).sum(dim=0) if self.residual else torch.cat(words, dim=1)
        return Coded(latent + (found - latent).detach(), torch.stack(errors).mean())

    def forward(self, x: Tensor) -> Tensor:
        """Vectors as they are decoded."""
        return self.decoder(self.quantise(self.encoder(x)).latent)

    def _parts(self, latent: Tensor) -> tuple[Tensor, ...]:
        """The latent vectors cut for the codebooks; unused where these are residual."""
        return () if self.residual else latent.chunk(len(self.books), dim=1)
