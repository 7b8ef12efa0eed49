"""Deal variances into groups of equal size whose sums are as equal as can be.

Two objectives, each the largest group sum:

- ``variance``: sums of variances, as arXiv 2508.11194 asks for (the note in its words: every
  group expresses about the same variance).
- ``log-variance``: sums of logarithms, that is products of variances: the parametric solution of
  Ge et al., "Optimized Product Quantization", TPAMI 2014, section 4.

Both greedy rules in use (faiss's ``PCAMatrix.balanced_bins`` and Ge et al.'s) are starts here;
swaps between two groups then improve on them, so that the result is never worse than either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dqindex._parameters import checked, dimensions, one_of
from dqindex._types import Float64, Int64
from dqindex.errors import InputError
from dqindex.vectors.matrix import as_floats

OBJECTIVES = ("variance", "log-variance")
GOOD_ENOUGH = 1e-3  # no new start is tried this near to the least possible largest sum
STARTS = 8
PAIRS_UP_TO = 12  # axes a group up to which two axes are swapped for two


@dataclass(frozen=True)
class Deal:
    """Which axis goes where.

    Attributes
    ----------
    order : (L * size,) int64
        Axes group by group, the largest variance of a group first; -1 is a padding axis.
    sums : (L,) float64
        Variance of each group.
    imbalance : float
        Largest group sum over the mean group sum, minus 1, of the objective's own values;
        0 is perfect.
    """

    order: Int64
    sums: Float64
    imbalance: float


@checked(n_groups=dimensions(), objective=one_of(*OBJECTIVES))
def deal(variances: npt.ArrayLike, n_groups: int, objective: str = "variance") -> Deal:
    """Deal axes to groups.

    Parameters
    ----------
    variances : (m,) array-like
        Variance of each axis, not negative. If `n_groups` does not divide m, axes of zero variance
        are added.
    n_groups : int
        L, the number of groups.
    objective : {"variance", "log-variance"}
        The quantity that is made equal.

    Returns
    -------
    Deal

    Raises
    ------
    InputError
        If a variance is negative or not finite, or the objective is unknown.

    Notes
    -----
    For ``log-variance`` an axis without variance, such as padding, counts like the smallest
    axis with variance: its logarithm has no lower bound, and it adds nothing to the distortion.

    Examples
    --------
    >>> deal([4.0, 3.0, 2.0, 1.0], 2).order.tolist()
    [0, 3, 1, 2]
    """
    values = as_floats(variances, "variances").astype(np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all() or values.min() < 0:
        raise InputError("variances must be a non-empty list of finite numbers, none negative")
    size = -(-values.size // n_groups)
    padded = np.zeros(n_groups * size)
    padded[: values.size] = values
    # Stable: equal variances keep their order, padding comes last.
    rank = np.argsort(-padded, kind="stable")
    weights = _weights(padded[rank], objective)
    groups = _balance(weights, n_groups)
    # The group of the largest axis comes first; within a group axes descend.
    groups = groups[np.argsort(groups[:, 0], kind="stable")]
    order = rank[groups].reshape(-1)
    order[order >= values.size] = -1
    return Deal(
        order=order.astype(np.int64),
        sums=padded[rank][groups].sum(axis=1),
        imbalance=_imbalance(weights[groups].sum(axis=1), float(weights.sum())),
    )


def imbalance(variances: Float64, n_groups: int, objective: str) -> float:
    """`Deal.imbalance` of axes that are dealt already: (m,) variances, group by group."""
    rank = np.argsort(-variances, kind="stable")
    weights = np.empty(len(variances))
    weights[rank] = _weights(variances[rank], objective)
    return _imbalance(weights.reshape(n_groups, -1).sum(axis=1), float(weights.sum()))


def _imbalance(sums: Float64, total: float) -> float:
    mean = total / len(sums)
    return float(max(sums.max() / mean - 1, 0.0)) if mean > 0 else 0.0


def _weights(descending: Float64, objective: str) -> Float64:
    if objective == "variance":
        return descending
    positive = descending[descending > descending[0] * np.finfo(np.float64).eps]
    if positive.size == 0:
        return np.zeros_like(descending)
    logs = np.zeros_like(descending)
    logs[: positive.size] = np.log(positive / positive[-1])
    return logs


def _balance(weights: Float64, n_groups: int) -> Int64:
    """Positions in `weights` (descending) by group, shape (n_groups, size), each row ascending."""
    size = len(weights) // n_groups
    # No deal has a largest sum below this: the largest axis has company, if only the smallest.
    floor = max(weights.sum() / n_groups, weights[0] + weights[len(weights) - size + 1 :].sum())
    target = floor * (1 + GOOD_ENOUGH)
    # Greedy as faiss does it, and with every value raised by one as nanopq (Ge et al.) does.
    starts = [_greedy(weights, n_groups), _greedy(weights + 1.0, n_groups)]
    rng = np.random.default_rng(0)
    best = starts[0]
    best_sums = _sums(weights, best)
    for trial in range(STARTS):
        if trial > 0 and best_sums[0] <= target:
            break
        start = starts[trial] if trial < len(starts) else _shake(best, rng)
        groups = _improve(weights, start)
        sums = _sums(weights, groups)
        if tuple(sums) < tuple(best_sums):
            best, best_sums = groups, sums
    return np.sort(best, axis=1)


def _sums(weights: Float64, groups: Int64) -> Float64:
    """Group sums, the largest first."""
    return np.sort(weights[groups].sum(axis=1))[::-1]


def _greedy(weights: Float64, n_groups: int) -> Int64:
    size = len(weights) // n_groups
    groups = np.empty((n_groups, size), dtype=np.int64)
    filled = np.zeros(n_groups, dtype=np.int64)
    sums = np.zeros(n_groups)
    for position, weight in enumerate(weights):
        target = int(np.argmin(sums))
        groups[target, filled[target]] = position
        filled[target] += 1
        sums[target] = np.inf if filled[target] == size else sums[target] + weight
    return groups


def _shake(groups: Int64, rng: np.random.Generator) -> Int64:
    """Deal two axes of every group anew: a start near the best, but in another valley."""
    groups = groups.copy()
    n_groups, size = groups.shape
    taken = np.argsort(rng.random(groups.shape), axis=1)[:, : min(2, size)]
    rows = np.arange(n_groups)[:, None]
    loose = groups[rows, taken].reshape(-1)
    groups[rows, taken] = rng.permutation(loose).reshape(taken.shape)
    return groups


def _improve(weights: Float64, groups: Int64) -> Int64:
    """Swap axes between two groups while that brings their sums closer.

    A swap that moves two sums closer lowers the larger of them, so the largest sum of all never
    grows. Moving m from a sum to another that is smaller by `gap` lowers the sum of squares by
    2 m (gap - m): that is what a step maximises, the heaviest group first.
    """
    groups = groups.copy()
    size = groups.shape[1]
    sums = weights[groups].sum(axis=1)
    pairs = np.triu_indices(size, 1) if 2 <= size <= PAIRS_UP_TO else None
    tolerance = 1e-12 * float(weights.sum()) ** 2
    improved = True
    while improved:
        improved = False
        for high in np.argsort(-sums, kind="stable"):
            held = weights[groups]
            gap = (sums[high] - sums)[:, None, None]
            moves = held[high][None, :, None] - held[:, None, :]
            gains = moves * (gap - moves)
            low, i, j = np.unravel_index(int(np.argmax(gains)), gains.shape)
            gain, here, there = gains[low, i, j], [i], [j]
            if pairs is not None:
                double = held[:, pairs[0]] + held[:, pairs[1]]
                moves = double[high][None, :, None] - double[:, None, :]
                gains = moves * (gap - moves)
                best, i, j = np.unravel_index(int(np.argmax(gains)), gains.shape)
                if gains[best, i, j] > gain:
                    gain, low = gains[best, i, j], best
                    here, there = [[side[at] for side in pairs] for at in (i, j)]
            if gain <= tolerance:
                continue
            kept = groups[high, here].copy()
            groups[high, here] = groups[low, there]
            groups[low, there] = kept
            sums[[high, low]] = weights[groups[[high, low]]].sum(axis=1)
            improved = True
    return groups
