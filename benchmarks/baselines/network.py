"""The encoder and the decoder: a linear map, and a perceptron beside it."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """``x @ matrix.T``, plus a perceptron whose last layer is zero at the start.

    Without the linear map (`matrix` is None) it is the plain perceptron that is usual.
    """

    def __init__(self, widths: list[int], matrix: Tensor | None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.linear: nn.Module | None = None
        if matrix is not None:
            self.linear = nn.Linear(widths[0], widths[-1], bias=False)
            last = self.layers[-1]
            with torch.no_grad():
                self.linear.weight.copy_(matrix)
                last.weight.zero_()
                last.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(n, first width) to (n, last width)."""
        beside = self.layers(x)
        return beside if self.linear is None else self.linear(x) + beside
