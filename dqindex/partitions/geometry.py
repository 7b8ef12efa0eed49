"""What a map keeps of all vectors of its items, which are joined by their ids."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._types import Float32
from dqindex.errors import InputError
from dqindex.parallel.threads import thread_limit
from dqindex.partitions.coding import read_vectors
from dqindex.partitions.columns import ID, VECTOR
from dqindex.partitions.engine import Engine
from dqindex.partitions.groups import SETS, Cut
from dqindex.partitions.look import tokens_of
from dqindex.quantizer.model import DQModel
from dqindex.sids.duplicates import row_hashes
from dqindex.sids.letters import packed, spread
from dqindex.vectors.id_hash import id_hashes

T = TypeVar("T")

# Items whose vectors are joined at a time, about.
JOINED_ROWS = 2**16
# A row on the items of a bucket, and rows on single items.
SUMMARY, ITEM = 0, 1


def meeting_schema(kind: pa.DataType) -> pa.Schema:
    """Of items and of vectors, on their way to each other."""
    codes = pa.list_(pa.int32())
    return pa.schema(
        [
            ("bucket", pa.int32()),
            (ID, kind),
            ("codes", codes),
            ("base_codes", codes),
            (VECTOR, pa.list_(pa.float32())),
        ]
    )


def found_schema(kind: pa.DataType) -> pa.Schema:
    """Of what is found of them."""
    return pa.schema(
        [
            ("part", pa.int32()),
            ("bucket", pa.int32()),
            ("set", pa.int32()),
            ("tuple", pa.binary()),
            ("hash", pa.int64()),
            ("n", pa.int64()),
            ("missing", pa.int64()),
            ("example", kind),
            ("lost", pa.list_(pa.float64())),
            ("mean", pa.list_(pa.float64())),
            ("spread", pa.float64()),
        ]
    )


def geometry_of(
    engine: Engine[T],
    rows: T,
    vectors: T,
    kind: pa.DataType,
    cut: Cut,
    distinct: list[int],
    n: int,
    model: DQModel | None,
) -> list[dict[str, Any]]:
    """Of each set of tokens: distortion, r_squared, and how many items share a vector as well.

    `distinct` tells how many tuples of each set there are.

    Raises
    ------
    InputError
        If there is no vector for an item.
    """
    schema, found = meeting_schema(kind), found_schema(kind)
    buckets = max(1, -(-n // JOINED_ROWS))
    both = engine.joined(
        engine.mapped(rows, partial(addressed, buckets=buckets, schema=schema), schema),
        engine.mapped(vectors, partial(addressed, buckets=buckets, schema=schema), schema),
    )
    colliding = [number for number, known in enumerate(distinct) if known < n]
    meet = partial(met, cut=cut, sets=len(distinct), colliding=colliding, model=model, schema=found)
    made = engine.held(engine.grouped(both, "bucket", meet, found))
    summaries = engine.mapped(made, partial(of_part, part=SUMMARY), found)
    whole = engine.gathered(
        engine.grouped(summaries, "part", partial(together, schema=found), found), found
    ).to_pylist()[0]
    if whole["missing"]:
        raise InputError(
            f"the table: has no vector for {whole['missing']:,} items of the map, for example "
            f"{whole['example']!r}; add them"
        )
    pairs = np.zeros(len(distinct))
    if colliding:
        items = engine.mapped(made, partial(of_part, part=ITEM), found)
        counts = engine.gathered(
            engine.grouped(items, "bucket", partial(pairs_in, schema=found), found), found
        )
        np.add.at(pairs, counts["set"].to_numpy(), counts["n"].to_numpy())
    figures: list[dict[str, Any]] = []
    for number, known in enumerate(distinct):
        same = (n - pairs[number]) / (n - known) if known < n else 0.0
        figures.append({"same_vector_share": float(same)})
        if model is not None:
            lost, energy = whole["lost"][number] / n, whole["spread"] / n
            figures[-1]["distortion"] = lost
            figures[-1]["r_squared"] = 1 - lost / energy if energy > 0 else 1.0
    return figures


def addressed(table: pa.Table, buckets: int, schema: pa.Schema) -> pa.Table:
    """Items, or vectors, with the bucket where they meet."""
    ids = table[ID].combine_chunks()
    bucket = (id_hashes(ids, 0) % np.uint64(buckets)).astype(np.int32)
    columns = [
        pa.array(bucket)
        if field.name == "bucket"
        else table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(ids), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def met(
    table: pa.Table,
    cut: Cut,
    sets: int,
    colliding: list[int],
    model: DQModel | None,
    schema: pa.Schema,
) -> pa.Table:
    """What one bucket finds: a summary, and each item of the sets that have collisions."""
    items = table.filter(table["codes"].is_valid())
    given = table.filter(table["codes"].is_null())
    place = pc.index_in(items[ID], value_set=given[ID].combine_chunks()).combine_chunks()
    lacking = items[ID].filter(place.is_null())
    summary: dict[str, Any] = {"missing": len(lacking), "n": len(items)}
    if len(lacking):
        summary["example"] = pc.min(lacking)
        return _row(summary, schema)
    if not len(items):
        return schema.empty_table()
    vectors = read_vectors(given.take(place))
    made = []
    if model is not None:
        summary["lost"] = _lost(items, vectors, model, sets)
        mean = vectors.mean(axis=0, dtype=np.float64)
        summary["mean"] = mean.tolist()
        summary["spread"] = float(((vectors - mean) ** 2).sum())
    hashes = row_hashes(vectors).view(np.int64)
    for number in colliding:
        codes = tokens_of(items, SETS[number])
        rows = {
            "part": pa.repeat(pa.scalar(ITEM, pa.int32()), len(codes)),
            "bucket": pa.array(spread(codes, cut.buckets)),
            "set": pa.repeat(pa.scalar(number, pa.int32()), len(codes)),
            "tuple": packed(codes, cut.sizes[number]),
            "hash": pa.array(hashes),
        }
        made.append(_table(rows, len(codes), schema))
    return pa.concat_tables([_row(summary, schema), *made])


def _lost(items: pa.Table, vectors: Float32, model: DQModel, sets: int) -> list[float]:
    levels = len(model.code_sizes())
    lost = []
    for name in SETS[:sets]:
        with thread_limit(1):
            decoded = model.decode(tokens_of(items, name)[:, :levels])
        lost.append(float(((decoded.astype(np.float64) - vectors) ** 2).sum()))
    return lost


def _row(values: dict[str, Any], schema: pa.Schema) -> pa.Table:
    values = {"part": SUMMARY, **values}
    return _table(
        {
            name: pa.array([value.as_py() if isinstance(value, pa.Scalar) else value])
            for name, value in values.items()
        },
        1,
        schema,
    )


def _table(given: dict[str, pa.Array], n: int, schema: pa.Schema) -> pa.Table:
    columns = [
        given[field.name].cast(field.type) if field.name in given else pa.nulls(n, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def of_part(table: pa.Table, part: int) -> pa.Table:
    """The summaries, or the items."""
    return table.filter(pc.equal(table["part"], part))


def together(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """One summary of all."""
    missing = pc.sum(table["missing"]).as_py()
    summary: dict[str, Any] = {"missing": missing, "n": pc.sum(table["n"]).as_py()}
    if missing:
        summary["example"] = pc.min(table["example"])
    elif table["mean"].null_count == 0:
        n = table["n"].to_numpy().astype(np.float64)
        means = np.array(table["mean"].to_pylist())
        mean = n @ means / n.sum()
        # What lies between the buckets, and within them.
        between = float((n[:, None] * (means - mean) ** 2).sum())
        summary["spread"] = between + pc.sum(table["spread"]).as_py()
        summary["lost"] = np.array(table["lost"].to_pylist()).sum(axis=0).tolist()
    return _row(summary, schema)


def pairs_in(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """How many pairs of a tuple and a vector there are in one bucket, of each set of tokens."""
    if not table.num_rows:
        return schema.empty_table()
    pairs = table.group_by(["set", "tuple", "hash"], use_threads=False).aggregate([])
    counts = pairs.group_by("set", use_threads=False).aggregate([([], "count_all")])
    return _table(
        {
            "set": counts["set"].combine_chunks(),
            "n": counts["count_all"].combine_chunks().cast(pa.int64()),
        },
        len(counts),
        schema,
    )
