"""`Branches`: a trie of semantic IDs as a table, for many prefixes at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dqindex.sids.trie import Trie


class Branches:
    """Which node each code leads to, from each node of a trie.

    Attributes
    ----------
    following : (nodes + 1, K) int32
        -1 where no ID goes on so. The last row is that of whole IDs, and of the node -1.
    choices : (nodes + 1,) int64
        How many codes an ID may go on with.
    """

    def __init__(self, trie: Trie) -> None:
        first = trie.first.astype(np.int64)
        inner = len(first) - 1
        parents = np.repeat(np.arange(inner), np.diff(first))
        level = np.zeros(len(trie.tokens), dtype=np.int64)
        for node, parent in enumerate(parents.tolist(), 1):
            level[node] = level[parent] + 1
        codes = trie.tokens[1:] - trie.offsets[level[1:] - 1]
        following = np.full((inner + 1, int(trie.code_sizes.max())), -1, dtype=np.int32)
        following[parents, codes] = np.arange(1, len(trie.tokens))
        # Whole IDs lead nowhere: their row is the last one.
        self.following = torch.from_numpy(following)
        self.choices = (self.following >= 0).sum(dim=1)
        self.inner, self.sizes = inner, trie.code_sizes.tolist()

    def free(self, nodes: Tensor) -> Tensor:
        """Which of some nodes, (m,), an ID may go on from in more ways than one: their places."""
        return torch.nonzero(self.choices[nodes] > 1).flatten()

    def child(self, nodes: Tensor, codes: Tensor) -> Tensor:
        """Where some nodes, (m,), lead to by one code each: (m,) int64."""
        return self.following[nodes.clamp(max=self.inner), codes].long()

    def after(self, nodes: Tensor, level: int) -> Tensor:
        """Where each code of a level leads to from nodes before it, (…): (…, K), -1 for nowhere."""
        return self.following[nodes.clamp(max=self.inner), : self.sizes[level]]
