"""Who shares an ID or its first tokens: counted in buckets of tuples, then together."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._types import Int64, Tokens
from dqindex.partitions.columns import ID
from dqindex.partitions.engine import Engine, buckets_for
from dqindex.partitions.look import Look, tokens_of
from dqindex.sids.collisions import TOLD_GROUPS
from dqindex.sids.letters import packed, spread, unpacked

T = TypeVar("T")

# What a row counts: groups of `key` items; distinct prefixes of `key` tokens and the items of the
# largest; items of a prefix that is whole in no bucket; of level `key`, items with a code, then
# codes in use; and one of the largest groups.
SIZES, PREFIX, SHORT, CODE, LEVEL, WORST = range(6)
SETS = ("codes", "base_codes")


class Cut(NamedTuple):
    """How tuples are spread: those with the same first tokens are together.

    Attributes
    ----------
    buckets : int
    length : int
        How many first tokens say the bucket.
    sizes : list of lists of ints
        Of the levels of the codes, and of the base codes.
    """

    buckets: int
    length: int
    sizes: list[list[int]]


def cut_for(look: Look, sizes: list[int]) -> Cut:
    """How the tuples of a map are spread."""
    base = sizes[: len(look.base_codes)]
    buckets = buckets_for(look.n)
    length = 0
    while buckets > 1 and length < len(base) and np.prod(base[:length], dtype=float) < 4 * buckets:
        length += 1
    return Cut(buckets, length, [sizes, base])


def tuples_schema(kind: pa.DataType) -> pa.Schema:
    """Of tuples with their items, and the first of these."""
    return pa.schema(
        [
            ("bucket", pa.int32()),
            ("set", pa.int32()),
            ("tuple", pa.binary()),
            ("n", pa.int64()),
            ("first", kind),
        ]
    )


def counts_schema(kind: pa.DataType) -> pa.Schema:
    """Of what is counted."""
    return pa.schema(
        [
            ("part", pa.int32()),
            ("what", pa.int32()),
            ("set", pa.int32()),
            ("key", pa.int64()),
            ("tuple", pa.binary()),
            ("n", pa.int64()),
            ("value", pa.float64()),
            ("first", kind),
        ]
    )


def count_groups(engine: Engine[T], rows: T, look: Look, cut: Cut, kind: pa.DataType) -> pa.Table:
    """All that is counted of a map, few rows: of SIZES, PREFIX, LEVEL and WORST."""
    schema = counts_schema(kind)
    sets = SETS if look.changed else SETS[:1]
    tuples = engine.mapped(
        rows, partial(tupled, cut=cut, sets=sets, kind=kind), tuples_schema(kind)
    )
    counted = engine.grouped(tuples, "bucket", partial(in_bucket, cut=cut, kind=kind), schema)
    merged = engine.grouped(counted, "part", partial(in_part, cut=cut, kind=kind), schema)
    return engine.gathered(merged, schema)


def tupled(table: pa.Table, cut: Cut, sets: tuple[str, ...], kind: pa.DataType) -> pa.Table:
    """The tuples of some items, each once."""
    schema = tuples_schema(kind)
    if not table.num_rows:
        return schema.empty_table()
    made = []
    for number, (name, sizes) in enumerate(zip(sets, cut.sizes, strict=False)):
        codes = tokens_of(table, name)
        bucket = spread(codes[:, : cut.length], cut.buckets)
        one = pa.table(
            {
                "bucket": pa.array(bucket + np.int32(number * cut.buckets)),
                "set": pa.repeat(pa.scalar(number, pa.int32()), len(codes)),
                "tuple": packed(codes, sizes),
                "n": pa.repeat(1, len(codes)),
                "first": table[ID],
            }
        )
        made.append(_summed(one))
    return pa.concat_tables(made).select(schema.names).cast(schema)


def _summed(tuples: pa.Table) -> pa.Table:
    """Each tuple once."""
    made = tuples.group_by(["bucket", "set", "tuple"], use_threads=False).aggregate(
        [("n", "sum"), ("first", "min")]
    )
    return made.rename_columns(["bucket", "set", "tuple", "n", "first"])


def in_bucket(table: pa.Table, cut: Cut, kind: pa.DataType) -> pa.Table:
    """What is counted in one bucket, of one set of tuples."""
    if not table.num_rows:
        return counts_schema(kind).empty_table()
    table = _summed(table)
    number = table["set"][0].as_py()
    sizes = cut.sizes[number]
    codes, n = unpacked(table["tuple"], sizes), table["n"].to_numpy()
    rows = _Rows(number, kind)
    values, counts = np.unique(n, return_counts=True)
    rows.add(SIZES, 0, key=values, n=counts)
    order = np.lexsort(codes.T[::-1])
    for length, starts in enumerate(_starts(codes[order]), start=1):
        items = np.add.reduceat(n[order], starts)
        if length >= cut.length:
            rows.add(PREFIX, 0, key=[length], n=[len(items)], value=[float(items.max())])
        if length == cut.length:
            short = packed(codes[order][starts, :length], sizes[:length])
            rows.add(SHORT, 1, n=items, tuples=short)
    for level in range(len(sizes)):
        found, place = np.unique(codes[:, level], return_inverse=True)
        items = np.bincount(place, weights=n).astype(np.int64)
        rows.add(CODE, 2 + level, key=found, n=items)
    rows.table.append(_worst(table, number, kind))
    return pa.concat_tables(rows.table)


def _worst(table: pa.Table, number: int, kind: pa.DataType) -> pa.Table:
    """Of tuples with their items, the largest groups."""
    shared = table.filter(pc.greater(table["n"], 1))
    told = shared.sort_by([("n", "descending"), ("first", "ascending")]).slice(0, TOLD_GROUPS)
    rows = _Rows(number, kind)
    rows.add(
        WORST, 0, n=told["n"].to_numpy(), tuples=told["tuple"].combine_chunks(), first=told["first"]
    )
    return rows.table[0]


def _starts(ordered: Tokens) -> list[Int64]:
    """For each number of first tokens: where in tuples in order another prefix starts."""
    new = np.zeros(len(ordered), dtype=bool)
    new[0] = True
    found = []
    for level in range(ordered.shape[1]):
        new[1:] |= ordered[1:, level] != ordered[:-1, level]
        found.append(np.flatnonzero(new))
    return found


class _Rows:
    """Rows of what is counted, of one set of tuples."""

    def __init__(self, number: int, kind: pa.DataType) -> None:
        self._number, self._schema = number, counts_schema(kind)
        self.table: list[pa.Table] = []

    def add(
        self,
        what: int,
        part: int,
        *,
        n: Any,
        key: Any = None,
        value: Any = None,
        tuples: pa.Array | None = None,
        first: pa.ChunkedArray | None = None,
    ) -> None:
        """Some more; `part` says who counts them together."""
        count = len(n)
        given: dict[str, Any] = dict(key=key, n=n, value=value, tuple=tuples, first=first)
        same = {"part": part, "what": what, "set": self._number}
        columns = []
        for field in self._schema:
            if field.name in same:
                columns.append(pa.repeat(pa.scalar(same[field.name], field.type), count))
            elif given[field.name] is None:
                columns.append(pa.nulls(count, field.type))
            elif isinstance(given[field.name], pa.Array | pa.ChunkedArray):
                columns.append(given[field.name].cast(field.type))
            else:
                columns.append(pa.array(np.asarray(given[field.name]), field.type))
        self.table.append(pa.table(columns, schema=self._schema))


def in_part(table: pa.Table, cut: Cut, kind: pa.DataType) -> pa.Table:
    """What was counted in all buckets, together."""
    made = [counts_schema(kind).empty_table()]
    pairs = set(zip(table["what"].to_pylist(), table["set"].to_pylist(), strict=True))
    for what, number in sorted(pairs):
        chosen = pc.and_(pc.equal(table["what"], what), pc.equal(table["set"], number))
        some = table.filter(chosen)
        rows = _Rows(number, kind)
        if what == WORST:
            made.append(_worst(some, number, kind))
        elif what == SHORT:
            _add_short(rows, some, cut)
        elif what == CODE:
            _add_level(rows, some)
        else:
            keys, place = np.unique(some["key"].to_numpy(), return_inverse=True)
            n = np.bincount(place, weights=some["n"].to_numpy()).astype(np.int64)
            largest = np.zeros(len(keys))
            np.maximum.at(largest, place, pc.fill_null(some["value"], 0.0).to_numpy())
            rows.add(what, 0, key=keys, n=n, value=largest)
        made += rows.table
    return pa.concat_tables(made)


def _add_short(rows: _Rows, some: pa.Table, cut: Cut) -> None:
    """Prefixes that are shorter than those that say the bucket."""
    codes = unpacked(some["tuple"], cut.sizes[0][: cut.length])
    order = np.lexsort(codes.T[::-1])
    n = some["n"].to_numpy()[order]
    for length, starts in enumerate(_starts(codes[order])[:-1], start=1):
        items = np.add.reduceat(n, starts)
        rows.add(PREFIX, 0, key=[length], n=[len(items)], value=[float(items.max())])


def _add_level(rows: _Rows, some: pa.Table) -> None:
    """Codes in use at a level, and the sum of n log n."""
    found, place = np.unique(some["key"].to_numpy(), return_inverse=True)
    n = np.bincount(place, weights=some["n"].to_numpy())
    level = some["part"][0].as_py() - 2
    rows.add(LEVEL, 0, key=[level], n=[len(found)], value=[float((n * np.log(n)).sum())])
