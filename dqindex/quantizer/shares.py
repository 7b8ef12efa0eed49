"""Codewords that serve too many vectors are split.

In many dimensions k-means leaves some codewords with a tenth of the vectors: the mean of many lies
near everything, so it takes more and more, while others keep a few outliers. Here the vectors of
such a codeword get a k-means of their own, with as many codewords as they need; those come from the
codewords with the fewest vectors, which are dissolved. `evened` does so to lower the distortion,
`bounded` until none has more than its share. Encoding stays what it was, the nearest codeword.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Int64
from dqindex.errors import InputError, warn
from dqindex.quantizer.nearest import nearest_in_pieces

# Rounds of splitting with Lloyd steps after each, which lower the distortion and may undo a part of
# it; then rounds without.
SETTLING_ROUNDS, LAST_ROUNDS = 12, 24
# Where they end above the bound, other splits are drawn, from the start, so many times in all.
TRIES = 5
# A split aims below the bound, as its neighbours move as well.
MARGIN = 0.9
# Rounds of `evened`, which splits what has more than so many times the mean number of vectors.
EVENING_ROUNDS, EVEN = 4, 2

Lloyd = Callable[[Float32, Float32], Float32]


def check_share(share: float | None, sizes: list[int]) -> None:
    """Refuse a share that so few codewords can't keep.

    Raises
    ------
    InputError
    """
    if share is not None and share < 1 / min(sizes):
        raise InputError(
            f"max_share is {share:g}, but {min(sizes)} codewords have {1 / min(sizes):.3g} of the "
            "vectors each, if all have the same; give 1.5 times that, or larger codebooks"
        )


def evened(X: Float32, centroids: Float32, lloyd: Lloyd, seed: int, *, parallel: bool) -> Float32:
    """Centroids after a few rounds that split those with the most vectors.

    A centroid is split if it has more than twice the mean number of vectors, and at least the mean
    distortion: copies of one vector gain nothing by a second centroid.

    Parameters
    ----------
    X : (n, d) float32
    centroids : (k, d) float32
        Of k-means.
    lloyd : callable
        A few Lloyd steps: of some rows, from some centroids.
    seed : int
    parallel : bool
        Spread the rows over the threads.
    """
    rng = np.random.default_rng(seed)
    k = len(centroids)
    most = max(EVEN * len(X) // k, 1)
    for _ in range(EVENING_ROUNDS):
        labels, distances = nearest_in_pieces(X, centroids, parallel=parallel)
        sizes = np.bincount(labels, minlength=k)
        lost = np.bincount(labels, weights=distances, minlength=k)
        heavy = (sizes > most) & (lost >= lost.mean())
        if not heavy.any():
            break
        centroids = lloyd(X, _split(X, centroids, labels, sizes, most, lloyd, rng, heavy))
    return centroids


def bounded(
    X: Float32, centroids: Float32, share: float, lloyd: Lloyd, seed: int, *, parallel: bool
) -> Float32:
    """Centroids of which none is the nearest of more than `share` of the rows of `X`.

    Parameters
    ----------
    X : (n, d) float32
    centroids : (k, d) float32
        Of k-means.
    share : float
    lloyd : callable
        A few Lloyd steps: of some rows, from some centroids.
    seed : int
    parallel : bool
        Spread the rows over the threads.

    Warns
    -----
    DQWarning
        If it can't be reached, as where too many vectors are the same; the best that was found is
        returned.
    """
    rng = np.random.default_rng(seed)
    most = max(int(share * len(X)), 1)
    best, least = centroids, len(X) + 1
    for _ in range(TRIES):
        made = centroids
        for turn in range(SETTLING_ROUNDS + LAST_ROUNDS):
            labels, _ = nearest_in_pieces(X, made, parallel=parallel)
            sizes = np.bincount(labels, minlength=len(made))
            if sizes.max() < least:
                best, least = made, int(sizes.max())
            if least <= most:
                return best
            settling = turn < SETTLING_ROUNDS
            # Lloyd steps in a cluster may give all but one of its codewords to outliers, each time.
            within = lloyd if settling or turn % 2 else None
            made = _split(X, made, labels, sizes, most, within, rng, sizes > most)
            if settling:
                made = lloyd(X, made)
    warn(
        f"a codeword has {least / len(X):.2%} of the vectors, more than max_share {share:.2%}: too "
        "many are the same, or nearly so; use a larger share or larger codebooks"
    )
    return best


def _split(
    X: Float32,
    centroids: Float32,
    labels: Int64,
    sizes: npt.NDArray[np.int64],
    most: int,
    lloyd: Lloyd | None,
    rng: np.random.Generator,
    heavy: npt.NDArray[np.bool_],
) -> Float32:
    """Give the vectors of `heavy` clusters more centroids, taken from the smallest.

    Those are some of the vectors, after `lloyd` if it is given.
    """
    made = centroids.copy()
    by_size = np.argsort(sizes, kind="stable")
    spare = by_size[: np.count_nonzero(sizes <= most)].tolist()
    for one in by_size[heavy[by_size]][::-1].tolist():
        wanted = -(-int(sizes[one]) // max(int(MARGIN * most), 1)) - 1
        # Half of those that are left, at most: others need some as well.
        given = spare[: min(wanted, -(-len(spare) // 2))]
        if not given:
            break
        spare = spare[len(given) :]
        own = X[labels == one]
        start = own[np.sort(rng.choice(len(own), size=len(given) + 1, replace=False))]
        made[[one, *given]] = lloyd(own, np.ascontiguousarray(start)) if lloyd else start
    return made
