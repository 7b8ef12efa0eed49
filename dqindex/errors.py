"""Every error a user can meet. Each message names the thing, the value and the remedy."""

from __future__ import annotations

import sys
import warnings


class DQIndexError(Exception):
    """Base of all errors raised on purpose by this package."""


class InputError(DQIndexError, ValueError):
    """An argument or an array is not usable: wrong shape, wrong type, too few vectors."""


class NotNumbersError(InputError, TypeError):
    """An array holds things that are no numbers, or rows of different lengths."""


class NonFiniteError(InputError):
    """Vectors hold NaN or infinity, or values beyond the range of float32."""


class RangeError(InputError):
    """Vectors are too long or too short for float32 to square, or a codec cannot hold them."""


class SpecError(InputError):
    """An index spec does not parse, or does not fit the vectors."""


class TargetError(InputError):
    """A recall that was asked for cannot be reached within the limits."""


class FileFormatError(DQIndexError, ValueError):
    """A file is not what its name or header says: truncated, malformed, unknown format."""


class IntegrityError(DQIndexError):
    """An artefact of this package does not match its recorded checksum, or is incomplete."""


class StorageError(DQIndexError):
    """A path cannot be read or written: missing, not permitted, or the disk is full."""


class GoneError(StorageError, FileNotFoundError):
    """An object of a store was removed while it was read."""

    def __str__(self) -> str:
        """The message, whatever an error of the system would say."""
        return str(self.args[0])


class BusyError(StorageError):
    """Another process is writing to the same place."""


class NotFittedError(DQIndexError, ValueError, AttributeError):
    """An estimator is used before ``fit``."""


class MissingDependencyError(DQIndexError, ImportError):
    """An optional package is needed for what was asked."""


class DQWarning(UserWarning):
    """The result is valid, but the data did not determine all of it."""


def warn(message: str) -> None:
    """Warn with `DQWarning`, at the line outside of this package that called it."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("dqindex."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, DQWarning, stacklevel=level)
