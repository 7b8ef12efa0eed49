"""Maps as a bare matrix of codes: ``.npy``, items by levels, and ``.pt``, levels by items.

A matrix has no ids. They are in a file beside it, which knows the codes that it belongs to. In a
``.pt`` the item of number i is column i, as GRID looks items up: where the ids are the numbers from
0 on, the columns stand in their order, and no file is needed.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dqindex.errors import FileFormatError, IntegrityError, MissingDependencyError
from dqindex.places.place import Place, place
from dqindex.sids.map import SidMap
from dqindex.sids.readers import MOST_CODE, Found
from dqindex.storage.files import atomic_file
from dqindex.storage.matrix import matrix_writer
from dqindex.storage.reading import open_regular, read_parquet, read_regular
from dqindex.storage.tables import write_table
from dqindex.vectors.files import damage
from dqindex.vectors.npy import read_npy_values

# In the metadata of an ids file: the digest of the codes that it belongs to.
CODES_SHA256 = b"dqindex-codes-sha256"
# Items of more tokens than this are taken for levels, if there are fewer of them than tokens.
MOST_LEVELS = 64


def ids_beside(path: str | Place) -> Place:
    """Where the ids of a map in the format ``npy`` or ``pt`` are: one column, for ``--ids`` too."""
    path = place(path)
    return path.with_name(f"{path.stem}.ids.parquet")


def are_numbers(ids: pa.Array | None) -> bool:
    """Whether the ids are the numbers from 0 to n - 1, in any order, or rows are the ids."""
    if ids is None:
        return True
    if not pa.types.is_integer(ids.type):
        return False
    bounds = pc.min_max(ids).as_py()  # ids are distinct
    return bool(bounds["min"] == 0 and bounds["max"] == len(ids) - 1)


def write_npy(sids: SidMap, path: Place) -> None:
    """The codes, items by levels, and the ids beside them."""
    codes = np.ascontiguousarray(sids.codes, dtype=np.int32)
    if sids.ids is not None:
        _write_ids(sids.ids, codes, path)
    with matrix_writer(path, codes.shape, np.dtype(np.int32), column="codes") as write:
        write(codes)


def write_pt(sids: SidMap, path: Place) -> None:
    """The codes, levels by items, as a tensor of int64; and the ids beside it, if need be.

    Raises
    ------
    MissingDependencyError
        If torch is not installed.
    """
    torch = _torch(path)
    codes = np.ascontiguousarray(sids.codes, dtype=np.int32)
    if sids.ids is not None and are_numbers(sids.ids):
        codes = codes[np.argsort(sids.ids.to_numpy(zero_copy_only=False))]
    elif sids.ids is not None:
        _write_ids(sids.ids, codes, path)
    buffer = io.BytesIO()
    torch.save(torch.from_numpy(np.ascontiguousarray(codes.T, dtype=np.int64)), buffer)
    with atomic_file(path) as file:
        file.write(buffer.getbuffer())


def read_npy(path: Place, transpose: bool) -> Found:
    """The codes of a ``.npy``, its rows items or, with `transpose`, levels.

    Raises
    ------
    FileFormatError, IntegrityError
    """
    values = read_npy_values(path)
    codes = _codes(values.T if transpose and values.ndim == 2 else values, path)
    n, levels = codes.shape
    if n < levels and levels > MOST_LEVELS:
        raise FileFormatError(
            f"{path}: {n} items of {levels:,} tokens each; if its rows are levels and its columns "
            "items, read it with --transpose (transpose=True)"
        )
    return Found(codes, _stored_ids(path, codes))


def read_pt(path: Place) -> Found:
    """The codes of a ``.pt``, levels by items; nothing but tensors is unpickled.

    Raises
    ------
    FileFormatError, IntegrityError
    MissingDependencyError
        If torch is not installed.
    """
    torch = _torch(path)
    content = io.BytesIO(read_regular(path))
    with damage(f"{path}: not a readable .pt file"):
        try:
            tensor = torch.load(content, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(str(error)) from None
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"it holds a {type(tensor).__name__}, not a tensor")
        values = tensor.numpy()
    codes = _codes(values.T, path)
    return Found(codes, _stored_ids(path, codes))


def _torch(path: Place) -> Any:
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            f"{path}: .pt needs torch; pip install torch, or use the format npy"
        ) from None
    return torch


def _codes(values: npt.NDArray[Any], path: Place) -> npt.NDArray[np.int32]:
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "iu":
        raise FileFormatError(
            f"{path}: {values.dtype} of shape {values.shape} is not a matrix of tokens"
        )
    if values.min() < 0 or values.max() > MOST_CODE:
        raise FileFormatError(f"{path}: codes from {values.min()} to {values.max()}; not tokens")
    return np.ascontiguousarray(values, dtype=np.int32)


def _write_ids(ids: pa.Array, codes: npt.NDArray[np.int32], path: Place) -> None:
    table = pa.table({"item_id": ids}).replace_schema_metadata({CODES_SHA256: _digest(codes)})
    with atomic_file(ids_beside(path)) as file:
        write_table(file, table)


def _stored_ids(path: Place, codes: npt.NDArray[np.int32]) -> Any:
    """Ids that were left beside a matrix; None where there are none."""
    beside = ids_beside(path)
    if not beside.is_file():
        return None
    with open_regular(beside) as file:
        table = read_parquet(file, beside, "export the map again")
    belongs = (table.schema.metadata or {}).get(CODES_SHA256)
    if belongs is None:
        return None  # somebody else's
    if belongs != _digest(codes):
        raise IntegrityError(
            f"{beside}: belongs to other codes than those of {path.name}; export the map again, or "
            "move it away"
        )
    return table.column(0)


def _digest(codes: npt.NDArray[np.int32]) -> bytes:
    return hashlib.sha256(f"{codes.shape}".encode() + codes.tobytes()).hexdigest().encode()
