"""Tensors and their settings in one ``.safetensors`` file with a checksum: models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as dump_safetensors

from dqindex.errors import FileFormatError, IntegrityError, StorageError
from dqindex.storage.files import atomic_file, storage_error

Tensors = dict[str, npt.NDArray[Any]]


def tensors_sha256(tensors: Tensors) -> str:
    """Digest of names, dtypes, shapes and values: the fingerprint of a model."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_tensors(path: Path | str, tensors: Tensors, metadata: dict[str, Any]) -> None:
    """Write tensors and JSON metadata to one ``.safetensors`` file, with a checksum of both."""
    with atomic_file(path) as file:
        file.write(pack_tensors(tensors, metadata))


def pack_tensors(tensors: Tensors, metadata: dict[str, Any]) -> bytes:
    """The bytes of `save_tensors`; the same for the same input."""
    record = {**metadata, "sha256": tensors_sha256(tensors)}
    contiguous = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    # One metadata key: safetensors does not keep several in a fixed order.
    return bytes(dump_safetensors(contiguous, {"dqindex": json.dumps(record, sort_keys=True)}))


def load_tensors(path: Path | str) -> tuple[Tensors, dict[str, Any]]:
    """Read what `save_tensors` wrote; see `unpack_tensors`.

    Raises
    ------
    StorageError
        If the file is missing or unreadable.
    """
    path = Path(path)
    try:
        return unpack_tensors(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise StorageError(f"{path}: no such file; give a model made by 'dqindex fit'") from None
    except OSError as error:
        raise storage_error(path, "be read", error) from None


def unpack_tensors(data: bytes, name: str) -> tuple[Tensors, dict[str, Any]]:
    """Tensors and metadata from the bytes of a file called `name` in messages.

    Raises
    ------
    FileFormatError
        If it is not a safetensors file of this package.
    IntegrityError
        If the tensors do not match their checksum.
    """
    try:
        tensors = load_safetensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        record = json.loads(header.get("__metadata__", {}).get("dqindex", "null"))
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise FileFormatError(
            f"{name}: not a readable safetensors file ({error}); damaged, make it again"
        ) from None
    if not isinstance(record, dict):
        raise FileFormatError(f"{name}: a safetensors file, but not one of dqindex")
    if tensors_sha256(tensors) != record.get("sha256"):
        raise IntegrityError(
            f"{name}: its tensors do not match their checksum; the file is damaged, make it again"
        )
    return tensors, record
