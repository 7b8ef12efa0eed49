"""One writer at a time: locks that a killed process lets go of, and that leave no file behind."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dqindex.errors import BusyError
from dqindex.places.place import Place, RemotePath, place
from dqindex.places.put import held
from dqindex.storage.files import same_file, storage_error

# What the system says where another holds the lock.
HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
PAUSE = 0.05
# How long commands that add to one artefact wait for each other.
WAIT_SECONDS = 60.0


@contextmanager
def exclusive(
    path: Place | str, *, wait: float = 0.0, who: str = "another process"
) -> Iterator[None]:
    """Hold the file or folder at `path` against every other writer that asks for it.

    The lock is on what stands at `path` now, and its holder may replace that by a rename: whoever
    gets the old file's lock afterwards notices, and asks for the new file's. So a change that is
    made of reading, computing and replacing is safe if all three are done inside.

    Stores have no locks. There nobody waits: of writers that do so at once the first to replace the
    object succeeds, and each other gets the `BusyError` when it does. `path` is then the object
    itself, which need not exist yet.

    Parameters
    ----------
    path : path
        An existing file or folder.
    wait : float, default 0
        Seconds to wait for another writer; 0 refuses at once.
    who : str
        What the other writer is called in messages.

    Raises
    ------
    BusyError
        If another process, or another thread of this one, holds it for longer than `wait`.
    StorageError
        If there is nothing at `path`, or the file system has no locks.
    """
    path = place(path)
    if isinstance(path, RemotePath):
        with held(path):
            yield
        return
    handle = _locked(path, time.monotonic() + wait, who)
    try:
        yield
    finally:
        os.close(handle)


def _locked(path: Path, deadline: float, who: str) -> int:
    """An open handle of what stands at `path`, locked."""
    while True:
        try:
            # A fifo must not be waited for.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise storage_error(path, "be opened", error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if same_file(handle, path):
                return handle
        except OSError as error:
            if error.errno not in HELD:
                os.close(handle)
                raise storage_error(path, "be locked", error) from None
            if time.monotonic() >= deadline:
                os.close(handle)
                raise BusyError(f"{path}: {who} is writing to it; wait for it to end") from None
            time.sleep(PAUSE)
        os.close(handle)
