"""k-means on FAISS's search: the same bytes at any thread count, and no corner case left open.

`faiss.Clustering` gives other centroids at other thread counts, and refuses fewer points than
centroids. Here FAISS finds the start (k-means++) and the nearest centroids, and the rest is the
mean of each cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import faiss
import numpy as np
import numpy.typing as npt
import scipy.sparse

from dqindex._types import Float32
from dqindex.parallel.threads import parallel_map
from dqindex.quantizer.nearest import nearest_in_pieces
from dqindex.quantizer.shares import Lloyd, bounded, evened
from dqindex.vectors.extent import row_norms

STARTS = ("k-means++", "random")
# Rows a centroid that the k-means++ start looks at. Measured on GloVe: the full sample gives
# 0.1 % less distortion after 25 iterations, and takes 40 % longer in all.
START_ROWS = 32
# Above this many centroids the exact k-means++ start, quadratic in k, gives way to its
# Markov-chain approximation (Bachem et al., "Fast and Provably Good Seedings for k-Means", 2016).
EXACT_START_UP_TO = 4096

# Lloyd steps after clusters were split, to keep to a bound, or to lower the distortion.
STEPS_TO_A_BOUND, STEPS_TO_EVEN = 4, 2
# In so many dimensions or fewer the best codebook is uneven: the density of its codewords is that
# of the vectors to the power d / (d + 2) (Zador, "Asymptotic quantization error of continuous
# signals and the quantization dimension", 1982).
FEW_DIMENSIONS = 8
# Norms from 2**-FAR to 2**FAR are near enough to 1.
FAR = 8


def train_kmeans(
    X: Float32,
    k: int,
    *,
    n_iter: int = 16,
    n_redo: int = 1,
    init: str = "k-means++",
    seed: int = 0,
    spherical: bool = False,
    parallel: bool = True,
    start: Float32 | None = None,
    even: bool = False,
    max_share: float | None = None,
) -> tuple[Float32, int]:
    """Centroids of `X` by Lloyd's algorithm.

    Parameters
    ----------
    X : (n, d) float32
        In any order; the start uses a random part of it.
    k : int
        Number of centroids.
    n_iter, n_redo : int
        Lloyd iterations a run (fewer if nothing moves any more), and runs, of which the best is
        kept.
    init : {"k-means++", "random"}
        Start.
    seed : int
        Of every random choice.
    spherical : bool
        Assign by inner product, and keep the centroids on a sphere; see `sphere_radius`.
    parallel : bool
        Spread the rows over the threads; False where the caller spreads whole runs.
    start : (k, d) float32, optional
        Centroids to start from, instead of `init`; one run then. Of more than there are rows, those
        that no row is nearest to stay what they are.
    even : bool
        Split centroids with many vectors on the way, if there are more than a few dimensions: see
        `dqindex.quantizer.shares`. It lowers the distortion of what residual levels leave over.
    max_share : float, optional
        No centroid is the nearest of more than this share of `X`: see `dqindex.quantizer.shares`.

    Returns
    -------
    centroids : (k, d) float32
        Where `X` has at most k distinct rows, those, in ascending order, then copies of the first.
    spare : int
        Number of those copies.
    """
    points = _few_distinct(X, k) if start is None else None
    if points is not None:
        spare = k - len(points)
        return np.concatenate([points, np.repeat(points[:1], spare, axis=0)]), spare
    X = np.ascontiguousarray(X)
    if start is not None:
        starts: Iterable[Float32] = [start]
    else:
        seeds = range(seed, seed + n_redo)
        # Each start on one thread: FAISS's k-means++ is a thousand steps too small to share.
        spread: Callable[..., Iterable[Float32]] = parallel_map if parallel else map
        starts = list(spread(lambda one: _start(X, int(k), init, one), seeds))

    def steps(number: int) -> Lloyd:
        return lambda rows, centroids: _lloyd(rows, centroids, number, spherical, parallel)[0]

    def run(start: Float32) -> tuple[Float32, float]:
        if not even or X.shape[1] <= FEW_DIMENSIONS:
            return _lloyd(X, start, n_iter, spherical, parallel)
        made = steps(-(-n_iter // 2))(X, start)
        made = evened(X, made, steps(STEPS_TO_EVEN), seed, parallel=parallel)
        return _lloyd(X, made, -(-n_iter // 4), spherical, parallel)

    centroids = min(map(run, starts), key=lambda run: run[1])[0]
    if max_share is not None:
        lloyd = steps(STEPS_TO_A_BOUND)
        centroids = bounded(X, centroids, max_share, lloyd, seed, parallel=parallel)
    return centroids, 0


def _lloyd(
    X: Float32, centroids: Float32, n_iter: int, spherical: bool, parallel: bool
) -> tuple[Float32, float]:
    """Centroids and objective after at most `n_iter` rounds of assignment and update."""
    k = len(centroids)
    radius = sphere_radius(X) if spherical else np.float32(1)
    before: npt.NDArray[np.int64] | None = None
    objective = np.inf
    for _ in range(n_iter):
        labels, distances = nearest_in_pieces(
            X, centroids, inner_product=spherical, parallel=parallel
        )
        objective = float(distances.sum(dtype=np.float64))
        if before is not None and np.array_equal(labels, before):
            break
        before = labels
        sums, sizes = cluster_sums(X, labels, k)
        previous = centroids
        centroids = sums / np.maximum(sizes, 1).astype(np.float32)[:, None]
        empty = np.flatnonzero(sizes == 0)
        if len(X) < k:
            # There are not enough rows to give each cluster one.
            centroids[empty] = previous[empty]
        elif empty.size:
            # An empty cluster starts anew at the vector that is served worst.
            centroids[empty] = X[np.argsort(-distances, kind="stable")[: empty.size]]
        if spherical:
            faiss.normalize_L2(centroids)
            centroids *= radius
    return centroids, objective


def sphere_radius(X: Float32) -> np.float32:
    """Of the sphere on which centroids for inner products lie: 1, as FAISS has it.

    Where the median norm is far from 1, the power of two next to it: an index keeps the difference
    between a vector and its centroid, in which float32 would lose the smaller of the two.
    """
    middle = float(np.median(row_norms(X)))
    if middle == 0 or 2.0**-FAR <= middle <= 2.0**FAR:
        return np.float32(1)
    return np.float32(2.0 ** round(np.log2(middle)))


def cluster_sums(
    X: Float32, labels: npt.NDArray[np.int64], k: int
) -> tuple[Float32, npt.NDArray[np.int64]]:
    """Sum of the rows of each of `k` clusters, (k, d), and their number, (k,)."""
    n = len(X)
    members = scipy.sparse.csr_array(
        (np.ones(n, dtype=np.float32), labels, np.arange(n + 1)), shape=(n, k)
    )
    sums: Float32 = members.T @ X
    return sums, np.bincount(labels, minlength=k)


def _start(X: Float32, k: int, init: str, seed: int) -> Float32:
    rng = np.random.default_rng(seed)
    rows = k if init == "random" else min(len(X), START_ROWS * k)
    part = X
    if rows < len(X):
        part = X[np.sort(rng.choice(len(X), size=rows, replace=False, shuffle=False))]
    if init == "random":
        return np.array(part)
    start = faiss.Clustering(X.shape[1], k)
    start.niter = 0
    # FAISS takes 31 bits.
    start.seed = seed % 2**31
    start.min_points_per_centroid = 1
    start.max_points_per_centroid = max(rows, k)
    start.init_method = (
        faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
        if k <= EXACT_START_UP_TO
        else faiss.ClusteringInitMethod_AFK_MC2
    )
    start.train(np.ascontiguousarray(part), faiss.IndexFlatL2(X.shape[1]))
    centroids: Float32 = faiss.vector_to_array(start.centroids).reshape(k, X.shape[1])
    return centroids


def _few_distinct(X: Float32, k: int) -> Float32 | None:
    """The distinct rows of `X`, ascending, where there are at most k; else None."""
    for rows in (min(len(X), 4 * k), len(X)):
        part: Float32 = np.unique(X[:rows] + np.float32(0), axis=0)
        if len(part) > k:
            return None
        if rows == len(X):
            return part
    return None
