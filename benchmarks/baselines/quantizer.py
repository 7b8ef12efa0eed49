"""`NeuralQuantizer`: RQ-VAE or VQ-VAE with the verbs of a model, and its maps of semantic IDs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.autoencoder import Autoencoder
from baselines.codebook import Codebook
from baselines.network import Network
from baselines.training import train
from dqindex._types import Float32
from dqindex.errors import InputError
from dqindex.quantizer.codebooks import ProductCodebooks
from dqindex.quantizer.model import DQModel
from dqindex.quantizer.transform import DQTransform
from dqindex.sids.semantic_ids import SemanticIds, semantic_ids

KINDS = ("rq", "vq")
# Share of the vectors that training stops by, and the most of them.
ASIDE, MOST_ASIDE = 0.05, 5000
# Rows that are coded at a time.
BLOCK = 65_536


class NeuralQuantizer:
    """An autoencoder whose latent vectors are coded by several codebooks.

    Once it is trained, its codebooks are those of a `DQModel` of the latent vectors, which codes
    and resolves collisions as any other: ``reassign`` goes by distances to codewords there.

    Parameters
    ----------
    kind : {"rq", "vq"}
        RQ-VAE or VQ-VAE.
    tokens, codewords : int
        Codebooks, and codewords of each.
    hidden : sequence of ints
        Widths of the hidden layers of the encoder; those of the decoder are the same backwards.
    width : int, optional
        Of the latent vectors; that of the vectors by default, rounded up for ``vq`` to a multiple
        of the tokens.
    linear : bool
        Begin as k-means of the vectors themselves (of their balanced principal axes for ``vq``): a
        linear map stands beside each perceptron. False for perceptrons alone, as published.
    beta : float
        Weight of the commitment.
    batch, most_steps : int
    seed : int
        Of the start, the weights, and the batches.

    Attributes
    ----------
    model_ : DQModel
        Of the latent vectors.
    best_step_ : int
        The step with the least error on the vectors kept aside.
    mean_, scale_ : (d,) float32, float
        Vectors are shifted and divided by these.
    """

    def __init__(
        self,
        kind: str,
        tokens: int = 4,
        codewords: int = 256,
        *,
        hidden: tuple[int, ...] = (512, 256),
        width: int | None = None,
        linear: bool = True,
        beta: float = 0.25,
        batch: int = 1024,
        most_steps: int = 6000,
        seed: int = 0,
    ) -> None:
        if kind not in KINDS:
            raise InputError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
        self.kind, self.tokens, self.codewords = kind, tokens, codewords
        self.hidden, self.width, self.linear = hidden, width, linear
        self.beta, self.batch, self.most_steps, self.seed = beta, batch, most_steps, seed

    def fit(self, x: Float32) -> NeuralQuantizer:
        """Train on vectors (n, d) and return self; the random state of torch stays as it was."""
        self.mean_ = x.mean(axis=0)
        self.scale_ = float(np.sqrt(x.var(axis=0, dtype=np.float64).mean())) or 1.0
        rng = np.random.default_rng(self.seed)
        order = rng.permutation(len(x))
        count = min(MOST_ASIDE, max(1, int(len(x) * ASIDE)))
        aside, rows = self._rows(x[order[:count]]), self._rows(x[order[count:]])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self._network(x[order[count:]])
        network.start(rows, self.batch, self.seed)
        best = train(
            network,
            rows,
            aside,
            beta=self.beta,
            batch=self.batch,
            most_steps=self.most_steps,
            chance=torch.Generator().manual_seed(self.seed),
        )
        self.network_, self.best_step_ = network.eval(), best.step
        self.model_ = model_of([book.codewords.numpy() for book in network.books], self.kind)
        return self

    def _network(self, x: Float32) -> Autoencoder:
        """The autoencoder before training."""
        d = x.shape[1]
        width = self.width or d
        if self.kind == "vq":
            width = -(-width // self.tokens) * self.tokens
        matrix = self._axes(x, width) if self.linear else None
        widths = [d, *self.hidden, width]
        part = width if self.kind == "rq" else width // self.tokens
        return Autoencoder(
            Network(widths, matrix),
            Network(widths[::-1], None if matrix is None else matrix.T),
            [Codebook(self.codewords, part) for _ in range(self.tokens)],
            residual=self.kind == "rq",
        )

    def _axes(self, x: Float32, width: int) -> Tensor:
        """The linear map to start from: (width, d)."""
        d = x.shape[1]
        if self.kind == "rq" and width >= d:
            return torch.eye(width, d)
        groups = 1 if self.kind == "rq" else self.tokens
        found = DQTransform(groups, n_components=width).fit(x).components_
        return torch.from_numpy(found.astype(np.float32))

    def _rows(self, x: Float32) -> Tensor:
        return torch.from_numpy(((x - self.mean_) / self.scale_).astype(np.float32))

    def latents(self, x: Float32) -> Float32:
        """What the encoder makes of vectors: (n, width) float32."""
        return self._apply(self.network_.encoder, self._rows(x))

    def encode(self, x: Float32) -> np.ndarray[Any, Any]:
        """Tokens of vectors (n, d): (n, T)."""
        return self.model_.encode(self.latents(x))

    def decode(self, codes: np.ndarray[Any, Any]) -> Float32:
        """Vectors of tokens (n, T): (n, d) float32."""
        latents = torch.from_numpy(self.model_.decode(codes))
        found = self._apply(self.network_.decoder, latents)
        found *= np.float32(self.scale_)
        found += self.mean_
        return found

    def _apply(self, network: Network, rows: Tensor) -> Float32:
        with torch.no_grad():
            found: Float32 = torch.cat([network(part) for part in rows.split(BLOCK)]).numpy()
        return found

    def semantic_ids(self, x: Float32, ids: Any = None, **settings: Any) -> SemanticIds:
        """The map of a catalogue; `settings` as `dqindex.semantic_ids` has them.

        Distortions are those of the decoded vectors. The map goes without its model, which is one
        of latent vectors.
        """
        found = semantic_ids(self.latents(x), ids, model=self.model_, **settings)
        errors = np.square(self.decode(found.codes[:, : self.tokens]) - x).sum(axis=1)
        return replace(found, distortion=errors.astype(np.float32), model=None)


def model_of(books: list[Float32], kind: str) -> DQModel:
    """The model with given codebooks: residual levels, or parts of a vector side by side."""
    residual, own = (books[:-1], books[-1:]) if kind == "rq" else ([], books)
    width = sum(book.shape[1] for book in own)
    transform = DQTransform(len(own), center=False)
    transform.mean_ = np.zeros(width)
    transform.components_ = np.eye(width)
    transform.variances_ = np.ones(width)
    transform.subspace_variances_ = np.full(len(own), width / len(own))
    transform.imbalance_ = 1.0
    transform.n_features_in_, transform.n_samples_seen_ = width, 1
    return DQModel.from_parts(transform, ProductCodebooks.from_codebooks(own), residual)
