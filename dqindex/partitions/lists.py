"""Lists of the items that share a set of tokens, and the edges that come of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._types import Float32, Int64, Tokens
from dqindex.partitions.columns import ID
from dqindex.partitions.look import tokens_of
from dqindex.partitions.tokened import Tokened
from dqindex.sids.letters import packed, spread, unpacked
from dqindex.sids.tuples import TupleSet
from dqindex.vectors.id_hash import id_hashes

# What a row is: an item; an item of a list; an item that asks for the first of a list; an edge.
ITEM, LISTED, ASKING, EDGE = range(4)
# A longer list is cut as well, and taken apart by a further token.
LONG_LIST = 512
# Pairs that are looked at together, and edges that are kept before the best are chosen.
PAIRS_AT_ONCE, EDGES_AT_ONCE = 2**20, 2**22


def schema_of(kind: pa.DataType) -> pa.Schema:
    """Of all rows."""
    return pa.schema(
        [
            ("bucket", pa.int32()),
            ("what", pa.int32()),
            ("set", pa.int32()),
            ("tuple", pa.binary()),
            ("source", kind),
            ("target", kind),
            ("weight", pa.float32()),
        ]
    )


def edges_schema(kind: pa.DataType) -> pa.Schema:
    """Of the edges."""
    return pa.schema([("source", kind), ("target", kind), ("weight", pa.float32())])


def _rows(known: Tokened, n: int, what: int, **columns: Any) -> pa.Table:
    made = []
    for field in schema_of(known.kind):
        given = what if field.name == "what" else columns.get(field.name)
        if given is None:
            made.append(pa.nulls(n, field.type))
        elif isinstance(given, int):
            made.append(pa.repeat(pa.scalar(given, field.type), n))
        else:
            made.append(given if isinstance(given, pa.ChunkedArray) else pa.array(given))
    return pa.table(made, schema=schema_of(known.kind))


def _places(ids: pa.Array, known: Tokened) -> Int64:
    return (id_hashes(ids, 0) % np.uint64(known.places)).astype(np.int32)


def itemised(table: pa.Table, known: Tokened) -> pa.Table:
    """The items of a part of a map."""
    n = table.num_rows
    if not n:
        return schema_of(known.kind).empty_table()
    ids = table[ID].combine_chunks()
    tuples = packed(tokens_of(table, "codes"), known.sizes)
    return _rows(known, n, ITEM, bucket=_places(ids, known), tuple=tuples, source=ids)


def listed(table: pa.Table, known: Tokened, length: int, buckets: int, first: bool) -> pa.Table:
    """Some items, in the list of each of their sets of tokens; only its `first`, if told."""
    if not table.num_rows:
        return table
    codes = unpacked(table["tuple"], known.sizes)
    sets = len(known.sets(length))
    number = np.tile(np.arange(sets), len(codes))
    rows = np.repeat(np.arange(len(codes)), sets)
    if first:
        lists = _sorted_lists(table, codes, rows, number, known, length)
        chosen = _counted(lists.sizes) <= known.k
        rows, number = lists.rows[chosen], number[lists.order[chosen]]
    return _listed(table, codes, rows, number, LISTED, (known, length, buckets))


def _listed(
    table: pa.Table,
    codes: Tokens,
    rows: Int64,
    number: Int64,
    what: int,
    how: tuple[Tokened, int, int],
) -> pa.Table:
    known, length, buckets = how
    some = pa.array(rows)
    return _rows(
        known,
        len(rows),
        what,
        bucket=spread(known.keys(codes[rows], number, length), buckets),
        set=number.astype(np.int32),
        tuple=table["tuple"].take(some),
        source=table["source"].take(some),
    )


class _Lists(NamedTuple):
    """Rows of items in lists, in each by their ids.

    Attributes
    ----------
    rows : (m,) int64
    order : (m,) int64
        Their places among the rows that were given.
    starts, sizes : (lists,) int64
        Of each list.
    """

    rows: Int64
    order: Int64
    starts: Int64
    sizes: Int64


def _sorted_lists(
    table: pa.Table, codes: Tokens, rows: Int64, number: Int64, known: Tokened, length: int
) -> _Lists:
    """The lists of some rows, each in that of a set of its tokens."""
    keys = TupleSet(known.keys(codes[rows], number, length), known.key_sizes(length)).numbers
    order = np.lexsort((_ranks(table["source"])[rows], keys))
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    return _Lists(rows[order], order, starts, np.diff(starts, append=len(order)))


def _ranks(ids: pa.ChunkedArray) -> Int64:
    """A number of each id: equal ones have equal ones, and they ascend as the ids do."""
    every = ids.combine_chunks().dictionary_encode()
    order = pc.sort_indices(every.dictionary).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[every.indices.to_numpy()])


class _Edges:
    """The best edges of some sources, so far.

    Sources and targets are the rows of a table of items, in which an item may stand more than once.
    """

    def __init__(self, table: pa.Table, codes: Tokens, known: Tokened) -> None:
        self._table, self._codes, self._known = table, codes, known
        self._ranks, self._weights = _ranks(table["source"]), known.weigh(codes)
        self._found: list[tuple[Int64, Int64, Float32]] = []
        self._count = 0

    def add(self, sources: Int64, targets: Int64) -> None:
        """Pairs of rows; an item has no edge to itself."""
        others = self._ranks[sources] != self._ranks[targets]
        sources, targets = sources[others], targets[others]
        weights = np.zeros(len(sources))
        for level in range(self._codes.shape[1]):
            column = self._codes[:, level]
            weights += (column[sources] == column[targets]) * self._weights[sources, level]
        self._found.append((sources, targets, weights.astype(np.float32)))
        self._count += len(sources)
        if self._count > EDGES_AT_ONCE:
            self._choose()

    def _choose(self) -> None:
        sources, targets, weights = (np.concatenate(one) for one in zip(*self._found, strict=True))
        best = best_of(self._ranks[sources], self._ranks[targets], weights, self._known.k)
        self._found = [(sources[best], targets[best], weights[best])]
        self._count = len(best)

    def table(self) -> pa.Table:
        """The edges as rows, where their sources are."""
        if not self._found:
            return schema_of(self._known.kind).empty_table()
        self._choose()
        sources, targets, weights = self._found[0]
        ids = self._table["source"].take(pa.array(sources)).combine_chunks()
        return _rows(
            self._known,
            len(sources),
            EDGE,
            bucket=_places(ids, self._known),
            source=ids,
            target=self._table["source"].take(pa.array(targets)),
            weight=weights,
        )


def best_of(sources: Int64, targets: Int64, weights: Float32, k: int) -> Int64:
    """Of edges, some of which stand more than once, the `k` heaviest of each source, in order."""
    order = np.lexsort((targets, -weights, sources))
    sources, targets, weights = sources[order], targets[order], weights[order]
    again = np.zeros(len(order), dtype=bool)
    again[1:] = (sources[1:] == sources[:-1]) & (targets[1:] == targets[:-1])
    kept = ~again & (weights > 0)
    order, sources = order[kept], sources[kept]
    starts = np.flatnonzero(np.diff(sources, prepend=-1))
    return order[_counted(np.diff(starts, append=len(order))) < k]


def joined_in_full(table: pa.Table, known: Tokened, length: int) -> pa.Table:
    """The best edges that come of the lists of one bucket."""
    if not table.num_rows:
        return table
    codes = unpacked(table["tuple"], known.sizes)
    edges = _Edges(table, codes, known)
    number = table["set"].to_numpy().astype(np.int64)
    lists = _sorted_lists(table, codes, np.arange(len(codes)), number, known, length)
    last = known.sets(length)[number, -1]
    waiting = _full(edges, lists.rows, lists.starts, lists.sizes, last[lists.rows[lists.starts]])
    while waiting:
        rows, after = waiting.pop()
        _cut(edges, rows, known.k)
        for level in range(after + 1, codes.shape[1]):
            own = codes[rows, level]
            if (own == own[0]).all():  # The list of the larger set is this one.
                continue
            order = np.argsort(own, kind="stable")
            starts = np.flatnonzero(np.diff(own[order], prepend=-1))
            sizes = np.diff(starts, append=len(order))
            waiting += _full(edges, rows[order], starts, sizes, np.full(len(starts), level))
    return edges.table()


def _full(
    edges: _Edges, rows: Int64, starts: Int64, sizes: Int64, last: Int64
) -> list[tuple[Int64, int]]:
    """Add all pairs of the shorter lists; the longer ones, with the last level of each."""
    short = (sizes > 1) & (sizes <= LONG_LIST)
    for sources, targets in _pairs(starts[short], sizes[short]):
        edges.add(rows[sources], rows[targets])
    return [
        (rows[starts[at] : starts[at] + sizes[at]], int(last[at]))
        for at in np.flatnonzero(sizes > LONG_LIST)
    ]


def _cut(edges: _Edges, rows: Int64, k: int) -> None:
    """Add the pairs of each of a list with its first `k` others."""
    for start in range(0, len(rows), max(1, PAIRS_AT_ONCE // (k + 1))):
        some = rows[start : start + max(1, PAIRS_AT_ONCE // (k + 1))]
        first = rows[: k + 1]
        edges.add(np.repeat(some, len(first)), np.tile(first, len(some)))


def _pairs(starts: Int64, sizes: Int64) -> Iterator[tuple[Int64, Int64]]:
    """Places of each of a list and of each of the same list, of some lists at a time."""
    ends = np.cumsum(sizes**2)
    if not len(ends):
        return
    cuts = np.searchsorted(ends, np.arange(PAIRS_AT_ONCE, ends[-1], PAIRS_AT_ONCE))
    for part in np.split(np.arange(len(starts)), np.unique(cuts)):
        items = sizes[part]
        begin = np.repeat(starts[part], items)
        own = begin + _counted(items)
        yield _beside(own, begin, np.repeat(items, items))


def _beside(own: Int64, begin: Int64, widths: Int64) -> tuple[Int64, Int64]:
    """Each of `own`, and beside it each of the `widths` places from `begin`."""
    return np.repeat(own, widths), np.repeat(begin, widths) + _counted(widths)


def _counted(sizes: Int64) -> Int64:
    """0 to size - 1 for each of some sizes."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)


def asking(table: pa.Table, known: Tokened, length: int, buckets: int) -> pa.Table:
    """Which items of one place ask for the first of which lists.

    An item asks where a set of its tokens weighs as much as the last of its k edges.
    """
    items = table.filter(pc.equal(table["what"], ITEM))
    edges = table.filter(pc.equal(table["what"], EDGE))
    if not items.num_rows:
        return schema_of(known.kind).empty_table()
    codes = unpacked(items["tuple"], known.sizes)
    place = pc.index_in(edges["source"], value_set=items["source"].combine_chunks()).to_numpy()
    counts = np.bincount(place, minlength=len(codes))
    least = np.full(len(codes), np.inf, dtype=np.float32)
    np.minimum.at(least, place, edges["weight"].to_numpy())
    bounds = np.where(counts >= known.k, least, np.float32(0))
    weights = known.weigh(codes)
    rows, numbers = [], []
    for number, levels in enumerate(known.sets(length)):
        own = np.zeros(len(codes))
        for level in levels:
            own += weights[:, level]
        asks = np.flatnonzero(own.astype(np.float32) >= bounds)
        rows.append(asks)
        numbers.append(np.full(len(asks), number))
    return _listed(
        items,
        codes,
        np.concatenate(rows),
        np.concatenate(numbers),
        ASKING,
        (known, length, buckets),
    )


def first_others(table: pa.Table, known: Tokened, length: int) -> pa.Table:
    """The best edges of the items that ask for the first of the lists of one bucket."""
    what = table["what"].to_numpy()
    if not (what == ASKING).any():
        return schema_of(known.kind).empty_table()
    codes = unpacked(table["tuple"], known.sizes)
    edges = _Edges(table, codes, known)
    number = table["set"].to_numpy().astype(np.int64)
    keys = TupleSet(known.keys(codes, number, length), known.key_sizes(length)).numbers
    order = np.lexsort((_ranks(table["source"]), what, keys))
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    # Of each list, those that are in it stand before those that ask for it.
    inside = np.add.reduceat((what[order] == LISTED).astype(np.int64), starts)
    widths = np.repeat(np.minimum(inside, known.k + 1), sizes)
    firsts = np.repeat(starts, sizes)
    asks = np.flatnonzero(what[order] == ASKING)
    step = max(1, PAIRS_AT_ONCE // (known.k + 1))
    for start in range(0, len(asks), step):
        some = asks[start : start + step]
        sources, targets = _beside(some, firsts[some], widths[some])
        edges.add(order[sources], order[targets])
    return edges.table()


def kept(table: pa.Table, known: Tokened) -> pa.Table:
    """The best of all edges of the items of one place."""
    if not table.num_rows:
        return table
    ranks = _ranks(pa.chunked_array([*table["source"].chunks, *table["target"].chunks]))
    sources, targets = np.split(ranks, 2)
    best = best_of(sources, targets, table["weight"].to_numpy(), known.k)
    return table.take(pa.array(best))
