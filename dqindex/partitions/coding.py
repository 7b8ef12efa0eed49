"""Tokens of a part of a catalogue, on their way to unique ones."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._types import Float32
from dqindex.parallel.threads import thread_limit
from dqindex.partitions.columns import ID, PRIORITY, VECTOR
from dqindex.partitions.neighbours import Cuts, place_of
from dqindex.quantizer.model import DQModel
from dqindex.quantizer.token_lists import as_lists, read_lists
from dqindex.sids.letters import ITEM, letters, packed, schema_of, unpacked
from dqindex.sids.shared import row_distortion
from dqindex.vectors.batch import open_batch


def encoded(table: pa.Table, model: DQModel) -> pa.Table:
    """Ids, codes and distortions: what `DQModel.encode_arrow` gives, on one thread."""
    if not table.num_rows:
        return _no_codes(table)
    with thread_limit(1):
        return model.encode_arrow(table, vector_column=VECTOR, id_column=ID)


def _no_codes(table: pa.Table) -> pa.Table:
    return pa.table(
        {
            ID: table[ID],
            "codes": pa.array([], pa.list_(pa.int32())),
            "distortion": pa.array([], pa.float32()),
        }
    )


def based(table: pa.Table, model: DQModel) -> pa.Table:
    """As `encoded`, the codes as bytes in a column ``tuple``."""
    made = encoded(table, model)
    return pa.table(
        {
            ID: made[ID],
            "tuple": pack_lists(made["codes"], model.code_sizes()),
            "distortion": made["distortion"],
        }
    )


def pack_lists(column: pa.ChunkedArray, sizes: list[int]) -> pa.Array:
    """A column of codes as bytes."""
    if not len(column):
        return pa.array([], pa.binary())
    return packed(read_lists(column, "codes"), sizes)


def measured(table: pa.Table, model: DQModel) -> pa.Table:
    """The rows with a column ``exact``: their distortion as `dqindex.sids.shared` rounds it."""
    exact = np.empty(0)
    if table.num_rows:
        vectors = read_vectors(table)
        codes = unpacked(table["tuple"], model.code_sizes())
        with thread_limit(1):
            exact = row_distortion(vectors, codes, model)
    return table.append_column("exact", pa.array(exact, pa.float64()))


def addressed(table: pa.Table, cuts: Cuts, kind: pa.DataType) -> pa.Table:
    """The rows, items that wait, as letters; `cuts` say the places."""
    schema = schema_of(kind)
    if not table.num_rows:
        return schema.empty_table()
    ids = table[ID].cast(kind).combine_chunks()
    priority = None
    if PRIORITY in table.column_names:
        priority = table[PRIORITY].cast(pa.float64(), safe=False)
    return letters(
        schema,
        table.num_rows,
        kind=ITEM,
        place=place_of(table["tuple"], ids, cuts),
        id=ids,
        tuple=table["tuple"].cast(pa.binary()),
        priority=priority,
        distortion=table["exact"],
        vector=_float_lists(table),
    )


def read_vectors(table: pa.Table) -> Float32:
    """The vectors of some rows, at least one."""
    with open_batch(table.select([ID, VECTOR]), vector_column=VECTOR, id_column=ID) as batch:
        return batch.vectors.read()


def _float_lists(table: pa.Table) -> pa.Array:
    vectors = read_vectors(table)
    offsets = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.ravel()))


def published(table: pa.Table, sizes: list[int]) -> pa.Table:
    """The columns of a map, from tuples.

    Columns ``wanted`` and ``lost``, where there are any: the tuple that an item was given in place
    of its own, and the distortion there; null where it kept its own. ``suffix``: a last token.
    """
    base = unpacked(table["tuple"], sizes)
    codes, distortion = base, table["distortion"]
    if "wanted" in table.column_names:
        codes = unpacked(pc.coalesce(table["wanted"], table["tuple"]), sizes)
        lost = pc.coalesce(table["lost"], distortion.cast(pa.float64()))
        distortion = pa.array(lost.to_numpy().astype(np.float32))
    if "suffix" in table.column_names:
        codes = np.concatenate([base, table["suffix"].to_numpy()[:, None]], axis=1)
    return pa.table(
        {
            ID: table[ID],
            "codes": as_lists(codes),
            "base_codes": as_lists(base),
            "distortion": distortion,
        }
    )
