"""Two towers: matrix factorisation over the features of users and of items."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from interactions import Sequences
from torch import Tensor

from dqindex._types import Float32
from recommenders.features import Features, Table
from recommenders.recommender import Recommender
from recommenders.sampling import Negatives, softmax_loss, unit


class TwoTower(Recommender):
    """Vectors of length one from the features of either side; their product is the score."""

    DIM, BATCH, NEGATIVES, SCALE = 64, 8192, 256, 0.1
    TEMPERATURE, RATE = 0.1, 0.03

    def __init__(self, users: Features, items: Features, training: Sequences) -> None:
        super().__init__()
        self.users = Table(users, self.DIM, self.SCALE)
        self.items = Table(items, self.DIM, self.SCALE)
        self._pairs = torch.from_numpy(np.stack([training.users(), training.items], axis=1))
        self._negatives = Negatives(training.counts(), self.NEGATIVES)

    def batches(self, rng: np.random.Generator) -> Iterator[Tensor]:
        """Interactions, (m, 2), each once."""
        order = torch.from_numpy(rng.permutation(len(self._pairs)))
        for some in order.split(self.BATCH):
            yield self._pairs[some]

    def loss(self, batch: Tensor, rng: np.random.Generator) -> Tensor:
        """Of the items that users had."""
        drawn = self._negatives.draw(rng)
        items = unit(self.items(torch.cat([batch[:, 1], drawn.items])))
        right, sampled = items[: len(batch)], items[len(batch) :]
        users = unit(self.users(batch[:, 0])) / self.TEMPERATURE
        return softmax_loss(users, right, batch[:, 1], sampled, drawn)

    def rankers(self, before: Sequences) -> tuple[Float32, Float32]:
        """Vectors of users and of items; what users had `before` changes nothing."""
        with torch.no_grad():
            return unit(self.users.all()).numpy(), unit(self.items.all()).numpy()
