"""A batch of a larger table: its vectors and ids, and errors that name an id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dqindex.errors import DQIndexError, InputError
from dqindex.vectors.convert import to_float32
from dqindex.vectors.doorway import open_vectors
from dqindex.vectors.extent import LARGEST_NORM, row_norms
from dqindex.vectors.ids import as_ids
from dqindex.vectors.source import VectorSource


class Batch(NamedTuple):
    """Rows that are read block by block, and checked as they are.

    Attributes
    ----------
    vectors : VectorSource
    ids : pyarrow.Array or None
        None where the batch has none.
    """

    vectors: VectorSource
    ids: pa.Array | None


@contextmanager
def open_batch(
    batch: Any, *, vector_column: str | None = None, id_column: str | None = None
) -> Iterator[Batch]:
    """The rows of a table or batch, of one at least, to be read inside.

    Raises
    ------
    InputError, NonFiniteError, RangeError
        If a row can't be used, named by its id, or an id is missing.
    """
    try:
        source = open_vectors(batch, vector_column=vector_column, id_column=id_column)
        ids = as_ids(source._raw_ids(), source.name) if source.has_ids else None
        yield Batch(source, ids)
    except InputError as error:
        bad = _bad_id(batch, vector_column, id_column)
        if bad is None:
            raise
        raise type(error)(f"{error} (its id: {bad!r})") from None
    if ids is not None and ids.null_count:
        raise InputError(f"{source.name}: {ids.null_count} ids are missing; fill them")


def _bad_id(batch: Any, vector_column: str | None, id_column: str | None) -> Any:
    """Id of the first row that can't be used; None where it can't be told."""
    try:
        usable = open_vectors(
            batch, skip_invalid=True, vector_column=vector_column, id_column=id_column
        )
        if not usable.has_ids:
            return None
        if len(usable.skipped):
            return usable.skipped_ids[0].as_py()
        place = _first_too_long(usable)
        return None if place is None else as_ids(usable._raw_ids(), "")[place].as_py()
    except DQIndexError:
        return None


def _first_too_long(source: VectorSource) -> int | None:
    start = 0
    for window in source._windows(source.default_block_rows()):
        long = np.flatnonzero(~(row_norms(to_float32(window)) <= LARGEST_NORM))
        if len(long):
            return start + int(long[0])
        start += len(window)
    return None
