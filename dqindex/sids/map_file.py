"""The Parquet file of a map."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pyarrow as pa

from dqindex._parameters import boolean, integer, one_of, size, text
from dqindex._types import Float64
from dqindex.errors import FileFormatError, InputError, IntegrityError
from dqindex.places.missing import not_there
from dqindex.places.place import Place, place
from dqindex.quantizer.token_lists import as_lists, read_lists
from dqindex.sids.map import SidMap
from dqindex.storage.files import atomic_file, versions
from dqindex.storage.reading import names_its_writer, open_regular, read_parquet
from dqindex.storage.records import Each, Format, Maybe, Named, Record
from dqindex.storage.tables import table_writer
from dqindex.vectors.ids import check_ids

# Version 1 had no checksums, of pages, of the record, or of the rows.
FORMAT_VERSION = 2
FORMAT = Format(
    name="dqindex-sids",
    version=FORMAT_VERSION,
    what="a map of semantic IDs",
    short="map",
    remedy="extract the map again",
    schema={
        "fingerprint": text(),
        "code_sizes": Each(integer(1)),
        "unique": one_of("none", "reassign", "suffix", "cap"),
        "cap": integer(1),
        "keep": Maybe(integer(0)),
        "widened": Maybe(size(0)),
        "priority": Maybe(boolean()),
        "own_ids": boolean(),
        "versions": Named(text()),
        "rows_sha256": Maybe(text()),
    },
)
COLUMNS = ("item_id", "codes", "base_codes", "distortion")
# What OpenOneRec calls its ids and codes.
OPENONEREC = ("pid", "sid")
# Rows that are written at a time.
ROW_GROUP = 2**18
# Most codes of a level that no code needs: what is counted by code takes so many numbers.
LARGEST_SIZE = 2**24


def metadata_of(sids: SidMap) -> Record:
    """What the file says of the map's origin."""
    return FORMAT.write(
        {
            "fingerprint": sids.fingerprint,
            "code_sizes": [int(size) for size in sids.sizes],
            "unique": sids.unique,
            "cap": int(sids.cap),
            **({} if sids.keep is None else {"keep": int(sids.keep), "widened": sids.widened()}),
            **({} if sids.priority is None else {"priority": True}),
            "own_ids": sids.ids is not None,
            "versions": versions(),
            "rows_sha256": rows_sha256(sids),
        }
    )


def rows_sha256(sids: SidMap) -> str:
    """Digest of all that the rows say, whatever Parquet makes of it."""
    digest = hashlib.sha256(f"{sids.codes.shape} {sids.base_codes.shape}".encode())
    for start in range(0, len(sids), ROW_GROUP):
        rows = slice(start, start + ROW_GROUP)
        for tokens in (sids.codes, sids.base_codes):
            digest.update(np.ascontiguousarray(tokens[rows], dtype="<i4").data)
        digest.update(np.ascontiguousarray(sids.distortion[rows], dtype="<f4").data)
        if sids.priority is not None:
            digest.update(np.ascontiguousarray(sids.priority[rows], dtype="<f8").data)
        if sids.ids is not None:
            _add_ids(digest, sids.ids[start : start + ROW_GROUP])
    return digest.hexdigest()


def _add_ids(digest: Any, ids: pa.Array) -> None:
    """Ids of one kind, integers or texts, in whichever width they are stored."""
    if pa.types.is_integer(ids.type):
        wide = ids if pa.types.is_uint64(ids.type) else ids.cast(pa.int64())
        digest.update(np.ascontiguousarray(wide.to_numpy(zero_copy_only=False)).data)
        return
    wide = ids.cast(pa.large_string())
    _, offsets, values = wide.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[wide.offset : wide.offset + len(wide) + 1]
    digest.update(np.ascontiguousarray(np.diff(ends)).data)
    digest.update(memoryview(values)[ends[0] : ends[-1]] if values is not None else b"")


def table_of(sids: SidMap, rows: slice = slice(None)) -> pa.Table:
    """Some `rows` as stored, the origin as metadata.

    Columns item_id, codes, base_codes, distortion, and priority where there is one.
    """
    return pa.table(_columns(sids, rows)).replace_schema_metadata(
        {"dqindex": json.dumps(metadata_of(sids), sort_keys=True)}
    )


def _columns(sids: SidMap, rows: slice) -> dict[str, pa.Array]:
    first, end, _ = rows.indices(len(sids))
    ids = pa.array(np.arange(first, end)) if sids.ids is None else sids.ids[first:end]
    return {
        "item_id": ids,
        "codes": as_lists(sids.codes[rows]),
        "base_codes": as_lists(sids.base_codes[rows]),
        "distortion": pa.array(sids.distortion[rows].astype(np.float32)),
        **({} if sids.priority is None else {"priority": pa.array(sids.priority[rows])}),
    }


def write_map(sids: SidMap, path: str | Place) -> None:
    """Write the Parquet file, whole or not at all.

    Raises
    ------
    StorageError
    """
    schema = table_of(sids, slice(0, 0)).schema
    with atomic_file(path) as file:
        # Ids and distortions hardly repeat: a dictionary of them takes time and room.
        writer = table_writer(
            file,
            schema,
            compression="zstd",
            use_dictionary=["codes.list.element", "base_codes.list.element"],
        )
        with writer:
            for start in range(0, len(sids), ROW_GROUP):
                rows = slice(start, start + ROW_GROUP)
                writer.write_table(pa.table(_columns(sids, rows), schema=schema))


def read_map(
    path: str | Place, *, id_column: str | None = None, codes_column: str | None = None
) -> SidMap:
    """Read a map, and verify its checksums; a Parquet file without our record is a foreign map.

    Parameters
    ----------
    path : path
    id_column, codes_column : str, optional
        Of a foreign map; by default ``item_id`` and ``codes``, or OpenOneRec's ``pid`` and ``sid``.

    Raises
    ------
    StorageError, FileFormatError
        If the file is missing, unreadable, or not a map.
    IntegrityError
        If it is not what was written.
    InputError
        If a column that is named is not there, or the map is our own.
    """
    path = place(path)
    try:
        with open_regular(path) as file:
            table = read_parquet(file, path, FORMAT.remedy)
            whole = names_its_writer(file, path, FORMAT.remedy)
    except FileNotFoundError:
        raise not_there(path, "give a map made by 'dqindex sids extract'") from None
    if not whole and set(COLUMNS) <= set(table.column_names):
        raise IntegrityError(f"{path}: its footer ends early; damaged, {FORMAT.remedy}")
    return _from_table(_renamed(table, id_column, codes_column, str(path)), str(path))


def _renamed(
    table: pa.Table, id_column: str | None, codes_column: str | None, name: str
) -> pa.Table:
    """A foreign table with our names for its ids and codes."""
    there = set(table.column_names)
    if codes_column is None and "codes" not in there and {*OPENONEREC} <= there:
        id_column, codes_column = id_column or OPENONEREC[0], OPENONEREC[1]
    given = {
        column: ours
        for ours, column in (("item_id", id_column), ("codes", codes_column))
        if column is not None
    }
    if not given:
        return table
    if _record_of(table, name):
        raise InputError(f"{name}: is a map of dqindex's own; leave out the names of its columns")
    for column in given:
        if column not in table.column_names:
            raise InputError(
                f"{name}: no column {column!r}; it has {', '.join(table.column_names)}"
            )
    # A column that bears our name and is not meant does not matter.
    names = table.column_names
    kept = [at for at, one in enumerate(names) if one in given or one not in given.values()]
    return table.select(kept).rename_columns([given.get(names[at], names[at]) for at in kept])


def _record_of(table: pa.Table, name: str) -> Record:
    """What our metadata says; nothing for a foreign map."""
    metadata = table.schema.metadata or {}
    stored = metadata.get(b"dqindex")
    if stored is not None:
        return FORMAT.parse(stored, name)
    if any(FORMAT.name.encode() in value for value in metadata.values()):
        raise IntegrityError(f"{name}: its record has lost its name; damaged, {FORMAT.remedy}")
    return {}


def _from_table(table: pa.Table, name: str) -> SidMap:
    record = _record_of(table, name)
    columns = (*COLUMNS, "priority") if record.get("priority") else COLUMNS
    needed = columns if record else ("codes",)
    for column in columns:
        times = table.column_names.count(column)
        if times > 1 or (not times and column in needed):
            raise FileFormatError(
                f"{name}: {'several columns' if times else 'no column'} {column!r}; it has "
                f"{', '.join(table.column_names)}"
            )
    own = record.get("own_ids", "item_id" in table.column_names)
    codes = read_lists(table.column("codes"), name)
    base = codes
    if "base_codes" in table.column_names:
        base = read_lists(table.column("base_codes"), name)
    distortion = np.full(len(table), np.nan)
    if "distortion" in table.column_names:
        distortion = _numbers(table, "distortion", name)
    sids = SidMap(
        codes,
        base,
        distortion.astype(np.float32),
        record["code_sizes"] if record else [int(one) + 1 for one in codes.max(axis=0)],
        check_ids(table.column("item_id"), len(codes), name) if own else None,
        record.get("fingerprint", ""),
        record.get("unique", "none"),
        record.get("cap", 1),
        record.get("keep"),
        _numbers(table, "priority", name) if "priority" in columns else None,
        sizes_guessed="code_sizes" not in record,
    )
    _check_tokens(sids, name)
    if "rows_sha256" in record and record["rows_sha256"] != rows_sha256(sids):
        raise IntegrityError(
            f"{name}: its rows do not match their checksum; damaged or edited, {FORMAT.remedy}"
        )
    return sids


def _numbers(table: pa.Table, name: str, source: str) -> Float64:
    column = table.column(name)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise FileFormatError(f"{source}: {name} of type {column.type}; it must be numbers")
    numbers: Float64 = column.cast(pa.float64(), safe=False).to_numpy()
    return numbers


def _check_tokens(sids: SidMap, name: str) -> None:
    """Refuse tokens that the sizes of their levels do not allow, and sizes beyond all sense."""
    levels = sids.codes.shape[1]
    if len(sids.sizes) != levels:
        raise FileFormatError(
            f"{name}: code_sizes of {len(sids.sizes)} levels, but items have {levels} tokens; "
            f"{FORMAT.remedy}"
        )
    if sids.base_codes.shape[1] not in (levels, levels - 1):
        raise FileFormatError(
            f"{name}: base_codes of {sids.base_codes.shape[1]} tokens beside codes of {levels}; "
            f"{FORMAT.remedy}"
        )
    for column, tokens in (("codes", sids.codes), ("base_codes", sids.base_codes)):
        for level, largest in enumerate(map(int, tokens.max(axis=0))):
            size = sids.sizes[level]
            if not largest < size <= max(LARGEST_SIZE, largest + 1):
                raise FileFormatError(
                    f"{name}: code_sizes[{level}] is {size}, the largest code of {column} there "
                    f"is {largest}; {FORMAT.remedy}"
                )


def model_beside(path: str | Place, fingerprint: str) -> Place:
    """Where ``sids extract`` leaves the model: beside the map, named by its fingerprint."""
    path = place(path)
    return path.with_name(f"{path.stem}.{fingerprint[:12]}.safetensors")
