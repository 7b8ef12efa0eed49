"""Tables of Spark, read and written for commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from dqindex.errors import StorageError
from dqindex.places.place import shown


def engine() -> Any:
    """`dqindex.spark`; imported when a command runs, so that help needs no pyspark.

    Raises
    ------
    MissingDependencyError
    """
    return import_module("dqindex.spark")


@contextmanager
def _refusals(path: str, action: str) -> Iterator[None]:
    """What Spark raises of a path, as one line."""
    refused = import_module("pyspark.errors").AnalysisException
    try:
        yield
    except refused as error:
        said = str(error).split("\n")[0].split(" SQLSTATE")[0]
        raise StorageError(f"{shown(path)}: can't {action} by Spark ({said})") from None


def read(path: str) -> Any:
    """The DataFrame of a folder of Parquet files.

    Raises
    ------
    StorageError
    """
    engine()
    session = import_module("pyspark.sql").SparkSession.builder.getOrCreate()
    with _refusals(path, "be read"):
        return session.read.parquet(path)


def write(df: Any, path: str, rows: int) -> None:
    """Write a DataFrame to a folder that is not there yet, and count its rows.

    Two jobs that write to one folder at once may both leave files there: the later one is told.

    Raises
    ------
    StorageError
        If the folder is there, or holds other than `rows` rows in the end.
    """
    with _refusals(path, "be written"):
        df.write.parquet(path)
    found = df.sparkSession.read.parquet(path).count()
    if found != rows:
        raise StorageError(
            f"{shown(path)}: holds {found:,} rows where {rows:,} were written; another job writes "
            "there too: remove the folder, and run one"
        )
