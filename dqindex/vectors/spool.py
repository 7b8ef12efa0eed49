"""What can be read only once, written to a temporary file that can be read again."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex.errors import InputError, StorageError
from dqindex.vectors.convert import to_float32
from dqindex.vectors.ids import as_ids, unify
from dqindex.vectors.source import VectorSource

# A block, and the width that is expected of it.
OpenBlock = Callable[[Any, int | None], VectorSource]


class SpooledVectors(VectorSource):
    """Blocks that were read from a stream or generator, as float32 in a file without a name.

    The file lies where temporary files lie (``TMPDIR``) and goes with this object. Ids are kept
    in memory.
    """

    def __init__(
        self,
        name: str,
        blocks: Iterable[Any],
        open_block: OpenBlock,
    ) -> None:
        try:
            self._file = tempfile.TemporaryFile(prefix="dqindex-")  # noqa: SIM115 (lives with self)
            weakref.finalize(self, self._file.close)
            ids, n, d = self._write(name, blocks, open_block)
        except OSError as error:
            raise StorageError(
                f"{name}: can't be kept in a temporary file ({error.strerror or error}); set "
                "TMPDIR to a folder with room for 4 bytes a value"
            ) from None
        super().__init__(name, (n, max(d, 1)), np.dtype(np.float32))
        self._ids = unify(ids) if ids else None

    def _write(
        self,
        name: str,
        blocks: Iterable[Any],
        open_block: OpenBlock,
    ) -> tuple[list[tuple[str, pa.ChunkedArray]], int, int]:
        """The ids of each block, the number of vectors and their width."""
        ids: list[tuple[str, pa.ChunkedArray]] = []
        n, d = 0, 0
        for place, block in enumerate(blocks):
            label = f"{name}, block {place}"
            if not _rows(block, label):
                continue
            part = open_block(block, d or None)
            if n and part.d != d:
                raise InputError(
                    f"{label}: its vectors are {part.d} wide where those before are {d}; all must "
                    "have one width"
                )
            if n and part.has_ids != bool(ids):
                raise InputError(f"{label}: some blocks have ids and others none")
            for window in part._windows(part.default_block_rows()):
                self._file.write(to_float32(window).tobytes())
            if part.has_ids:
                ids.append((label, pa.chunked_array([as_ids(part._raw_ids(), label)])))
            self._last = part
            n, d = n + part.n, part.d
        self._file.flush()
        return ids, n, d

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        mapped = np.memmap(self._file, np.float32, mode="r", shape=(self.n, self.d))
        return np.asarray(mapped[start:stop])

    @property
    def has_ids(self) -> bool:
        """Whether it has ids of its own; nothing is read for the answer."""
        return self._ids is not None or super().has_ids

    def _stored_ids(self) -> Any:
        # A table without ids says which columns might hold them.
        return self._last._stored_ids() if self._ids is None else self._ids


def _rows(block: Any, label: str) -> int:
    rows = getattr(block, "num_rows", None)
    try:
        return len(block) if rows is None else int(rows)
    except TypeError:
        raise InputError(
            f"{label}: is {type(block).__name__}, not a set of vectors; give arrays or tables"
        ) from None
