"""Vectors on disk for the benchmarks that need millions of them."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np


def generate(path: Path, n: int, d: int, duplicates: float = 0.0) -> None:
    """Clusters of uneven size with a decaying spectrum: (n, d) float32, written in blocks.

    A share of `duplicates` rows are exact copies of others.
    """
    rng = np.random.default_rng(0)
    scale = np.exp(-np.arange(d) / d * 3).astype(np.float32)
    centers = rng.normal(size=(2000, d)).astype(np.float32) * scale * 2
    share = rng.pareto(1.5, size=2000) + 0.1
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    for start in range(0, n, 100_000):
        stop = min(start + 100_000, n)
        noise = rng.standard_normal(size=(stop - start, d), dtype=np.float32) * scale
        out[start:stop] = (
            centers[rng.choice(2000, size=stop - start, p=share / share.sum())] + noise
        )
        copies = int((stop - start) * duplicates)
        if copies:
            to, of = rng.choice(stop - start, size=(2, copies), replace=False)
            out[start + to] = out[start + of]
    out.flush()


def generate_apart(path: Path, n: int, d: int, duplicates: float = 0.0) -> None:
    """`generate` in a process of its own: a child starts with the peak memory of its parent."""
    maker = multiprocessing.get_context("spawn").Process(
        target=generate, args=(path, n, d, duplicates)
    )
    maker.start()
    maker.join()
