"""What a model is here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
from interactions import Sequences
from torch import Tensor, nn

from dqindex._types import Float32


class Recommender(nn.Module):
    """A model that is trained in batches and ranks by a product of vectors."""

    RATE: float

    @abstractmethod
    def batches(self, rng: np.random.Generator) -> Iterator[Tensor]:
        """All of the training part, in random order."""

    @abstractmethod
    def loss(self, batch: Tensor, rng: np.random.Generator) -> Tensor:
        """What training makes small."""

    @abstractmethod
    def rankers(self, before: Sequences) -> tuple[Float32, Float32]:
        """Vectors of users, who had those items `before`, and of items: the product ranks."""

    def size(self) -> int:
        """How many numbers are trained."""
        return sum(one.numel() for one in self.parameters())
