"""Negative items that a batch shares, and the softmax that allows for how they were drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dqindex._types import Int64

# The share of negatives that is drawn evenly; the rest by how often items are interacted with.
EVEN = 0.5


class Drawn(NamedTuple):
    """A sample of items.

    Attributes
    ----------
    items : (n,) int64
        Distinct.
    stands_for : (n,) float32
        The logarithm of how many items each stands for: how often it was drawn by how often it was
        to be expected.
    place : (items of the catalogue,) int64
        Where each item is in the sample, or -1.
    """

    items: Tensor
    stands_for: Tensor
    place: Tensor


class Negatives:
    """Draws `n` items, with replacement; `counts` says how often each is interacted with."""

    def __init__(self, counts: Int64, n: int) -> None:
        self._chance = EVEN / len(counts) + (1 - EVEN) * counts / counts.sum()
        self._bounds = np.cumsum(self._chance)
        self._n = n

    def draw(self, rng: np.random.Generator) -> Drawn:
        """A sample."""
        drawn = np.searchsorted(self._bounds, rng.random(self._n) * self._bounds[-1])
        items, times = np.unique(drawn, return_counts=True)
        stands_for = np.log(times / (self._n * self._chance[items])).astype(np.float32)
        place = torch.full((len(self._chance),), -1)
        place[torch.from_numpy(items)] = torch.arange(len(items))
        return Drawn(torch.from_numpy(items), torch.from_numpy(stands_for), place)


def softmax_loss(
    queries: Tensor, right: Tensor, targets: Tensor, sampled: Tensor, drawn: Drawn
) -> Tensor:
    """Mean cross-entropy of the right items among all, estimated from a sample.

    Each sampled item stands for as many as its chance says ("logQ correction"), so that the sum
    over the sample estimates that over all items; the right item itself is left out of it.

    Parameters
    ----------
    queries, right : (m, d)
        Of users, and of the items that they had next.
    targets : (m,) int64
        Those items.
    sampled : (n, d)
        Of `drawn.items`.
    drawn : Drawn
    """
    own = (queries * right).sum(dim=1, keepdim=True)
    others = torch.addmm(drawn.stands_for, queries, sampled.T)
    place = drawn.place[targets]
    again = torch.nonzero(place >= 0)[:, 0]
    others[again, place[again]] = -torch.inf
    first = torch.zeros(len(targets), dtype=torch.int64)
    return functional.cross_entropy(torch.cat([own, others], dim=1), first)


def unit(vectors: Tensor) -> Tensor:
    """Of length one."""
    return functional.normalize(vectors, dim=1)
