"""What is said of a file that is not there."""

from __future__ import annotations

from dqindex.errors import StorageError
from dqindex.places.place import Place, RemotePath
from dqindex.places.refusals import told
from dqindex.places.systems import system_of

# Stores whose names begin with a bucket.
BUCKETS = ("s3", "gs", "abfs", "abfss")


def not_there(path: Place, remedy: str, absent: str = "no such file") -> StorageError:
    """The error for a `path` where nothing is: that there is no such file, or not even a bucket.

    Parameters
    ----------
    path : Path or RemotePath
    remedy : str
        What to give instead.
    absent : str
        What is wrong, where it is not the bucket.
    """
    if _lacks_bucket(path):
        return StorageError(
            f"{path}: there is no bucket {path.parts[0]!r}; see that its name is right"
        )
    return StorageError(f"{path}: {absent}; {remedy}")


def _lacks_bucket(path: Place) -> bool:
    if not isinstance(path, RemotePath) or path.scheme not in BUCKETS:
        return False
    try:
        with told(path, "be read"):
            return not system_of(path.scheme).exists(path.parts[0])
    except (StorageError, FileNotFoundError):
        # Who may read an object may not always ask for its bucket.
        return False
