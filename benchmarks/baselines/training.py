"""Training of an `Autoencoder`: until its error on vectors kept aside falls no more."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.autoencoder import Autoencoder

# A rate of learning is given up after so many looks without a gain of more than this share.
LOOKS, GAIN = 6, 0.001
RATES = (1e-3, 3e-4, 1e-4)
STEPS_A_LOOK = 50


@dataclass
class Best:
    """The weights with the least error so far.

    Attributes
    ----------
    error : float
        On the vectors kept aside.
    step : int
    state : dict
    idle : int
        Looks since the error fell by more than `GAIN`.
    """

    error: float
    step: int
    state: dict[str, Any]
    idle: int = 0

    def look(self, error: float, step: int, model: Autoencoder) -> None:
        """Take the weights of `model` if they are better."""
        self.idle = 0 if error < self.error * (1 - GAIN) else self.idle + 1
        if error < self.error:
            self.error, self.step = error, step
            self.state = copy.deepcopy(model.state_dict())


def train(
    model: Autoencoder,
    rows: Tensor,
    aside: Tensor,
    *,
    beta: float,
    batch: int,
    most_steps: int,
    chance: torch.Generator,
) -> Best:
    """Train in place by AdamW at falling rates, each from the best weights before; return those.

    The loss is the mean squared error of the decoded vectors plus `beta` times the commitment.

    Parameters
    ----------
    model : Autoencoder
        Started.
    rows, aside : (n, d)
        What is trained on, and what the error is measured on.
    beta : float
    batch, most_steps : int
    chance : torch.Generator
        Of the order of rows, and of codewords that start again.
    """
    best = Best(error_of(model, aside), 0, copy.deepcopy(model.state_dict()))
    order, step = torch.empty(0, dtype=torch.int64), 0
    for rate in RATES:
        model.load_state_dict(best.state)
        best.idle = 0
        optimizer = torch.optim.AdamW(
            [one for one in model.parameters() if one.requires_grad], rate, weight_decay=0.0
        )
        while best.idle < LOOKS and step < most_steps:
            if not len(order):
                order = torch.randperm(len(rows), generator=chance)
            x, order = rows[order[:batch]], order[batch:]
            coded = model.quantise(model.encoder(x), chance)
            loss = (model.decoder(coded.latent) - x).square().mean() + beta * coded.commitment
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % STEPS_A_LOOK == 0:
                best.look(error_of(model, aside), step, model)
    model.load_state_dict(best.state)
    return best


def error_of(model: Autoencoder, rows: Tensor) -> float:
    """Mean squared error of decoded vectors."""
    with torch.no_grad():
        return float((model(rows) - rows).square().mean())
