"""Every error a user can meet. Each message names the thing, the value and the remedy."""

from __future__ import annotations

import sys
import warnings


class DQIndexError(Exception):
    """Base class of all errors that this package raises."""


class InputError(DQIndexError, ValueError):
    """An argument or an array is not usable: wrong shape, wrong type, too few vectors."""


class NotNumbersError(InputError, TypeError):
    """An array holds values that are not numbers, or rows of different lengths."""


class NonFiniteError(InputError):
    """Vectors hold NaN or infinity, or values beyond the range of float32."""


class RangeError(InputError):
    """Vectors are too long or too short for float32 to square, or a codec cannot hold them."""


class SpecError(InputError):
    """An index spec does not parse, or does not fit the vectors."""


class TargetError(InputError):
    """The requested recall can't be reached within the limits."""


class FileFormatError(DQIndexError, ValueError):
    """A file does not match its name or header: truncated, malformed, or of an unknown format."""


class IntegrityError(DQIndexError):
    """A file of this package does not match its recorded checksum, or is incomplete."""


class StorageError(DQIndexError):
    """A path cannot be read or written: missing, not permitted, or the disk is full."""


class GoneError(StorageError, FileNotFoundError):
    """An object in an object store was removed while it was read."""

    def __str__(self) -> str:
        """The message, whatever an error of the system would say."""
        return str(self.args[0])


class BusyError(StorageError):
    """Another process is writing to the same place."""


class NotFittedError(DQIndexError, ValueError, AttributeError):
    """An estimator is used before ``fit``."""


class MissingDependencyError(DQIndexError, ImportError):
    """An optional package is needed and not installed."""


class DQWarning(UserWarning):
    """The result is valid, but the data or the settings limit its quality."""


def warn(message: str) -> None:
    """Warn with `DQWarning`, at the line outside of this package that called it."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("dqindex."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, DQWarning, stacklevel=level)
