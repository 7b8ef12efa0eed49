"""A published map: how it was made, and its rows, on whichever machine they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dqindex.errors import (
    DQIndexError,
    FileFormatError,
    InputError,
    StorageError,
)
from dqindex.partitions import survey as looks
from dqindex.partitions.coding import pack_lists
from dqindex.partitions.columns import ID, compared
from dqindex.partitions.how import How, how_stored, model_of_file
from dqindex.places.place import place, shown
from dqindex.quantizer.model import DQModel
from dqindex.quantizer.token_lists import as_lists, read_lists
from dqindex.sids.map import SidMap
from dqindex.sids.map_file import FORMAT, ROW_GROUP
from dqindex.storage.records import Record
from dqindex.vectors.parts import open_part

COLUMNS = (ID, "codes", "base_codes", "distortion")


class MapFile(NamedTuple):
    """A map in one file, which is read a group of rows at a time.

    Attributes
    ----------
    path : str
    record : dict
        What the file says of the map's origin.
    groups : int
    kind : pyarrow.DataType
        In which its ids are compared.
    """

    path: str
    record: Record
    groups: int
    kind: pa.DataType

    def rows(self, group: int) -> pa.Table:
        """One of its groups of rows."""
        batches = list(open_part(place(self.path)).batches(list(COLUMNS), ROW_GROUP, [group]))
        return in_columns(pa.Table.from_batches(batches), self.kind)


def open_map(path: str | Path) -> MapFile:
    """The map at `path`, a file or an object; its rows stay where they are.

    Raises
    ------
    StorageError, FileFormatError, IntegrityError
        If there is none, or it is damaged.
    InputError
        If its items have no ids.
    """
    name = shown(str(path))
    try:
        part = open_part(place(path))
    except FileNotFoundError:
        raise StorageError(
            f"{name}: no such file; give a map made by 'dqindex sids extract'"
        ) from None
    stored = (part.schema.metadata or {}).get(b"dqindex")
    if stored is None:
        raise FileFormatError(
            f"{name}: does not say how the map was made; read it as a table, and give that"
        )
    record = FORMAT.parse(stored, name)
    _check_own(record["own_ids"], name)
    kind = compared(part.schema.field(ID).type, ID)
    return MapFile(str(path), record, len(part.group_rows), kind)


def located(sids: Any, table: str) -> SidMap | MapFile:
    """A map that is no table of an engine: in memory, or the file at a path, opened once.

    `table` is what the engine calls one, for the message.

    Raises
    ------
    InputError, StorageError, FileFormatError, IntegrityError
        If it is none, or damaged.
    """
    if isinstance(sids, SidMap | MapFile):
        return sids
    if not isinstance(sids, str | Path):
        raise InputError(
            f"sids is a {type(sids).__name__}; give a {table}, a map, or the path of a map"
        )
    return open_map(sids)


def how_of(sids: SidMap | MapFile, model: DQModel | None, given: Sequence[object]) -> How:
    """How a map in memory or in a file was made; its model is its own, or the one beside it.

    Raises
    ------
    InputError, StorageError, FileFormatError, IntegrityError
        If the model is missing, damaged or another, or settings are `given`.
    """
    if isinstance(sids, SidMap):
        return how_stored(vars(sids), "the map", model or sids.need_model(), given)
    model = model or model_of_file(sids.path, sids.record["fingerprint"])
    return how_stored(sids.record, sids.path, model, given)


def _check_own(own: bool, name: str) -> None:
    if not own:
        raise InputError(
            f"{name}: the new items have ids, but the map's are row numbers; extract the map with "
            "ids"
        )


def pieces_of(sids: SidMap) -> list[pa.Table]:
    """The rows of a map that is in memory.

    Raises
    ------
    InputError
        If its items have no ids.
    """
    _check_own(sids.ids is not None, "the map")
    kind = compared(sids.item_ids.type, ID)
    return [
        in_columns(_piece(sids, slice(start, start + ROW_GROUP)), kind)
        for start in range(0, len(sids), ROW_GROUP)
    ]


def _piece(sids: SidMap, rows: slice) -> pa.Table:
    return pa.table(
        {
            ID: sids.item_ids[rows],
            "codes": as_lists(sids.codes[rows]),
            "base_codes": as_lists(sids.base_codes[rows]),
            "distortion": pa.array(sids.distortion[rows].astype(np.float32)),
        }
    )


def schema_of(kind: pa.DataType) -> pa.Schema:
    """The columns of a map; `kind` is the type of its ids."""
    codes = pa.list_(pa.int32())
    return pa.schema(
        [(ID, kind), ("codes", codes), ("base_codes", codes), ("distortion", pa.float32())]
    )


def in_columns(table: pa.Table, kind: pa.DataType) -> pa.Table:
    """The columns of a map, in their types."""
    return table.select(list(COLUMNS)).cast(schema_of(kind))


def check_columns(schema: pa.Schema) -> pa.DataType:
    """The type in which the ids of a table that should be a map are compared.

    Raises
    ------
    InputError
        If a column is missing, or its ids are of another type.
    """
    for column in COLUMNS:
        if column not in schema.names:
            raise InputError(
                f"the map has no column {column!r}, only {', '.join(schema.names)}; give what "
                "semantic_ids made"
            )
    return compared(schema.field(ID).type, ID)


def survey_map(table: pa.Table, how: How) -> pa.Table:
    """One row on a part of a map, as `dqindex.partitions.survey.survey` gives one."""
    n = table.num_rows
    if not n:
        return looks.SCHEMA.empty_table()
    row: list[Any]
    try:
        _check_tokens(table, how)
    except DQIndexError as error:
        row = [n, 0, 0.0, type(error).__name__, str(error)]
    else:
        row = [n, 1, 0.0, None, None]
    return pa.table([[value] for value in row], schema=looks.SCHEMA)


def _check_tokens(table: pa.Table, how: How) -> None:
    if table[ID].null_count:
        raise InputError(f"the map: {table[ID].null_count} ids are missing; extract it again")
    sizes = how.model.code_sizes()
    for column, suffix in (("codes", how.unique == "suffix"), ("base_codes", False)):
        codes = read_lists(table[column], "the map")
        levels = len(sizes)
        if codes.shape[1] != levels + suffix or (codes[:, :levels] >= np.array(sizes)).any():
            raise InputError(
                f"the map: the {column} of id {table[ID][0].as_py()!r} and others are not those "
                f"of a model of {' x '.join(map(str, sizes))} codes; give the model that made it"
            )


def taken_tuples(table: pa.Table, how: How) -> pa.Table:
    """Ids, and the tuples that are taken as bytes: columns item_id and tuple."""
    sizes = how.model.code_sizes()
    lists = table[how.taken]
    return pa.table({ID: table[ID], "tuple": pack_lists(lists, sizes)})


def check_kinds(new: pa.DataType, old: pa.DataType) -> None:
    """Refuse new ids that could never be those of a map.

    Raises
    ------
    InputError
    """
    if new != old:
        raise InputError(
            f"the table: ids of type {new}, those of the map are {old}; store them in one type"
        )


def refuse_known(number: int, first: Any) -> None:
    """Say that `number` ids are in the map already, of which `first` is one.

    Raises
    ------
    InputError
    """
    raise InputError(
        f"the table: {number} ids are in the map already, for example {first!r}; append new items "
        "only, or refit"
    )
