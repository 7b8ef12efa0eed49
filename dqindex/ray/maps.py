"""Published maps in Ray's object store."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from dqindex.errors import InputError
from dqindex.partitions import survey as looks
from dqindex.partitions.columns import ID
from dqindex.partitions.how import How, how_given, how_stored, model_of_file
from dqindex.partitions.maps import (
    MapFile,
    check_columns,
    in_columns,
    open_map,
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
    rows, kind, _ = rows_of(sids)
    if isinstance(sids, ray.data.Dataset):
        return Published(rows, how_given(model, unique, cap, keep), kind)
    given = unique, cap, keep
    if isinstance(sids, SidMap):
        how = how_stored(vars(sids), "the map", model or sids.need_model(), given)
        return Published(rows, how, kind)
    stored = open_map(sids)
    model = model or model_of_file(stored.path, stored.record["fingerprint"])
    return Published(rows, how_stored(stored.record, stored.path, model, given), kind)


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
    if isinstance(sids, SidMap):
        pieces = pieces_of(sids)
        return list(map(ray.put, pieces)), pieces[0].schema.field(ID).type, sids.sizes
    if not isinstance(sids, str | Path):
        raise InputError(
            f"sids is a {type(sids).__name__}; give a Dataset, a map, or the path of a map"
        )
    stored = open_map(sids)
    rows = [call(partial(MapFile.rows, stored), group) for group in range(stored.groups)]
    return rows, stored.kind, stored.record["code_sizes"]


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
