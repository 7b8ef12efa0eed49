"""Published maps in Ray's object store."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from dqindex.errors import InputError
from dqindex.partitions import survey as looks
from dqindex.partitions.columns import ID
from dqindex.partitions.how import How, how_given
from dqindex.partitions.maps import (
    MapFile,
    check_columns,
    how_of,
    in_columns,
    located,
    pieces_of,
    survey_map,
)
from dqindex.quantizer.model import DQModel
from dqindex.ray.tables import Tables, blocks_of, call, each
from dqindex.sids.map import SidMap


class Published(NamedTuple):
    """A map, its rows in the object store.

    Attributes
    ----------
    rows : list of references
        Tables of item_id, codes, base_codes, distortion.
    how : How
    kind : pyarrow.DataType
        In which its ids are compared.
    """

    rows: Tables
    how: How
    kind: pa.DataType


def published_map(
    sids: Any, model: DQModel | None, unique: str | None, cap: int | None, keep: int | None
) -> Published:
    """A map: in memory, in a file, or a Dataset.

    Raises
    ------
    InputError, StorageError, FileFormatError, IntegrityError
        If it is none, is damaged, or does not fit the settings.
    """
    if isinstance(sids, ray.data.Dataset):
        rows, kind, _ = rows_of(sids)
        return Published(rows, how_given(model, unique, cap, keep), kind)
    sids = located(sids, "Dataset")
    rows, kind, _ = rows_of(sids)
    return Published(rows, how_of(sids, model, (unique, cap, keep)), kind)


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


def surveyed_map(published: Published) -> int:
    """How many items a map has; one that can't be used is refused.

    Raises
    ------
    InputError
    """
    how = ray.put(published.how)
    found = ray.get(each(published.rows, survey_map, how))
    total = pa.concat_tables([looks.SCHEMA.empty_table(), *found])
    problem = pc.min(total["problem"]).as_py()
    if problem is not None:
        raise InputError(problem)
    return pc.sum(total["n"]).as_py() or 0
