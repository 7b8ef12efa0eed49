"""SASRec: Kang and McAuley, "Self-Attentive Sequential Recommendation", 2018.

With a softmax over many sampled items in place of one negative a position, which is known to close
most of the gap to later models (Klenitskiy and Vasilev, 2023; Petrov and Macdonald, 2023).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from interactions import Sequences
from torch import Tensor, nn
from torch.nn import functional

from dqindex._types import Float32, Int64
from recommenders.features import Features, Table
from recommenders.recommender import Recommender
from recommenders.sampling import Negatives, softmax_loss


class SASRec(Recommender):
    """The next item of a user by attention over the last ones."""

    DIM, LAYERS, LENGTH, DROPOUT = 64, 2, 20, 0.3
    BATCH, NEGATIVES, SCALE, RATE = 2048, 256, 0.1, 3e-3

    def __init__(self, items: Features, training: Sequences) -> None:
        super().__init__()
        self.items = Table(items, self.DIM, self.SCALE)
        # Counted from the last one.
        self.positions = nn.Parameter(torch.randn(self.LENGTH, self.DIM) * self.SCALE)
        self.layers = nn.ModuleList(Block(self.DIM, self.DROPOUT) for _ in range(self.LAYERS))
        self.last = nn.LayerNorm(self.DIM)
        self.dropout = Dropout(self.DROPOUT)
        self._training = _by_length(training, self.LENGTH + 1)
        self._negatives = Negatives(training.counts(), self.NEGATIVES)

    def batches(self, rng: np.random.Generator) -> Iterator[Tensor]:
        """Sequences of one length each, (m, length), of about `BATCH` positions."""
        found: list[Tensor] = []
        for _, items in self._training:
            length = items.shape[1]
            if length > 1:
                order = torch.from_numpy(rng.permutation(len(items)))
                found += [items[some] for some in order.split(max(1, self.BATCH // (length - 1)))]
        for place in rng.permutation(len(found)):
            yield found[place]

    def states(self, items: Tensor) -> Tensor:
        """What comes next after each of the items, (m, length, d)."""
        m, length = items.shape
        state = self.items(items.reshape(-1)).reshape(m, length, -1) + self.positions[-length:]
        state = self.dropout(state)
        for layer in self.layers:
            state = layer(state)
        made: Tensor = self.last(state)
        return made

    def loss(self, batch: Tensor, rng: np.random.Generator) -> Tensor:
        """Of each item after those before it."""
        drawn = self._negatives.draw(rng)
        targets = batch[:, 1:].reshape(-1)
        items = self.items(torch.cat([targets, drawn.items]))
        states = self.states(batch[:, :-1]).reshape(len(targets), -1)
        right, sampled = items[: len(targets)], items[len(targets) :]
        return softmax_loss(states, right, targets, sampled, drawn)

    def rankers(self, before: Sequences) -> tuple[Float32, Float32]:
        """The states of users after all that they had `before`, and the vectors of items."""
        users = np.zeros((len(before), self.DIM), np.float32)
        with torch.no_grad():
            for rows, items in _by_length(before, self.LENGTH):
                parts = [self.states(some)[:, -1] for some in items.split(self.BATCH)]
                users[rows] = torch.cat(parts).numpy()
            return users, self.items.all().numpy()


class Dropout(nn.Module):
    """As in torch, whose own takes most of a step on one core."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share
        # Of its own, so that other models beside it change nothing.
        self._random = torch.Generator().manual_seed(int(torch.randint(2**31, ())))

    def forward(self, state: Tensor) -> Tensor:
        """With a share of the numbers at 0, in training."""
        if not self.training:
            return state
        return (
            state
            * (torch.rand(state.shape, generator=self._random) >= self._share)
            / (1 - self._share)
        )


class Block(nn.Module):
    """Attention to what came before, then two linear layers, each beside what goes around it."""

    def __init__(self, d: int, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.wide = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d))
        self.dropout = Dropout(dropout)

    def forward(self, state: Tensor) -> Tensor:
        """(m, length, d) to the same."""
        query, key, value = self.attention(self.first(state)).chunk(3, dim=-1)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        state = state + self.dropout(self.out(seen))
        made: Tensor = state + self.dropout(self.wide(self.second(state)))
        return made


def _by_length(sequences: Sequences, longest: int) -> list[tuple[Int64, Tensor]]:
    """Users and their last items, for each number of items up to `longest`."""
    lengths = np.minimum(sequences.lengths(), longest)
    found = []
    for length in range(1, longest + 1):
        rows = np.flatnonzero(lengths == length)
        if len(rows):
            places = sequences.starts[1:][rows, None] - np.arange(length, 0, -1)
            found.append((rows, torch.from_numpy(sequences.items[places])))
    return found
