"""Attention whose scores depend on how far apart two items of a history are."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Attention of several heads; masks and distances come as scores that are added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ask = nn.Linear(width, width, bias=False)
        self.offer = nn.Linear(width, 2 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)

    def offered(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of `x`, (…, n, width): (…, heads, n, width / heads) each."""
        keys, values = self.offer(x).chunk(2, dim=-1)
        return self._split(keys), self._split(values)

    def forward(
        self, x: Tensor, offered: tuple[Tensor, Tensor], scores: Tensor | None = None
    ) -> Tensor:
        """What the rows of `x`, (…, m, width), take from keys and values."""
        keys, values = offered
        asked = self._split(self.ask(x)) / math.sqrt(keys.shape[-1])
        weights = asked @ keys.transpose(-1, -2)
        if scores is not None:
            weights = weights + scores
        taken = weights.softmax(dim=-1).to(values.dtype) @ values
        return self.mix(taken.transpose(-2, -3).flatten(-2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


class Distances(nn.Module):
    """A learned score for each head and each number of items between two of a history."""

    def __init__(self, length: int, heads: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(heads, length))

    def forward(self, n: int) -> Tensor:
        """(heads, n, n): of row i for item j at most i; of later ones minus infinity."""
        apart = torch.arange(n)[:, None] - torch.arange(n)
        found = self.scores[:, apart.clamp(0, self.scores.shape[1] - 1)]
        return found.masked_fill(apart < 0, -math.inf)


class Feed(nn.Module):
    """The feed-forward part of a layer."""

    def __init__(self, width: int, inner: int, drop: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, inner), nn.ReLU(), drop, nn.Linear(inner, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) to (…, width)."""
        return self.layers(x)
