"""Linkage on many machines: for each item the items that share most tokens with it.

The edges are those of `dqindex.sids.linkage`, and so is the reason why few pairs need a look. Items
that share a set of tokens are a list, in the order of ids. Whoever shares those tokens and no other
weighs as much as they do, and all before it in the list weigh no less: so it is among the first k
others of the list, or not among the k best. The lists of sets of some length, which few items are
in, are joined in full; of shorter sets, the longest first, only the items whose edges so far weigh
no more than such a set are joined with the first k others.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow as pa

from dqindex._types import Float64
from dqindex.partitions.engine import Engine, buckets_for
from dqindex.partitions.lists import (
    asking,
    edges_schema,
    first_others,
    itemised,
    joined_in_full,
    kept,
    listed,
    schema_of,
)
from dqindex.partitions.look import look_at, tokens_of
from dqindex.partitions.tokened import Tokened

T = TypeVar("T")

# Items that share a set of tokens that is joined in full, about; and most such sets of an item.
JOINED_ITEMS, MOST_SETS = 4, 128
# Over so many buckets the codes of a level are spread where they are counted.
CODE_BUCKETS = 64
CODES = pa.schema([("bucket", pa.int32()), ("code", pa.int64()), ("n", pa.int64())])


def link(engine: Engine[T], rows: T, kind: pa.DataType, k: int) -> T:
    """Edges from each item of a map to the `k` that share most with it: source, target, weight.

    Equals in weight are taken by their ids.
    """
    look = look_at(engine, rows)
    sizes = [largest + 1 for largest in look.codes]
    weights = _weights(engine, rows, sizes, look.n)
    known = Tokened(sizes, weights, k, kind, buckets_for(look.n))
    schema = schema_of(kind)
    items = engine.held(engine.mapped(rows, partial(itemised, known=known), schema))
    best = partial(kept, known=known)
    longest = joined_length(look.n, sizes)
    lists, _ = _lists(engine, items, known, look.n, longest, first=False)
    full = partial(joined_in_full, known=known, length=longest)
    found = engine.grouped(lists, "bucket", full, schema)
    edges = engine.held(engine.grouped(found, "bucket", best, schema))
    for length in range(longest - 1, 0, -1):
        lists, over = _lists(engine, items, known, look.n, length, first=True)
        ask = partial(asking, known=known, length=length, buckets=over)
        asks = engine.grouped(engine.joined(items, edges), "bucket", ask, schema)
        others = partial(first_others, known=known, length=length)
        found = engine.grouped(engine.joined(lists, asks), "bucket", others, schema)
        edges = engine.held(engine.grouped(engine.joined(edges, found), "bucket", best, schema))
    plain = edges_schema(kind)
    return engine.mapped(edges, partial(pa.Table.select, columns=plain.names), plain)


def _lists(
    engine: Engine[T], items: T, known: Tokened, n: int, length: int, *, first: bool
) -> tuple[T, int]:
    """The items in the lists of their sets of so many tokens, and over how many buckets."""
    buckets = buckets_for(n * len(known.sets(length)))
    how = partial(listed, known=known, length=length, buckets=buckets, first=first)
    return engine.mapped(items, how, schema_of(known.kind)), buckets


def joined_length(n: int, sizes: list[int]) -> int:
    """The length of the sets of tokens that are joined in full.

    Examples
    --------
    >>> joined_length(10**6, [256] * 8), joined_length(10**9, [256] * 8), joined_length(9, [256])
    (3, 4, 1)
    """
    levels = len(sizes)
    share = math.exp(float(np.log(np.maximum(sizes, 2)).mean()))
    length = 1
    while (
        length < levels
        and n / share**length > JOINED_ITEMS
        and math.comb(levels, length + 1) <= MOST_SETS
    ):
        length += 1
    return length


def _weights(engine: Engine[T], rows: T, sizes: list[int], n: int) -> list[Float64]:
    """Of each code of each level: log(items / items that have it)."""
    parts = engine.mapped(rows, codes_of, CODES)
    found = engine.gathered(engine.grouped(parts, "bucket", codes_together, CODES), CODES)
    level = found["bucket"].to_numpy() // CODE_BUCKETS
    counts = [np.zeros(size, dtype=np.int64) for size in sizes]
    for at, own in enumerate(counts):
        mine = level == at
        own[found["code"].to_numpy()[mine]] = found["n"].to_numpy()[mine]
    return [np.log(n / np.maximum(own, 1)) for own in counts]


def codes_of(table: pa.Table) -> pa.Table:
    """How many of some items have each code of each level."""
    if not table.num_rows:
        return CODES.empty_table()
    made = []
    for level, column in enumerate(tokens_of(table, "codes").T):
        codes, counts = np.unique(column, return_counts=True)
        bucket = (level * CODE_BUCKETS + codes % CODE_BUCKETS).astype(np.int32)
        made.append(pa.table([bucket, codes.astype(np.int64), counts], schema=CODES))
    return pa.concat_tables(made)


def codes_together(table: pa.Table) -> pa.Table:
    """How many of all items have each code of a bucket."""
    made = table.group_by(["bucket", "code"], use_threads=False).aggregate([("n", "sum")])
    return made.rename_columns(CODES.names)
