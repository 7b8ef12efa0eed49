"""Folders by the names that Spark has for them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from dqindex.errors import StorageError
from dqindex.places.place import shown


@contextmanager
def refusals(path: str, action: str) -> Iterator[None]:
    """What Spark and its file systems raise of a path, as one line."""
    refused = import_module("pyspark.errors").AnalysisException
    raised = import_module("py4j.protocol").Py4JJavaError
    try:
        yield
    except (refused, raised) as error:
        told = error.java_exception.toString() if isinstance(error, raised) else str(error)
        said = told.split("\n")[0].split(" SQLSTATE")[0]
        raise StorageError(f"{shown(path)}: can't {action} by Spark ({said})") from None


class Folders:
    """The file systems that a Spark session knows.

    Parameters
    ----------
    session : SparkSession
    """

    def __init__(self, session: Any) -> None:
        context = session.sparkContext
        self._path = context._jvm.org.apache.hadoop.fs.Path
        self._settings = context._jsc.hadoopConfiguration()

    def check_new(self, path: str) -> None:
        """Refuse a folder that is there.

        Raises
        ------
        StorageError
        """
        with refusals(path, "be found"):
            there = self._exists(self._path(path))
        if there:
            raise StorageError(f"{shown(path)}: is there already; remove it, or give a new folder")

    def beside(self, path: str) -> str:
        """A new name in the same folder, which nobody reads."""
        whole = self._path(path)
        name = f"_{whole.getName()}.{uuid.uuid4().hex}"
        return str(self._path(whole.getParent(), name).toString())

    def rename(self, beside: str, path: str) -> None:
        """Give the folder `beside` its name.

        Raises
        ------
        StorageError
            If another job was quicker.
        """
        self.check_new(path)
        written, wanted = self._path(beside), self._path(path)
        with refusals(path, "be written"):
            done = self._system(wanted).rename(written, wanted)
            # Where a folder came there at this very moment, ours is in it now.
            inside = self._path(wanted, written.getName())
            lost = self._exists(inside)
            if lost:
                self._system(wanted).delete(inside, True)
        if lost or not done:
            raise StorageError(
                f"{shown(path)}: another job wrote there meanwhile; give a new folder"
            )

    def remove(self, path: str) -> None:
        """Remove a folder, where there is one."""
        gone = self._path(path)
        self._system(gone).delete(gone, True)

    def _system(self, path: Any) -> Any:
        return path.getFileSystem(self._settings)

    def _exists(self, path: Any) -> bool:
        return bool(self._system(path).exists(path))
