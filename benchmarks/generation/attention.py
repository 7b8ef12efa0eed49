"""Attention whose scores depend on how far apart two items of a history are."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Attention of several heads among the items of a history."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.enter = nn.Linear(width, 3 * width, bias=False)
        self.leave = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """What each of `x`, (B, n, width), takes from all; `scores`, (heads, n, n), are added."""
        split = self.enter(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        asked, keys, values = split
        weights = asked @ keys.transpose(-1, -2) / math.sqrt(keys.shape[-1]) + scores
        taken = weights.softmax(dim=-1).to(values.dtype) @ values
        return self.leave(taken.transpose(1, 2).flatten(2))


class Distances(nn.Module):
    """A learned score for each head and each number of items between two of a history."""

    def __init__(self, length: int, heads: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(heads, length))

    def forward(self, n: int) -> Tensor:
        """(heads, n, n): of item i for item j at most i; of later ones minus infinity."""
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
