"""Sequences of items as batches of token tuples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from interactions import Sequences
from torch import Tensor

from dqindex._types import Int64


class Batch(NamedTuple):
    """Rows of items, padded behind.

    Attributes
    ----------
    rows : (b,) int64
        Which windows or users these are.
    codes : (b, n, T) int64
    lengths : (b,) int64
    """

    rows: Int64
    codes: Tensor
    lengths: Tensor


def windows(sequences: Sequences, length: int) -> list[Int64]:
    """Parts of at most `length` + 1 items, of two or more; the last of one is the next one's first.

    So each item but a user's first is once the one to tell, after at most `length` others.
    """
    found = []
    for user in range(len(sequences)):
        items = sequences[user]
        # The last part is whole: that is where the history is longest.
        ends = range(len(items), 1, -length)
        found += [items[max(0, end - length - 1) : end] for end in ends]
    return found


def histories(sequences: Sequences, length: int) -> list[Int64]:
    """The last `length` items of each user."""
    return [sequences[user][-length:] for user in range(len(sequences))]


def batches(
    parts: list[Int64], table: Tensor, size: int, rng: np.random.Generator | None = None
) -> Iterator[Batch]:
    """Batches of parts that are about equally long, in random order if `rng` is given.

    Parameters
    ----------
    parts : list of (n,) int64
        Items.
    table : (items, T) int64
        Codes of every item.
    size : int
        Parts a batch.
    rng : Generator, optional
    """
    lengths = np.array([len(part) for part in parts])
    order = np.arange(len(parts)) if rng is None else rng.permutation(len(parts))
    order = order[np.argsort(lengths[order], kind="stable")]
    starts = np.arange(0, len(order), size)
    if rng is not None:
        rng.shuffle(starts)
    for start in starts:
        rows = order[start : start + size]
        padded = np.zeros((len(rows), lengths[rows].max()), dtype=np.int64)
        for place, row in enumerate(rows):
            padded[place, : lengths[row]] = parts[row]
        yield Batch(rows, table[torch.from_numpy(padded)], torch.from_numpy(lengths[rows]))
