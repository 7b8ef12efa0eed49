"""What people call the items of a map."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dqindex.errors import FileFormatError, InputError
from dqindex.places.missing import not_there
from dqindex.sids.map import SidMap
from dqindex.sids.matching import in_one_type
from dqindex.vectors.ids import as_ids

ID_COLUMNS = ("item_id", "id")


def read_titles(
    path: str | Path, sids: SidMap, column: str | None = None, id_column: str | None = None
) -> pa.Array:
    """Titles of the map's items, in its order, from a Parquet file.

    Parameters
    ----------
    path : path
    sids : SidMap
    column : str, optional
        The column of the titles: ``title``, or else the only text column beside the ids.
    id_column : str, optional
        Joined with the map's ids: ``item_id`` or ``id`` where there is one. Without one, or where
        the map has no ids of its own, the file must be in the map's order.

    Raises
    ------
    StorageError, FileFormatError
        If the file is missing or not Parquet.
    InputError
        If a column is missing, or the titles are not those of the items.
    """
    path = Path(path)
    if not path.is_file():
        raise not_there(path, "give a Parquet file with a text column")
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{path}: not a readable Parquet file ({error})") from None
    ids = id_column or next((name for name in ID_COLUMNS if name in schema.names), None)
    texts = [
        field.name
        for field in schema
        if field.name != ids and (pa.types.is_string(field.type) or _is_large(field.type))
    ]
    if column is None:
        column = "title" if "title" in texts else texts[0] if len(texts) == 1 else None
    missing = [name for name in (column, id_column) if name and name not in schema.names]
    if missing or column is None:
        named = f"no column {missing[0]!r}" if missing else "several text columns, or none"
        raise InputError(
            f"{path}: {named}; name one of {', '.join(schema.names)} with --title-column"
        )
    joined = ids is not None and sids.ids is not None
    table = pq.read_table(path, columns=[column, ids] if joined and ids else [column])
    titles = table.column(column).combine_chunks().fill_null("")
    if joined and ids and sids.ids is not None:
        known, wanted = in_one_type(as_ids(table.column(ids), str(path)), sids.ids, str(path))
        found = pc.index_in(wanted, value_set=known)
        if found.null_count:
            row = pc.index(pc.is_null(found), True).as_py()
            raise InputError(
                f"{path}: has no title for {found.null_count} items of the map, for example "
                f"{sids.ids[row].as_py()!r}; add them"
            )
        titles = titles.take(found)
    if len(titles) != len(sids):
        raise InputError(
            f"{path}: {len(titles):,} titles for a map of {len(sids):,} items; give those of the "
            "same items in the same order, or with their ids"
        )
    return titles


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind))
