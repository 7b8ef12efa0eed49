"""Parquet that is written here: every page carries a checksum."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dqindex.storage.files import HashingFile


def table_writer(file: HashingFile, schema: pa.Schema, **options: Any) -> pq.ParquetWriter:
    """A Parquet writer to an open file; `options` are pyarrow's."""
    return pq.ParquetWriter(
        pa.PythonFile(file, mode="w"), schema, write_page_checksum=True, **options
    )


def write_table(file: HashingFile, table: pa.Table, **options: Any) -> None:
    """Write all of `table` to an open file."""
    with table_writer(file, table.schema, **options) as writer:
        writer.write_table(table)
