"""Training of a `Generator`: until its loss on the validation items falls no more."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from interactions import NONE, Split
from torch import Tensor, nn

from dqindex._types import Float32, Int64
from dqindex.sids.map import SidMap
from generation.batches import Batch, batches, histories, windows
from generation.model import Generator, Shape

# A rate of learning is given up after so many epochs without a gain.
PATIENCE = 2
RATES = (1e-3, 2e-4)
WARM_UP = 200
DECAY = 0.05
BATCH, BATCH_ASKED = 128, 512


@dataclass
class Trained:
    """A generator, and how it came to be.

    Attributes
    ----------
    model : Generator
        With the weights of the best epoch.
    table : (items, T) int64
        Codes of every item.
    losses : list of float
        Of the validation items, epoch by epoch: nats an item.
    best : int
        The best epoch, from 1.
    seconds : float
        Of the clock, all epochs.
    """

    model: Generator
    table: Tensor
    losses: list[float] = field(default_factory=list)
    best: int = 0
    seconds: float = 0.0


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16"))


def low_precision() -> Any:
    """Products in bfloat16 where the processor has them; the weights stay float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bfloat16())


def train(
    sids: SidMap, split: Split, shape: Shape, *, seed: int = 0, most_epochs: int = 60
) -> Trained:
    """Train on all items of the training parts but the first of each, by AdamW."""
    began = time.perf_counter()
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Generator(sids.sizes, shape)
        out = Trained(model, torch.from_numpy(sids.codes.astype(np.int64)))
        parts = windows(split.training, shape.length)
        state, least = copy.deepcopy(model.state_dict()), np.inf
        for rate in RATES:
            model.load_state_dict(state)
            optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=DECAY, fused=True)
            idle, steps = 0, 0
            while idle < PATIENCE and len(out.losses) < most_epochs:
                model.train()
                for batch in batches(parts, out.table, BATCH, rng):
                    steps += 1
                    optimizer.param_groups[0]["lr"] = rate * min(1.0, steps / WARM_UP)
                    step(model, batch, optimizer)
                loss, idle = validation_loss(out, split), idle + 1
                out.losses.append(loss)
                if loss < least:
                    least, idle, out.best = loss, 0, len(out.losses)
                    state = copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    model.eval()
    out.seconds = time.perf_counter() - began
    return out


def step(model: Generator, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
    """One step down the mean loss of all items of a batch but the first ones."""
    there = torch.arange(1, batch.codes.shape[1]) < batch.lengths[:, None]
    wanted = batch.codes[:, 1:][there]
    with low_precision():
        logits = model(batch.codes)
    losses = [
        nn.functional.cross_entropy(one[there].float(), wanted[:, level])
        for level, one in enumerate(logits)
    ]
    optimizer.zero_grad()
    torch.stack(losses).sum().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def validation_loss(trained: Trained, split: Split) -> float:
    """Mean of minus the logarithm of the probability of the validation item."""
    asked = np.flatnonzero(split.validation != NONE)
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
    model, table = trained.model, trained.table
    model.eval()
    levels = range(len(model.sizes))
    losses = np.empty((len(parts), len(levels)), dtype=np.float32)
    right = np.empty_like(losses)
    for batch in batches(parts, table, BATCH_ASKED):
        wanted = table[torch.from_numpy(targets[batch.rows])]
        with low_precision():
            memory = model.remember(batch.codes)
            scores = memory.scores[:, batch.lengths - 1].transpose(0, 1)[:, :, None]
            x, _ = model.decode(model.begin(wanted)[:, None], memory, scores)
            logits = [model.logits(x[:, 0, level], level).float() for level in levels]
        for level, one in enumerate(logits):
            loss = nn.functional.cross_entropy(one, wanted[:, level], reduction="none")
            losses[batch.rows, level] = loss.numpy()
            right[batch.rows, level] = (one.argmax(dim=1) == wanted[:, level]).numpy()
    return losses, right
