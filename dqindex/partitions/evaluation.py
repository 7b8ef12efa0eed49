"""Figures of a map on many machines, with the names and values that one machine gives them."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._types import Float64, Int64
from dqindex.errors import InputError
from dqindex.partitions.columns import ID, VECTOR
from dqindex.partitions.engine import Engine
from dqindex.partitions.geometry import geometry_of
from dqindex.partitions.groups import (
    LEVEL,
    PREFIX,
    SETS,
    SIZES,
    WORST,
    Cut,
    count_groups,
    cut_for,
)
from dqindex.partitions.look import Look, look_at, tokens_of
from dqindex.partitions.maps import schema_of
from dqindex.quantizer.model import DQModel
from dqindex.sids.collisions import TOLD_ITEMS
from dqindex.sids.letters import packed, unpacked
from dqindex.sids.map import SidMap
from dqindex.sids.quality import INFORMATION_ROWS, NEIGHBOR_ROWS, evaluate
from dqindex.vectors.id_hash import id_hashes
from dqindex.vectors.least import hash_bound

T = TypeVar("T")
NAMES = ("after", "before")
# Figures that a sample of the items gives.
SAMPLED = ("mutual_information", "neighbors_decoded", "neighbors_tokens")


def levels_of(
    given: list[int] | None, model: DQModel | None, stored: list[int] | None
) -> list[int] | None:
    """Codes of every level: as they were given, else the model's, else what the map says."""
    return given or (stored if model is None else model.code_sizes())


def figures_of(
    engine: Engine[T],
    rows: T,
    kind: pa.DataType,
    sizes: list[int] | None,
    model: DQModel | None,
    vectors: T | None,
    seed: int,
) -> dict[str, Any]:
    """The figures that `dqindex.sids.quality.evaluate` gives, of a map on many machines.

    Parameters
    ----------
    engine : Engine
    rows
        Of the map.
    kind : pyarrow.DataType
        Of its ids.
    sizes : list of ints or None
        Codes of every level, where they are known.
    model : DQModel or None
    vectors
        Ids and vectors of the items, in any order; others may be among them.
    seed : int
        Of the sample.

    Raises
    ------
    InputError, FileFormatError
        If the map is damaged, or sizes or vectors are not its own.
    """
    look = look_at(engine, rows)
    guessed = sizes is None
    sizes = sizes or []
    sizes = [*sizes, *(largest + 1 for largest in look.codes[len(sizes) :])]
    _check_sizes(sizes, look)
    cut = cut_for(look, sizes)
    counts = count_groups(engine, rows, look, cut, kind)
    result: dict[str, Any] = {"n": look.n, "sizes_guessed": guessed}
    names = NAMES if look.changed else NAMES[:1]
    for number, name in enumerate(names):
        result[name] = _of_counts(counts, number, look.n, cut.sizes[number])
    tuples = [_worst(counts, number) for number in range(len(names))]
    members = _members(engine, rows, kind, cut, tuples)
    for number, name in enumerate(names):
        result[name]["worst_groups"] = _told(tuples[number], members, number, cut)
    if vectors is not None:
        distinct = [round(result[name]["unique_share"] * look.n) for name in names]
        found = geometry_of(engine, rows, vectors, kind, cut, distinct, look.n, model)
        for name, figures in zip(names, found, strict=True):
            result[name].update(figures)
    elif np.isfinite(look.distortion):
        result["after"]["distortion"] = look.distortion
    sample = _sample(engine, rows, kind, look.n, sizes, model, vectors, seed)
    for name in names:
        # Where no code of the sample was changed, both sets of codes are the same there.
        of_sample = sample.get(name, sample["after"])
        result[name].update({key: of_sample[key] for key in SAMPLED if key in of_sample})
    return result


def _check_sizes(sizes: list[int], look: Look) -> None:
    levels = len(look.codes)
    pairs = [*zip(sizes, look.codes, strict=False), *zip(sizes, look.base_codes, strict=False)]
    if len(sizes) != levels or any(size <= largest for size, largest in pairs):
        raise InputError(
            f"the map: codes up to {' x '.join(map(str, look.codes))}, but levels of "
            f"{' x '.join(map(str, sizes))} codes; give the sizes, or the model, that it has"
        )


def _of_counts(counts: pa.Table, number: int, n: int, sizes: list[int]) -> dict[str, Any]:
    """The figures of one set of tokens that tell how many items share them."""
    mine = counts.filter(pc.equal(counts["set"], number))
    of_sizes = mine.filter(pc.equal(mine["what"], SIZES)).sort_by("key")
    groups = of_sizes["n"].to_numpy()
    items = of_sizes["key"].to_numpy().astype(np.float64)
    distinct = int(groups.sum())
    entropy = float(np.log(n) - (groups * items * np.log(items)).sum() / n)
    capacity = float(np.log(np.array(sizes, dtype=np.float64)).sum())
    levels = mine.filter(pc.equal(mine["what"], LEVEL)).sort_by("key")
    prefixes = mine.filter(pc.equal(mine["what"], PREFIX)).sort_by("key")
    return {
        "unique_share": distinct / n,
        "collision_rate": 1 - distinct / n,
        "singleton_share": int(groups[items == 1].sum()) / n,
        "largest_group": int(items[-1]),
        "gini": _gini(groups, items, n),
        "entropy_ratio": float(entropy / np.log(n)) if n > 1 else 1.0,
        "entropy_capacity_ratio": entropy / capacity if capacity > 0 else 1.0,
        "levels": [
            {
                "size": size,
                "coverage": level["n"] / size,
                "dead": size - level["n"],
                "perplexity": float(np.exp(np.log(n) - level["value"] / n)),
            }
            for size, level in zip(sizes, levels.to_pylist(), strict=True)
        ],
        "prefixes": [
            {
                "length": prefix["key"],
                "unique_share": prefix["n"] / n,
                "largest_group": int(prefix["value"]),
            }
            for prefix in prefixes.to_pylist()
        ],
    }


def _gini(groups: Int64, items: Float64, n: int) -> float:
    """Of sizes of groups, of which there are `groups` with so many `items` each, ascending."""
    m = int(groups.sum())
    before = np.cumsum(groups) - groups
    # Of groups of one size, the sum of 2 rank - m - 1.
    ranks = groups * (2.0 * before + groups - m)
    return float((ranks * items).sum() / (m * n))


def _worst(counts: pa.Table, number: int) -> pa.Table:
    chosen = pc.and_(pc.equal(counts["set"], number), pc.equal(counts["what"], WORST))
    return counts.filter(chosen).sort_by([("n", "descending"), ("first", "ascending")])


def _members(
    engine: Engine[T], rows: T, kind: pa.DataType, cut: Cut, worst: list[pa.Table]
) -> pa.Table:
    """The least ids of the items that have some tuples: set, tuple, item_id."""
    schema = members_schema(kind)
    wanted = [one["tuple"].combine_chunks() for one in worst]
    if not any(len(one) for one in wanted):
        return schema.empty_table()
    found = engine.mapped(rows, partial(members, wanted=wanted, cut=cut, kind=kind), schema)
    return engine.gathered(engine.grouped(found, "part", least_members, schema), schema)


def members_schema(kind: pa.DataType) -> pa.Schema:
    """Of the items of some tuples."""
    number = pa.int32()
    return pa.schema([("part", number), ("set", number), ("tuple", pa.binary()), (ID, kind)])


def members(table: pa.Table, wanted: list[pa.Array], cut: Cut, kind: pa.DataType) -> pa.Table:
    """The items of some tuples, of each set of tokens, the least ids."""
    schema = members_schema(kind)
    if not table.num_rows:
        return schema.empty_table()
    made = [schema.empty_table()]
    for number, (name, tuples) in enumerate(zip(SETS, wanted, strict=False)):
        own = packed(tokens_of(table, name), cut.sizes[number])
        rows = np.flatnonzero(pc.is_in(own, value_set=tuples).to_numpy(zero_copy_only=False))
        some = pa.array(rows)
        columns = [
            pa.repeat(pa.scalar(0, pa.int32()), len(rows)),
            pa.repeat(pa.scalar(number, pa.int32()), len(rows)),
            own.take(some),
            table[ID].take(some),
        ]
        made.append(pa.table(columns, schema=schema))
    return least_members(pa.concat_tables(made))


def least_members(table: pa.Table) -> pa.Table:
    """Of each tuple the first few ids."""
    ordered = table.sort_by([("set", "ascending"), ("tuple", "ascending"), (ID, "ascending")])
    kept: list[int] = []
    seen: tuple[int, bytes] | None = None
    count = 0
    pairs = zip(ordered["set"].to_pylist(), ordered["tuple"].to_pylist(), strict=True)
    for place, pair in enumerate(pairs):
        count = count + 1 if pair == seen else 1
        seen = pair
        if count <= TOLD_ITEMS:
            kept.append(place)
    return ordered.take(pa.array(kept, pa.int64()))


def _told(worst: pa.Table, members: pa.Table, number: int, cut: Cut) -> list[dict[str, Any]]:
    mine = members.filter(pc.equal(members["set"], number)).sort_by(ID)
    codes = unpacked(worst["tuple"], cut.sizes[number]).tolist()
    return [
        {
            "codes": codes[place],
            "items": group["n"],
            "ids": mine.filter(pc.equal(mine["tuple"], group["tuple"]))[ID].to_pylist(),
        }
        for place, group in enumerate(worst.to_pylist())
    ]


def _sample(
    engine: Engine[T],
    rows: T,
    kind: pa.DataType,
    n: int,
    sizes: list[int],
    model: DQModel | None,
    vectors: T | None,
    seed: int,
) -> dict[str, Any]:
    """All figures of the items with the least hashes, in the order of their ids."""
    k = INFORMATION_ROWS if vectors is None else NEIGHBOR_ROWS
    below = partial(drawn, bound=hash_bound(k, n), seed=seed)
    schema = schema_of(kind)
    some = engine.gathered(engine.mapped(rows, below, schema), schema)
    hashes = id_hashes(some[ID].combine_chunks(), seed)
    some = some.take(pa.array(np.argsort(hashes, kind="stable")[:k])).sort_by(ID)
    base = tokens_of(some, "base_codes")
    ids = some[ID].combine_chunks()
    sids = SidMap(
        tokens_of(some, "codes"), base, np.zeros(len(ids), np.float32), sizes, ids, model=model
    )
    if vectors is None:
        return evaluate(sids, seed=seed)
    of_vectors = pa.schema([(ID, kind), (VECTOR, pa.list_(pa.float32()))])
    given = engine.gathered(engine.mapped(vectors, below, of_vectors), of_vectors)
    return evaluate(sids, given, seed=seed)


def drawn(table: pa.Table, bound: int, seed: int) -> pa.Table:
    """The rows whose ids have a hash of at most `bound`."""
    hashes = id_hashes(table[ID].combine_chunks(), seed)
    return table.filter(pa.array(hashes <= np.uint64(bound)))
