"""Beam search: the most likely tuples of tokens, all of them, or those of a trie alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dqindex.sids.trie import Trie
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


class Branches:
    """A trie of `dqindex sids export --format trie` for many beams at once."""

    def __init__(self, trie: Trie) -> None:
        first = np.asarray(trie.first, dtype=np.int64)
        self.tokens = torch.from_numpy(trie.tokens.astype(np.int64))
        # One more, without children: where there is no node, which is -1, this one is read.
        self.starts = torch.from_numpy(first)
        self.counts = torch.from_numpy(np.append(np.diff(first), 0))
        self.offsets = trie.offsets.tolist()
        self.sizes = trie.code_sizes.tolist()

    def children(self, nodes: Tensor, level: int) -> Tensor:
        """The node that each code leads to from some nodes, (m,): (m, K), -1 where none."""
        counts = self.counts[nodes]
        rows = torch.repeat_interleave(torch.arange(len(nodes)), counts)
        within = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
        found = self.starts[nodes][rows] + within
        out = torch.full((len(nodes), self.sizes[level]), -1)
        out[rows, self.tokens[found] - self.offsets[level]] = found
        return out


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
    memory = model.remember(histories)
    count, width = len(histories), model.shape.width
    scores_of_items = memory.scores[:, lengths - 1].transpose(0, 1)[:, :, None]
    nodes = torch.zeros(count, 1, dtype=torch.int64)
    total = torch.zeros(count, 1)
    codes = torch.zeros(count, 1, 0, dtype=torch.int64)
    before, token = None, torch.zeros(count, 1, width)
    for level, size in enumerate(model.sizes):
        x, before = model.decode(
            (token + model.levels[level])[:, :, None], memory, scores_of_items, before
        )
        gains = model.logits(x[:, :, 0], level).float().log_softmax(dim=-1)
        sums = total[:, :, None] + gains
        if branches is not None:
            following = branches.children(nodes.flatten(), level).view(count, -1, size)
            sums = sums.masked_fill(following < 0, -torch.inf)
            following = following.flatten(1)
        total, best = sums.flatten(1).topk(min(beams, sums[0].numel()))
        parents, chosen = best // size, best % size
        codes = torch.cat([_taken(codes, parents), chosen[:, :, None]], dim=2)
        before = [(_taken(keys, parents), _taken(values, parents)) for keys, values in before]
        token = model.tables[level](chosen)
        if branches is not None:
            nodes = following.gather(1, best)
    return Found(codes, total)


def _taken(rows: Tensor, parents: Tensor) -> Tensor:
    """Rows (B, m, …) of the parents, (B, W)."""
    return rows[torch.arange(len(rows))[:, None], parents]
