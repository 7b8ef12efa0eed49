"""Training until validation no longer improves."""

from __future__ import annotations

import copy
import time
from typing import NamedTuple

import numpy as np
import torch
from interactions import NONE, Split, figures, ranks

from recommenders.recommender import Recommender

# Users whose validation item is ranked during training, at most.
ASKED = 5000
# Epochs at most, epochs between two looks at validation, and looks without a gain that end it.
EPOCHS, EVERY, PATIENCE = 60, 3, 2
# What is looked at.
WATCHED = "ndcg_20"


class Trained(NamedTuple):
    """What training came to.

    Attributes
    ----------
    epoch : int
        Whose state was kept.
    seconds : float
        Of CPU.
    validation : dict
        Figures of that state.
    """

    epoch: int
    seconds: float
    validation: dict[str, float]


def train(model: Recommender, split: Split, seed: int) -> Trained:
    """Train `model`, and leave it as it was where validation was best.

    Parameters
    ----------
    model : Recommender
    split : Split
    seed : int
        Of the order of batches and of the negatives. The users to look at do not depend on it.
    """
    began = time.thread_time()
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=model.RATE, fused=True)
    targets = np.full_like(split.validation, NONE)
    asked = np.random.default_rng(0).permutation(len(targets))[:ASKED]
    targets[asked] = split.validation[asked]
    best, kept, state = 0, {WATCHED: -1.0}, {}
    for epoch in range(1, EPOCHS + 1):
        model.train()
        for batch in model.batches(rng):
            optimizer.zero_grad()
            model.loss(batch, rng).backward()
            optimizer.step()
        if epoch % EVERY:
            continue
        model.eval()
        found = figures(ranks(*model.rankers(split.training), targets, split.training))
        if found[WATCHED] > kept[WATCHED]:
            best, kept, state = epoch, found, copy.deepcopy(model.state_dict())
        elif epoch - best >= EVERY * PATIENCE:
            break
    model.load_state_dict(state)
    model.eval()
    return Trained(best, time.thread_time() - began, kept)
