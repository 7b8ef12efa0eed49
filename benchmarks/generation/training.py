"""Training of a `Generator`, and its loss on validation items."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from interactions import NONE, Split
from torch import Tensor, nn

from dqindex._types import Float32, Int64
from dqindex.sids.map import SidMap
from generation.batches import Batch, batches, histories, windows
from generation.branches import Branches
from generation.model import Generator, Shape

# The rate of learning rises to the first, over so many steps, and then falls to zero.
RATE, WARM_UP = 4e-3, 50
EPOCHS = 8
DECAY = 0.05
BATCH, BATCH_ASKED = 256, 512
# Users who are asked after each epoch.
ASKED = 5000


@dataclass
class Trained:
    """A generator, and how it came to be.

    Attributes
    ----------
    model : Generator
        With the weights of the best epoch.
    table : (items, T) int64
        Codes of every item.
    branches : Branches or None
        What each token competes with; None for all codes of its level.
    losses : list of float
        Of the validation items, epoch by epoch: nats an item.
    best : int
        The best epoch, from 1.
    seconds : float
        Of the processor, all epochs.
    """

    model: Generator
    table: Tensor
    branches: Branches | None
    losses: list[float] = field(default_factory=list)
    best: int = 0
    seconds: float = 0.0


def train(
    sids: SidMap,
    split: Split,
    shape: Shape,
    branches: Branches | None,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
) -> Trained:
    """Train on all items of the training parts but the first of each, by AdamW.

    The epoch with the least loss on the validation items is the one that counts. With `branches`,
    each token competes only with those that may stand in its place by the trie, so that the model
    need not learn which IDs there are.
    """
    began = time.process_time()
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Generator(sids.sizes, shape)
        out = Trained(model, torch.from_numpy(sids.codes.astype(np.int64)), branches)
        parts = windows(split.training, shape.length)
        state, least = copy.deepcopy(model.state_dict()), np.inf
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=DECAY, fused=True)
        steps, all_steps = 0, epochs * -(-len(parts) // BATCH)
        for epoch in range(1, epochs + 1):
            model.train()
            for batch in batches(parts, out.table, BATCH, rng):
                steps += 1
                rate = RATE * min(steps / WARM_UP, 1 - steps / (all_steps + 1))
                optimizer.param_groups[0]["lr"] = rate
                step(out, batch, optimizer)
            out.losses.append(validation_loss(out, split))
            if out.losses[-1] < least:
                least, out.best = out.losses[-1], epoch
                state = copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    model.eval()
    out.seconds = time.process_time() - began
    return out


def step(trained: Trained, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
    """One step down the mean loss of all items of a batch but the first ones."""
    there = torch.arange(1, batch.codes.shape[1]) < batch.lengths[:, None]
    states = trained.model.encode(batch.codes[:, :-1])[there]
    tokens = list(told_tokens(trained, states, batch.codes[:, 1:][there]))
    loss = torch.stack([one.losses.sum() for one in tokens]).sum() / len(states)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(trained.model.parameters(), 1.0)
    optimizer.step()


class Told(NamedTuple):
    """How well one token of several items is told.

    Attributes
    ----------
    rows : (r,) int64
        Items whose token must be told; that of the others follows from the trie.
    losses : (r,) float32
        Minus the logarithm of its probability.
    right : (r,) bool
        Whether it is the likeliest; of none in training.
    """

    rows: Tensor
    losses: Tensor
    right: Tensor


def told_tokens(trained: Trained, states: Tensor, wanted: Tensor) -> Iterator[Told]:
    """How well each token of items, (m, T) codes, is told given those before: level by level."""
    model, branches = trained.model, trained.branches
    rows, before = torch.arange(len(wanted)), torch.zeros_like(states)
    nodes = torch.zeros_like(rows)
    for level, table in enumerate(model.tables):
        if branches is not None:
            rows = branches.free(nodes)
        logits = model.decode(states[rows], before[rows], level)
        if branches is not None:
            logits = logits.masked_fill(branches.after(nodes[rows], level) < 0, -torch.inf)
            nodes = branches.child(nodes, wanted[:, level])
        codes = wanted[rows, level]
        losses = nn.functional.cross_entropy(logits, codes, reduction="none")
        right = logits.argmax(dim=1) == codes if not model.training else codes.new_empty(0)
        yield Told(rows, losses, right)
        before = before + table(wanted[:, level])


def validation_loss(trained: Trained, split: Split) -> float:
    """Mean of minus the logarithm of the probability of the validation item, of some users."""
    asked = np.flatnonzero(split.validation != NONE)
    if len(asked) > ASKED:
        asked = np.random.default_rng(0).choice(asked, ASKED, replace=False)
    parts = histories(split.training, trained.model.shape.length)
    losses, _ = told(trained, [parts[user] for user in asked], split.validation[asked])
    return float(losses.sum(axis=1).mean())


@torch.no_grad()
def told(trained: Trained, parts: list[Int64], targets: Int64) -> tuple[Float32, Float32]:
    """How well each token of items is told, given those before it.

    Parameters
    ----------
    trained : Trained
    parts : list of m (n,) int64
        Histories.
    targets : (m,) int64
        Items that come next.

    Returns
    -------
    losses : (m, T) float32
        Minus the logarithm of each token's probability.
    right : (m, T) float32
        1 where the likeliest token is the item's.
    """
    model, table = trained.model.eval(), trained.table
    losses = np.zeros((len(parts), len(model.sizes)), dtype=np.float32)
    right = np.ones_like(losses)
    for batch in batches(parts, table, BATCH_ASKED):
        wanted = table[torch.from_numpy(targets[batch.rows])]
        states = model.encode(batch.codes)[torch.arange(len(wanted)), batch.lengths - 1]
        for level, one in enumerate(told_tokens(trained, states, wanted)):
            rows = batch.rows[one.rows.numpy()]
            losses[rows, level], right[rows, level] = one.losses.numpy(), one.right.numpy()
    return losses, right
