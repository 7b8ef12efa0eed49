"""Tables of Spark, read and written for commands."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dqindex.cli.spark.folders import Folders, refusals
from dqindex.errors import StorageError
from dqindex.places.place import shown


def engine() -> Any:
    """`dqindex.spark`; imported when a command runs, so that help needs no pyspark.

    Raises
    ------
    MissingDependencyError
    """
    return import_module("dqindex.spark")


def _session() -> Any:
    engine()
    return import_module("pyspark.sql").SparkSession.builder.getOrCreate()


def read(path: str) -> Any:
    """The DataFrame of a folder of Parquet files.

    Raises
    ------
    StorageError
    """
    session = _session()
    with refusals(path, "be read"):
        return session.read.parquet(path)


def check_output(path: str) -> None:
    """Refuse a folder that is there, before any work.

    Raises
    ------
    StorageError
    """
    Folders(_session()).check_new(path)


def write(df: Any, path: str, rows: int) -> None:
    """Write a DataFrame to a folder that is not there yet, and count its rows.

    It is written beside its place, and renamed at the end: of two jobs that write to one folder
    at once, one has it, and the other is told.

    Raises
    ------
    StorageError
        If the folder is there, or can't be written, or holds other than `rows` rows in the end.
    """
    folders = Folders(df.sparkSession)
    beside = folders.beside(path)
    try:
        with refusals(path, "be written"):
            df.write.parquet(beside)
        folders.rename(beside, path)
    finally:
        folders.remove(beside)
    found = df.sparkSession.read.parquet(path).count()
    if found != rows:
        raise StorageError(
            f"{shown(path)}: holds {found:,} rows where {rows:,} were written; another job writes "
            "there too: remove the folder, and run one"
        )
