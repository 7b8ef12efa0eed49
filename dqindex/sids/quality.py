"""How good a map is, before a week of training is spent on it."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from dqindex._parameters import checked, instance, or_none, unbounded
from dqindex._types import Float32, Int64, Tokens
from dqindex.errors import InputError
from dqindex.evaluation import exact_neighbors, recall_at, without_self
from dqindex.sids.collisions import prefixes, same_vector_share, unseen_shares, worst_groups
from dqindex.sids.map import SidMap
from dqindex.sids.matching import in_one_type
from dqindex.sids.tuples import TupleRows
from dqindex.vectors import VectorSource, open_vectors

# Items that pairwise information between levels is estimated on, and queries and items that
# neighbourhoods are.
INFORMATION_ROWS = 100_000
QUERIES = 500
NEIGHBOR_ROWS = 50_000
NEIGHBORS = 10


@checked(published=or_none(instance(SidMap)), seed=unbounded(0))
def evaluate(
    sids: SidMap, vectors: Any = None, *, published: SidMap | None = None, seed: int = 0
) -> dict[str, Any]:
    """Figures of a map; with `vectors`, also what it keeps of their geometry.

    Parameters
    ----------
    sids : SidMap
        Any map, foreign ones too.
    vectors : array (n, d), path, or VectorSource, optional
        The items' vectors: joined by id where both have ids (others may be among them), else in
        the map's order.
    published : SidMap, optional
        Where `sids` are items that were added to a map: that map as it was before.
    seed : int
        Of the samples that are drawn from large maps.

    Returns
    -------
    dict
        ``n`` items; ``sizes_guessed``: whether the sizes of the levels are only the largest codes
        seen, plus one; ``after`` (published tokens) and, where collisions were resolved,
        ``before`` (base tokens), each with

        - ``unique_share``: distinct IDs over items; ``collision_rate``: 1 minus that;
          ``singleton_share``: items alone at their ID; ``largest_group``;
        - ``gini``: of the sizes of the groups of items that share an ID, 0 if all are equal;
          ``entropy_ratio``: entropy of the IDs over log n, 1 if all are unique;
          ``entropy_capacity_ratio``: the same entropy over the log of how many IDs there can be
          (the product of the sizes), as TorchEasyRec has it;
        - ``prefixes``: for each number of first tokens, its ``length``, the ``unique_share`` of the
          prefixes and their ``largest_group``; with `published` also ``unseen_share``: items with
          a prefix that no published item has;
        - ``worst_groups``: of the up to ten IDs that most items share, the codes, how many
          ``items``, and the ``ids`` of the first five;
        - with vectors, ``same_vector_share``: of the items beyond the first of each ID, those
          whose vector another item of that ID has, which no codes could tell apart;
        - ``levels``: for each level its size, coverage (share of codes in use), dead codes, and
          perplexity (2 to the entropy);
        - ``mutual_information``: between every two levels, adjusted for chance: 0 for independent
          levels at any sample size, 1 if one tells the other; mean, largest, and which two;
        - with vectors: ``distortion`` and ``r_squared`` (where the map's model is attached, or the
          map knows its distortion), ``neighbors_decoded`` (overlap of exact 10-NN with 10-NN of
          the decoded vectors), ``neighbors_tokens`` (with ranking by shared tokens, ties shared
          out evenly).

    Raises
    ------
    InputError
        If the vectors are not those of the items, or the published map has IDs of another length.
    """
    geometry = None
    if vectors is not None:
        source = open_vectors(vectors)
        geometry = _Geometry(source, _rows_of(sids, source), seed)
    unseen = None if published is None else unseen_shares(sids, published)
    result: dict[str, Any] = {"n": len(sids), "sizes_guessed": sids.sizes_guessed}
    result["after"] = _figures(sids, sids.codes, sids.sizes, geometry, seed)
    for prefix, share in zip(result["after"]["prefixes"], unseen or [], strict=False):
        prefix["unseen_share"] = share
    changed = sids.codes.shape != sids.base_codes.shape or not np.array_equal(
        sids.codes, sids.base_codes
    )
    if changed:
        sizes = sids.sizes[: sids.base_codes.shape[1]]
        result["before"] = _figures(sids, sids.base_codes, sizes, geometry, seed)
    return result


def _rows_of(sids: SidMap, source: VectorSource) -> Int64:
    """The row of each item's vector."""
    if sids.ids is None or source.ids is None:
        if source.n != len(sids):
            raise InputError(
                f"{source.name}: {source.n:,} vectors for a map of {len(sids):,} items; give the "
                "vectors of the same items in the same order, or with their ids"
            )
        return np.arange(len(sids))
    theirs, ours = in_one_type(source.ids, sids.ids, source.name)
    rows = pc.index_in(ours, value_set=theirs)
    if rows.null_count:
        first = sids.ids[pc.index(pc.is_null(rows), True).as_py()].as_py()
        raise InputError(
            f"{source.name}: has no vector for {rows.null_count:,} items of the map, for example "
            f"{first!r}; add them"
        )
    return np.asarray(rows.to_numpy(), dtype=np.int64)


def _figures(
    sids: SidMap,
    codes: Tokens,
    sizes: list[int],
    geometry: _Geometry | None,
    seed: int,
) -> dict[str, Any]:
    n = len(codes)
    rows = TupleRows(codes, sizes)
    counts = np.diff(rows.starts)
    entropy, capacity = _entropy(counts), float(np.log(np.array(sizes, dtype=np.float64)).sum())
    figures: dict[str, Any] = {
        "unique_share": len(counts) / n,
        "collision_rate": 1 - len(counts) / n,
        "singleton_share": float((counts == 1).sum()) / n,
        "largest_group": int(counts.max()),
        "gini": _gini(counts),
        "entropy_ratio": float(entropy / np.log(n)) if n > 1 else 1.0,
        "entropy_capacity_ratio": entropy / capacity if capacity > 0 else 1.0,
        "levels": [_level(codes[:, level], size) for level, size in enumerate(sizes)],
        "mutual_information": _mutual_information(codes, sizes, seed),
        "prefixes": prefixes(codes),
        "worst_groups": worst_groups(rows, sids.item_ids),
    }
    if geometry is not None:
        figures["same_vector_share"] = same_vector_share(rows, geometry.source, geometry.places)
        figures.update(geometry.figures(sids, codes))
    elif codes is sids.codes and np.isfinite(sids.distortion).all():
        figures["distortion"] = float(sids.distortion.mean(dtype=np.float64))
    return figures


def _gini(counts: Int64) -> float:
    ordered = np.sort(counts).astype(np.float64)
    m = len(ordered)
    ranks = np.arange(1, m + 1)
    return float((2 * ranks - m - 1) @ ordered / (m * ordered.sum()))


def _entropy(counts: npt.NDArray[Any]) -> float:
    """In nats."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _level(column: npt.NDArray[Any], size: int) -> dict[str, Any]:
    counts = np.bincount(column, minlength=size)
    used = int((counts > 0).sum())
    return {
        "size": size,
        "coverage": used / size,
        "dead": size - used,
        "perplexity": float(np.exp(_entropy(counts))),
    }


def _joint_entropy(a: Int64, b: Int64) -> float:
    return _entropy(np.bincount(a * (int(b.max()) + 1) + b))


def _mutual_information(codes: Tokens, sizes: list[int], seed: int) -> dict[str, Any] | None:
    if codes.shape[1] < 2:
        return None
    if len(codes) > INFORMATION_ROWS:
        chosen = np.random.default_rng(seed).choice(len(codes), INFORMATION_ROWS, replace=False)
        codes = codes[chosen]
    columns = [np.unique(codes[:, level], return_inverse=True)[1] for level in range(len(sizes))]
    entropies = [_entropy(np.bincount(column)) for column in columns]
    # Shuffled, levels are independent: what they still seem to share is owed to the sample's size.
    order = np.random.default_rng(seed).permutation(len(codes))
    values = {}
    for a, b in combinations(range(len(columns)), 2):
        total = entropies[a] + entropies[b]
        shared = total - _joint_entropy(columns[a], columns[b])
        chance = total - _joint_entropy(columns[a], columns[b][order])
        room = np.sqrt(entropies[a] * entropies[b]) - chance
        values[a, b] = float(max((shared - chance) / room, 0.0)) if room > 1e-12 else 0.0
    largest = max(values, key=lambda pair: values[pair])
    return {
        "mean": float(np.mean(list(values.values()))),
        "largest": values[largest],
        "between": list(largest),
    }


class _Geometry:
    """Exact neighbours of a sample of items, found once for both sets of tokens."""

    def __init__(self, source: VectorSource, places: Int64, seed: int) -> None:
        self.source, self.places = source, places
        rng = np.random.default_rng(seed)
        n = len(places)
        rows = np.arange(n) if n <= NEIGHBOR_ROWS else np.sort(rng.choice(n, NEIGHBOR_ROWS, False))
        self.rows: Int64 = rows
        self.vectors: Float32 = source.rows(places[rows])
        self.energy = float(self.vectors.var(axis=0, dtype=np.float64).sum())
        asked = rng.choice(len(rows), min(QUERIES, len(rows)), replace=False)
        self.asked: Int64 = np.sort(asked)
        self.k = min(NEIGHBORS, len(rows) - 1)
        self.true = self._neighbors(self.vectors)

    def _neighbors(self, vectors: Float32) -> Int64:
        """Neighbours of the sampled items within `vectors`, without themselves."""
        found, _ = exact_neighbors(vectors, vectors[self.asked], self.k + 1)
        return without_self(found, self.asked)

    def figures(self, sids: SidMap, codes: Tokens) -> dict[str, Any]:
        sampled = codes[self.rows]
        figures: dict[str, Any] = {}
        if self.k > 0:
            figures["neighbors_tokens"] = self._shared(sampled)
        if sids.model is not None:
            levels = len(sids.model.code_sizes())
            decoded = sids.model.decode(sampled[:, :levels])
            error = decoded.astype(np.float64) - self.vectors
            distortion = float((error**2).sum(axis=1).mean())
            figures["distortion"] = distortion
            figures["r_squared"] = 1 - distortion / self.energy if self.energy > 0 else 1.0
            if self.k > 0:
                figures["neighbors_decoded"] = recall_at(self._neighbors(decoded), self.true)
        return figures

    def _shared(self, codes: Tokens) -> float:
        """Expected overlap with ranking by shared tokens, equals in random order."""
        overlaps = []
        for place, asked in enumerate(self.asked):
            shared = (codes == codes[asked]).sum(axis=1)
            shared[asked] = -1
            cut = np.partition(shared, len(shared) - self.k)[len(shared) - self.k]
            above, at = int((shared > cut).sum()), int((shared == cut).sum())
            true = shared[self.true[place]]
            overlaps.append((true > cut).sum() + (true == cut).sum() * (self.k - above) / at)
        return float(np.mean(overlaps) / self.k)
