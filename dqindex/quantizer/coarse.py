"""Coarse levels: residual k-means, each level on what those before it leave over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from dqindex._types import Codes, Float32, Matrix, Progress
from dqindex.quantizer.codebooks import ProductCodebooks
from dqindex.quantizer.kmeans import train_kmeans
from dqindex.quantizer.nearest import nearest, nearest_in_pieces

# Seeds of the levels begin here, away from those of the subspaces.
FIRST_SEED = 1000


def left_over(rows: Matrix, levels: Sequence[Float32], codes: npt.NDArray[Any]) -> Matrix:
    """Rows without the centroids that their first codes name, one column a level."""
    for level, centroids in enumerate(levels):
        rows = rows - centroids[codes[:, level]]
    return rows


def code_in_turn(rows: Matrix, levels: Sequence[Float32], out: Codes) -> Matrix:
    """Write the nearest centroid of each level to a column of `out`; what is left over."""
    for level, centroids in enumerate(levels):
        out[:, level] = nearest(rows, centroids)[0]
        rows = left_over(rows, [centroids], out[:, level : level + 1])
    return rows


def train_in_turn(
    rows: Float32, sizes: Sequence[int], settings: ProductCodebooks, report: Progress
) -> tuple[list[Float32], Float32]:
    """Levels of these `sizes`, trained as `settings` say, and what they leave over of the rows."""
    levels = []
    for level, size in enumerate(sizes):
        centroids, _ = train_kmeans(
            rows,
            size,
            n_iter=settings.n_iter,
            n_redo=settings.n_redo,
            init=settings.init,
            seed=settings.seed + FIRST_SEED + level,
            even=True,
            max_share=settings.max_share,
        )
        rows = rows - centroids[nearest_in_pieces(rows, centroids)[0]]
        levels.append(centroids)
        report("train codebooks", level + 1, len(sizes) + settings.n_subspaces)
    return levels, rows
