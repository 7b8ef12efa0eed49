"""`Content`: the bytes of a file by their place, mapped here, or fetched by ranges from a store."""

from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from dqindex.errors import GoneError, StorageError
from dqindex.places.ahead import ahead
from dqindex.places.place import Place, RemotePath
from dqindex.places.refusals import told
from dqindex.places.scratch import no_room, scratch_file
from dqindex.places.systems import system_of

# What is fetched by one request, and how many requests are under way.
PIECE = 16 * 2**20
REQUESTS = 4
# Gaps that are cheaper to fetch than to leave out.
GAP = 2**20


class Content(ABC):
    """A file that is read by places.

    Attributes
    ----------
    size : int
        In bytes.
    distant : bool
        Whether reading takes the time of a network, so that it is done ahead.
    """

    size: int
    distant: bool

    @abstractmethod
    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer where the file ends."""

    @abstractmethod
    def rows(
        self,
        dtype: npt.DTypeLike,
        shape: tuple[int, ...],
        start: int,
        stop: int,
        *,
        offset: int = 0,
        fortran: bool = False,
    ) -> npt.NDArray[Any]:
        """Rows `start` to `stop` of the array of that shape that lies at `offset`."""


class LocalContent(Content):
    """A file here. Each window is mapped anew, so that resident memory stays small."""

    distant = False

    def __init__(self, file: Path | IO[bytes], size: int) -> None:
        self._file = file
        self.size = size
        if not isinstance(file, Path):
            weakref.finalize(self, file.close)

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer where the file ends."""
        if isinstance(self._file, Path):
            with self._file.open("rb") as file:
                file.seek(start)
                return file.read(length)
        self._file.seek(start)
        return self._file.read(length)

    def rows(
        self,
        dtype: npt.DTypeLike,
        shape: tuple[int, ...],
        start: int,
        stop: int,
        *,
        offset: int = 0,
        fortran: bool = False,
    ) -> npt.NDArray[Any]:
        """Rows `start` to `stop` of the array of that shape that lies at `offset`."""
        mapped: npt.NDArray[Any] = np.memmap(
            self._file,
            dtype,
            "r",
            offset,
            shape,
            "F" if fortran else "C",
        )
        return np.asarray(mapped[start:stop])


class RemoteContent(Content):
    """An object of a store, fetched by ranges; one that is replaced meanwhile is refused.

    Raises
    ------
    FileNotFoundError, StorageError
        If it is not there, or can't be read by ranges.
    """

    distant = True

    def __init__(self, path: RemotePath) -> None:
        self.path = path
        self._system = system_of(path.scheme)
        state = path.state()
        if state is None:
            raise FileNotFoundError(2, "no such object", str(path))
        if state.folder:
            raise StorageError(f"{path}: is a folder; name a file")
        if state.size is None:
            raise StorageError(
                f"{path}: its server does not say its size, so no part of it can be asked for; "
                "download it first"
            )
        self.size, self._version = state.size, state.version
        self._whole: LocalContent | None = None

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer where the object ends."""
        length = min(length, self.size - start)
        if length <= 0:
            return b""
        try:
            with told(self.path, "be read"):
                found: bytes = self._system.cat_file(self.path.uri, start=start, end=start + length)
        except FileNotFoundError:
            gone = GoneError(f"{self.path}: was removed while it was read")
            gone.filename = str(self.path)
            raise gone from None
        state = self.path.state()
        if state is not None and state.version != self._version:
            raise StorageError(f"{self.path}: was replaced while it was read; read it again")
        if len(found) != length:
            raise StorageError(
                f"{self.path}: its server gave {len(found)} bytes where {length} were asked for, "
                "so it can't be read in parts; download it first"
            )
        return found

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """The bytes from `start` to `stop`, piece by piece with their places, fetched ahead."""
        starts = range(start, stop, PIECE)
        tasks = (partial(self.read, one, min(PIECE, stop - one)) for one in starts)
        yield from zip(starts, ahead(tasks, REQUESTS), strict=True)

    def rows(
        self,
        dtype: npt.DTypeLike,
        shape: tuple[int, ...],
        start: int,
        stop: int,
        *,
        offset: int = 0,
        fortran: bool = False,
    ) -> npt.NDArray[Any]:
        """Rows `start` to `stop` of the array of that shape that lies at `offset`."""
        if fortran:
            # A row has a byte in every part of the file.
            if self._whole is None:
                self._whole = LocalContent(fetched(self), self.size)
            return self._whole.rows(dtype, shape, start, stop, offset=offset, fortran=True)
        width = np.dtype(dtype).itemsize * math.prod(shape[1:])
        out = np.empty((stop - start, *shape[1:]), dtype)
        flat = out.reshape(-1).view(np.uint8)
        first = offset + start * width
        for at, piece in self.pieces(first, first + (stop - start) * width):
            flat[at - first : at - first + len(piece)] = np.frombuffer(piece, np.uint8)
        return out


def open_content(path: Place) -> Content:
    """The content of the file at `path`.

    Raises
    ------
    OSError, StorageError
    """
    if isinstance(path, RemotePath):
        return RemoteContent(path)
    return LocalContent(path, path.stat().st_size)


def fetched(content: RemoteContent) -> IO[bytes]:
    """A copy of an object in a temporary file without a name.

    Raises
    ------
    StorageError
    """
    return partial_copy(content, [(0, content.size)])


def partial_copy(content: RemoteContent, ranges: Iterable[tuple[int, int]]) -> IO[bytes]:
    """A temporary file as long as the object, which holds these ranges of it, at their places.

    Raises
    ------
    StorageError
    """
    file = scratch_file()
    try:
        file.truncate(content.size)
        for start, stop in _joined(ranges, content.size):
            for at, piece in content.pieces(start, stop):
                file.seek(at)
                file.write(piece)
        file.flush()
        file.seek(0)
    except OSError as error:
        file.close()
        if isinstance(error, FileNotFoundError):
            raise
        raise no_room(content.size, error) from None
    except BaseException:
        file.close()
        raise
    return file


def _joined(ranges: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Ranges in order, within the file, those that nearly touch as one."""
    out: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        start, stop = max(0, start), min(stop, size)
        if start >= stop:
            continue
        if out and start <= out[-1][1] + GAP:
            out[-1] = out[-1][0], max(out[-1][1], stop)
        else:
            out.append((start, stop))
    return out
