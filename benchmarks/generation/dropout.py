"""`Dropout` that draws its random numbers once: drawing anew takes a third of a step on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Numbers that are drawn: of a mask they are as many as it takes, from a random place on.
DRAWN = 2**22


class Dropout(nn.Module):
    """Set a share of the values to zero in training, and multiply the others to the same mean."""

    def __init__(self, share: float) -> None:
        super().__init__()
        mask = (torch.rand(DRAWN) >= share) / (1 - share)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        if not self.training:
            return x
        count = x.numel()
        mask = self.mask.repeat(-(-count // DRAWN)) if count > DRAWN else self.mask
        start = int(torch.randint(len(mask) - count + 1, ()))
        return x * mask[start : start + count].view(x.shape)
