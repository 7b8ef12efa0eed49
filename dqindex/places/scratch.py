"""Temporary room on disk: files without a name, where temporary files lie."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from typing import IO

from dqindex.errors import StorageError


def scratch_file(size: int = 0) -> IO[bytes]:
    """An open file that goes when it is closed, with `size` bytes of the disk its own.

    Raises
    ------
    StorageError
        If there is no folder for temporary files, or no room in it.
    """
    with ExitStack() as failing:
        try:
            file = failing.enter_context(tempfile.TemporaryFile(prefix="dqindex-"))
            if size:
                # A hole that is written to through memory on a full disk kills the process.
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise no_room(size, error) from None
        failing.pop_all()
    return file


def no_room(size: int, error: OSError) -> StorageError:
    """What is said where temporary files find no room."""
    return StorageError(
        f"temporary files: no room for {size} bytes ({error.strerror or error}); set TMPDIR to a "
        "folder that has it"
    )
