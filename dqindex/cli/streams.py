"""Standard output that fails aloud: when it is closed, or its disk is full."""

from __future__ import annotations

import errno
import io
import os
import sys

from dqindex.errors import StorageError


class StandardOutput(io.TextIOWrapper):
    """Text to a binary stream; what the system refuses is a `StorageError`, but a closed pipe."""

    def write(self, text: str, /) -> int:
        """Write `text`."""
        try:
            return super().write(text)
        except OSError as error:
            raise _told(error) from None

    def flush(self) -> None:
        """Write what is held back."""
        try:
            super().flush()
        except OSError as error:
            raise _told(error) from None


def _told(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    if error.errno == errno.EBADF:
        return StorageError("standard output: is closed; redirect it to a file, or use -o")
    return StorageError(f"standard output: cannot be written ({error.strerror or error})")


def guard() -> None:
    """Make standard output say what goes wrong, and see that no file opens in a closed one's place.

    A file that is opened while 0, 1 or 2 is closed gets that number, and then whatever a library
    prints. Of output that is closed, a command that prints nothing may go on.
    """
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if handle == 2 else os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding="utf-8")
    out = sys.stdout
    if out is None:
        sys.stdout = StandardOutput(io.FileIO(1, "w", closefd=False), encoding="utf-8")
    elif isinstance(out, io.TextIOWrapper) and out is sys.__stdout__:
        sys.stdout = StandardOutput(
            out.buffer, out.encoding, out.errors, line_buffering=out.line_buffering
        )


def let_go() -> None:
    """Point standard output elsewhere where it is broken, so that the flush at exit is silent."""
    try:
        sys.stdout.flush()
    except (OSError, StorageError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
