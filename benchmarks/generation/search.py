"""Beam search: the most likely tuples of tokens, all of them, or those of a trie alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from generation.branches import Branches
from generation.model import Generator


class Found(NamedTuple):
    """The tuples that a search ends with, the likeliest first.

    Attributes
    ----------
    codes : (B, W, T) int64
    scores : (B, W) float32
        Logarithms of their probabilities; minus infinity where there are fewer than W.
    """

    codes: Tensor
    scores: Tensor


@torch.no_grad()
def search(
    model: Generator, histories: Tensor, lengths: Tensor, beams: int, branches: Branches | None
) -> Found:
    """The likeliest tuples after each history.

    Parameters
    ----------
    model : Generator
    histories : (B, n, T) int64
        Padded behind.
    lengths : (B,) int64
    beams : int
        W, tuples that are kept after each level.
    branches : Branches, optional
        Allow only tuples of this trie.
    """
    count = len(histories)
    states = model.encode(histories)[torch.arange(count), lengths - 1][:, None]
    nodes = torch.zeros(count, 1, dtype=torch.int64)
    total, before = torch.zeros(count, 1), torch.zeros_like(states)
    codes = torch.zeros(count, 1, 0, dtype=torch.int64)
    for level, size in enumerate(model.sizes):
        logits = model.decode(states.expand_as(before), before, level).float()
        if branches is not None:
            following = branches.after(nodes, level)
            logits = logits.masked_fill(following < 0, -torch.inf)
        gains = logits.log_softmax(dim=-1).nan_to_num(-torch.inf, neginf=-torch.inf)
        sums = (total[:, :, None] + gains).flatten(1)
        total, best = sums.topk(min(beams, sums.shape[1]))
        parents, chosen = best // size, best % size
        codes = torch.cat([_taken(codes, parents), chosen[:, :, None]], dim=2)
        before = _taken(before, parents) + model.tables[level](chosen)
        if branches is not None:
            nodes = following.flatten(1).gather(1, best).long()
    return Found(codes, total)


def _taken(rows: Tensor, parents: Tensor) -> Tensor:
    """Rows (B, m, …) of the parents, (B, W)."""
    return rows[torch.arange(len(rows))[:, None], parents]
