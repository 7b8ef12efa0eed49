"""Temporary room on disk: files without a name, where temporary files lie."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from typing import IO

import numpy as np

from dqindex._types import Float32
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
            raise StorageError(
                f"temporary files: no room for {size} bytes ({error.strerror or error}); set "
                "TMPDIR to a folder that has it"
            ) from None
        failing.pop_all()
    return file


def scratch_matrix(rows: int, width: int) -> Float32:
    """A float32 matrix on disk, zeros at first; the file goes with it.

    Raises
    ------
    StorageError
    """
    with scratch_file(4 * rows * width) as file:
        return np.memmap(file, dtype=np.float32, mode="r+", shape=(rows, width))
