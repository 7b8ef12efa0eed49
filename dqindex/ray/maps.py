"""Published maps in Ray's object store."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
import ray
import ray.data

from dqindex.partitions.columns import ID
from dqindex.partitions.maps import (
    MapFile,
    check_columns,
    in_columns,
    located,
    pieces_of,
)
from dqindex.ray.tables import Tables, blocks_of, call, each
from dqindex.sids.map import SidMap


def rows_of(sids: Any) -> tuple[Tables, pa.DataType, list[int] | None]:
    """The rows of a map: in memory, in a file, or a Dataset.

    With the type in which its ids are compared, and the sizes of its levels where it says them.

    Raises
    ------
    InputError, StorageError, FileFormatError, IntegrityError
        If it is none, or damaged.
    """
    if isinstance(sids, ray.data.Dataset):
        schema = sids.schema()
        kind = check_columns(pa.schema([]) if schema is None else schema.base_schema)
        return each(blocks_of(sids), in_columns, kind), kind, None
    sids = located(sids, "Dataset")
    if isinstance(sids, SidMap):
        pieces = pieces_of(sids)
        return list(map(ray.put, pieces)), pieces[0].schema.field(ID).type, sids.sizes
    rows = [call(partial(MapFile.rows, sids), group) for group in range(sids.groups)]
    return rows, sids.kind, sids.record["code_sizes"]
