"""Which tuples have more items than may share them, and who of these comes first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqindex.partitions.columns import ID, PRIORITY
from dqindex.partitions.packets import PACKETS, opened, packet_of
from dqindex.sids.letters import ROOM, in_order, letters, spread, unpacked

COUNTED = pa.schema([("tuple", pa.binary()), ("n", pa.int64()), ("before", pa.int64())])
# The same of some items, with the bucket of each tuple.
SPREAD = pa.schema([("bucket", pa.int32()), *COUNTED])
# What `counted` gives of a bucket.
COUNTED_PACKETS = pa.schema([("bucket", pa.int32()), *PACKETS])


def counted(new: pa.Table, old: pa.Table) -> pa.Table:
    """How many rows of both have each tuple, and how many of `old`: columns tuple, n, before."""
    both = pa.concat_tables(
        [
            pa.table({"tuple": some["tuple"], "before": pa.repeat(before, len(some))})
            for some, before in ((new, 0), (old, 1))
        ]
    )
    return _tallied(both)


def _tallied(rows: pa.Table) -> pa.Table:
    """How many rows have each tuple, and of how many `before` is 1."""
    made = rows.group_by("tuple").aggregate([([], "count_all"), ("before", "sum")])
    return pa.table(
        {
            "tuple": made["tuple"],
            "n": made["count_all"].cast(pa.int64()),
            "before": made["before_sum"].cast(pa.int64()),
        }
    )


def in_buckets(table: pa.Table, sizes: list[int], buckets: int) -> pa.Table:
    """Some tuples, which are published or not, counted, with the bucket of each."""
    made = _tallied(table)
    bucket = spread(unpacked(made["tuple"], sizes), buckets)
    return made.add_column(0, "bucket", pa.array(bucket)).cast(SPREAD)


def counted_packet(table: pa.Table) -> pa.Table:
    """The rows of one bucket, from `in_buckets`, summed, as one packet."""
    made = table.group_by("tuple").aggregate([("n", "sum"), ("before", "sum")])
    made = made.rename_columns(["tuple", "n", "before"]).cast(COUNTED)
    return pa.table([table["bucket"][:1], [packet_of(made)]], schema=COUNTED_PACKETS)


def overfull(packets: pa.Table, cap: int) -> pa.Table:
    """The tuples that more than `cap` items have: tuple, n, before."""
    counts = opened(packets, COUNTED)
    return counts.filter(pc.greater(counts["n"], cap))


def answered(asks: pa.Table, counts: pa.Table, cap: int) -> pa.Table:
    """The room of each tuple that is asked for: `cap`, less the items that have it."""
    if not asks.num_rows:
        return asks
    place = pc.index_in(asks["tuple"], value_set=counts["tuple"].combine_chunks())
    n = pc.fill_null(counts["n"].combine_chunks().take(place.combine_chunks()), 0).to_numpy()
    return letters(
        asks.schema,
        asks.num_rows,
        kind=ROOM,
        place=asks["place"],
        bucket=asks["bucket"],
        tuple=asks["tuple"],
        room=np.maximum(cap - n, 0).astype(np.int64),
    )


def crowded(counts: pa.Table, some: pa.Table, cap: int) -> pa.Table:
    """Of the tuples of `some`, those that more than `cap` items have: tuple, before."""
    full = counts.filter(pc.greater(counts["n"], cap))
    here = full.filter(pc.is_in(full["tuple"], value_set=pc.unique(some["tuple"])))
    return here.select(["tuple", "before"])


def contending(frame: pa.Table, base: pa.Table, crowds: Sequence[pa.Table]) -> pa.Table:
    """Rows of `frame` whose tuple is crowded, with that and how many published items it has.

    `frame` and `base` hold the same items in the same order.
    """
    crowd = pa.concat_tables(crowds)
    place = pc.index_in(base["tuple"], value_set=crowd["tuple"].combine_chunks())
    rows = np.flatnonzero(place.is_valid().to_numpy())
    at = place.combine_chunks().take(pa.array(rows))
    made = frame.take(pa.array(rows))
    made = made.append_column("tuple", base["tuple"].take(pa.array(rows)))
    made = made.append_column("bucket", base["bucket"].take(pa.array(rows)))
    return made.append_column("before", crowd["before"].take(at))


def ranked(table: pa.Table) -> pa.Table:
    """Items with all others of their tuples that are new, and their rank in these: column rank.

    It counts from 1, behind the published items of the tuple.
    """
    n = table.num_rows
    keys = pa.table(
        {
            "id": table[ID],
            "distortion": table["exact"],
            "priority": table[PRIORITY]
            if PRIORITY in table.column_names
            else pa.nulls(n, pa.float64()),
        }
    )
    rank = np.empty(n, dtype=np.int64)
    if n:
        order = in_order(keys)
        number = table["tuple"].combine_chunks().dictionary_encode().indices.to_numpy()
        by_tuple = order[np.argsort(number[order], kind="stable")]
        starts = np.flatnonzero(np.diff(number[by_tuple], prepend=-1))
        lengths = np.diff(starts, append=n)
        rank[by_tuple] = np.arange(n) - np.repeat(starts, lengths) + 1
        rank += table["before"].to_numpy()
    return table.append_column("rank", pa.array(rank))


def granted(base: pa.Table, given: pa.Table, columns: Sequence[str]) -> pa.Table:
    """`base` with `columns` of `given`, null for items that it has not."""
    if not given.num_rows:
        for name in columns:
            base = base.append_column(name, pa.nulls(len(base), given.schema.field(name).type))
        return base
    ids = given[ID].combine_chunks()
    place = pc.index_in(base[ID], value_set=ids).combine_chunks()
    for name in columns:
        base = base.append_column(name, given[name].combine_chunks().take(place))
    return base
