"""The Parquet file of a map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dqindex._types import Tokens
from dqindex.errors import FileFormatError, StorageError
from dqindex.quantizer.encoding import code_dtype
from dqindex.sids.map import SidMap
from dqindex.storage.files import atomic_file, storage_error, versions
from dqindex.vectors.ids import check_ids

FORMAT = "dqindex-sids"
FORMAT_VERSION = 1
# Rows that are written at a time.
ROW_GROUP = 2**18


def metadata_of(sids: SidMap) -> dict[str, Any]:
    """What the file says of the map's origin."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "fingerprint": sids.fingerprint,
        "code_sizes": sids.sizes,
        "unique": sids.unique,
        "cap": sids.cap,
        "own_ids": sids.ids is not None,
        "versions": versions(),
    }


def table_of(sids: SidMap, rows: slice = slice(None)) -> pa.Table:
    """Some `rows` as stored: item_id, codes, base_codes, distortion; the origin as metadata."""
    first, end, _ = rows.indices(len(sids))
    ids = pa.array(np.arange(first, end)) if sids.ids is None else sids.ids[first:end]
    columns = {
        "item_id": ids,
        "codes": _lists(sids.codes[rows]),
        "base_codes": _lists(sids.base_codes[rows]),
        "distortion": pa.array(sids.distortion[rows].astype(np.float32)),
    }
    return pa.table(columns).replace_schema_metadata(
        {"dqindex": json.dumps(metadata_of(sids), sort_keys=True)}
    )


def write_map(sids: SidMap, path: str | Path) -> None:
    """Write the Parquet file, whole or not at all.

    Raises
    ------
    StorageError
    """
    schema = table_of(sids, slice(0, 0)).schema
    with atomic_file(path) as file:
        # Ids and distortions hardly repeat: a dictionary of them takes time and room.
        writer = pq.ParquetWriter(
            pa.PythonFile(file, mode="w"),
            schema,
            compression="zstd",
            use_dictionary=["codes.list.element", "base_codes.list.element"],
        )
        with writer:
            for start in range(0, len(sids), ROW_GROUP):
                writer.write_table(table_of(sids, slice(start, start + ROW_GROUP)))


def read_map(path: str | Path) -> SidMap:
    """Read a map.

    Raises
    ------
    StorageError, FileFormatError
        If the file is missing, unreadable, or not a map.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"{path}: no such file; give a map made by 'dqindex sids extract'")
    try:
        table = pq.read_table(path)
    except OSError as error:
        if isinstance(error, pa.ArrowException):
            raise FileFormatError(f"{path}: not a readable Parquet file ({error})") from None
        raise storage_error(path, "be read", error) from None
    except pa.ArrowException as error:
        raise FileFormatError(f"{path}: not a readable Parquet file ({error})") from None
    return _from_table(table, str(path))


def _from_table(table: pa.Table, name: str) -> SidMap:
    stored = (table.schema.metadata or {}).get(b"dqindex")
    metadata = json.loads(stored) if stored else {}
    if metadata and metadata.get("format") != FORMAT:
        raise FileFormatError(f"{name}: not a map of semantic IDs")
    if metadata and metadata["format_version"] != FORMAT_VERSION:
        raise FileFormatError(
            f"{name}: map format {metadata['format_version']}, this dqindex reads "
            f"{FORMAT_VERSION}; upgrade dqindex"
        )
    if "codes" not in table.column_names:
        raise FileFormatError(f"{name}: no column 'codes'; it has {', '.join(table.column_names)}")
    codes = read_lists(table.column("codes"), name)
    own = metadata.get("own_ids", "item_id" in table.column_names)
    ids = check_ids(table.column("item_id"), len(codes), name) if own else None
    base = codes
    if "base_codes" in table.column_names:
        base = read_lists(table.column("base_codes"), name)
    distortion = np.full(len(codes), np.nan, dtype=np.float32)
    if "distortion" in table.column_names:
        distortion = table.column("distortion").to_numpy().astype(np.float32)
    sizes = metadata.get("code_sizes") or [int(one) + 1 for one in codes.max(axis=0)]
    return SidMap(
        codes,
        base,
        distortion,
        sizes,
        ids,
        metadata.get("fingerprint", ""),
        metadata.get("unique", "none"),
        metadata.get("cap", 1),
    )


def model_beside(path: str | Path, fingerprint: str) -> Path:
    """Where ``sids extract`` leaves the model: beside the map, named by its fingerprint."""
    path = Path(path)
    return path.with_name(f"{path.stem}.{fingerprint[:12]}.safetensors")


def _lists(codes: npt.NDArray[Any]) -> pa.ListArray:
    n, levels = codes.shape
    offsets = np.arange(0, n * levels + 1, levels, dtype=np.int64)
    values = pa.array(np.ascontiguousarray(codes, dtype=np.int32).ravel())
    if n * levels < 2**31:
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)
    return pa.LargeListArray.from_arrays(pa.array(offsets), values)


def read_lists(column: pa.ChunkedArray, name: str) -> Tokens:
    """A list column of integers, all of one length, as a matrix.

    Raises
    ------
    FileFormatError
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    kind = array.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not (is_list or pa.types.is_fixed_size_list(kind)) or not pa.types.is_integer(
        kind.value_type
    ):
        raise FileFormatError(f"{name}: codes of type {kind}; they must be lists of integers")
    if len(array) == 0:
        raise FileFormatError(f"{name}: a map without items")
    if array.null_count:
        raise FileFormatError(f"{name}: {array.null_count} items have no codes")
    widths = pa.compute.list_value_length(array).to_numpy()
    other = np.flatnonzero(widths != widths[0])
    if other.size or widths[0] == 0:
        row = int(other[0]) if other.size else 0
        raise FileFormatError(
            f"{name}: row {row} has {widths[row]} tokens, the first {widths[0]}; all need as many"
        )
    values = array.flatten().to_numpy(zero_copy_only=False)
    if values.min() < 0 or values.max() >= 2**31:
        raise FileFormatError(f"{name}: codes from {values.min()} to {values.max()}; not tokens")
    largest = int(values.max(initial=0))
    codes: Tokens = values.astype(code_dtype(largest + 1)).reshape(len(array), -1)
    return codes
