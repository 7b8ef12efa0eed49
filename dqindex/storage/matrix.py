"""Matrices to disk, a block at a time: ``.npy``, or Parquet beside their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex.errors import InputError
from dqindex.places.place import Place, place
from dqindex.storage.files import HashingFile, atomic_file
from dqindex.storage.tables import table_writer

WriteBlock = Callable[[npt.NDArray[Any]], None]


@contextmanager
def matrix_writer(
    path: str | Place,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    *,
    column: str,
    ids: pa.Array | None = None,
) -> Iterator[WriteBlock]:
    """A function that takes the rows in order, block by block; the file appears when all are in.

    Parameters
    ----------
    path : path
        ``.npy`` (the ids are left out), or ``.parquet``: `column` of fixed-size lists, and
        ``item_id`` where there are ids.
    shape, dtype
        Of the whole matrix.

    Raises
    ------
    InputError
        If the suffix is another.
    StorageError
        If the file can't be written whole.
    """
    suffix = place(path).suffix
    if suffix not in (".npy", ".parquet"):
        raise InputError(f"{path}: ends in neither .npy nor .parquet; choose one of the two")
    with atomic_file(path) as file:
        if suffix == ".npy":
            yield _npy(file, shape, dtype)
        else:
            with _parquet(file, shape[1], dtype, column, ids) as write:
                yield write


def _npy(file: HashingFile, shape: tuple[int, int], dtype: np.dtype[Any]) -> WriteBlock:
    np.lib.format.write_array_header_1_0(
        file,
        {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape},
    )
    return lambda block: _discard(file.write(np.ascontiguousarray(block, dtype=dtype).tobytes()))


def _discard(_: int) -> None:
    return None


@contextmanager
def _parquet(
    file: HashingFile, width: int, dtype: np.dtype[Any], column: str, ids: pa.Array | None
) -> Iterator[WriteBlock]:
    fields = [pa.field(column, pa.list_(pa.from_numpy_dtype(dtype), width))]
    if ids is not None:
        fields.insert(0, pa.field("item_id", ids.type))
    schema = pa.schema(fields)
    start = 0
    with table_writer(file, schema) as writer:

        def write(block: npt.NDArray[Any]) -> None:
            nonlocal start
            values = pa.array(np.ascontiguousarray(block, dtype=dtype).ravel())
            columns = [pa.FixedSizeListArray.from_arrays(values, width)]
            if ids is not None:
                columns.insert(0, ids.slice(start, len(block)))
            start += len(block)
            writer.write_batch(pa.record_batch(columns, schema=schema))

        yield write
