"""What may be opened as a file, and how errors of the libraries that read it are said."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager

from dqindex.errors import DQIndexError, FileFormatError, StorageError
from dqindex.places.place import Place, RemotePath

# What numpy, h5py, Arrow and safetensors raise on bytes that are not what they should be.
# SystemError: h5py, on names that it can't decode.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SystemError,
    TypeError,
    ValueError,
)


def require_regular(path: Place) -> None:
    """Refuse what a read may never end on: a pipe, a device, a socket.

    Raises
    ------
    StorageError
    """
    if isinstance(path, RemotePath):
        if path.is_dir():
            raise StorageError(f"{path}: is a folder; give a regular file")
        return
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not stat.S_ISREG(mode):
        kinds = {
            stat.S_IFIFO: "a pipe",
            stat.S_IFCHR: "a device",
            stat.S_IFBLK: "a device",
            stat.S_IFSOCK: "a socket",
            stat.S_IFDIR: "a folder",
        }
        kind = kinds.get(stat.S_IFMT(mode), "not a file")
        raise StorageError(f"{path}: is {kind}; give a regular file")


@contextmanager
def damage(message: str) -> Iterator[None]:
    """Whatever a library raises on damaged bytes, as `FileFormatError`: `message`, its words.

    An error of the system that is not about the content (not permitted, an I/O error) stays what
    it is and becomes a `StorageError`.

    Raises
    ------
    FileFormatError, StorageError
    """
    try:
        yield
    except DQIndexError:
        raise
    except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
        raise StorageError(f"{message} ({error.strerror or error})") from None
    except MemoryError:
        raise FileFormatError(f"{message} (it asks for more memory than there is)") from None
    except DAMAGE as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(f"{message} ({words[:300]})") from None
