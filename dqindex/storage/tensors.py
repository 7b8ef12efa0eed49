"""Tensors and their settings in one ``.safetensors`` file with a checksum: models."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as dump_safetensors

from dqindex.errors import FileFormatError, IntegrityError
from dqindex.places.missing import not_there
from dqindex.places.place import Place, place
from dqindex.storage.files import atomic_file
from dqindex.storage.reading import content, read_regular
from dqindex.storage.records import Format, Record

Tensors = dict[str, npt.NDArray[Any]]


def tensors_sha256(tensors: Tensors) -> str:
    """Digest of names, dtypes, shapes and values: the fingerprint of a model."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_tensors(path: Place | str, tensors: Tensors, record: Record, form: Format) -> None:
    """Write tensors and a record of `form` to one ``.safetensors`` file, with checksums of both.

    Raises
    ------
    StorageError
    """
    with atomic_file(path) as file:
        file.write(pack_tensors(tensors, record, form))


def pack_tensors(tensors: Tensors, record: Record, form: Format) -> bytes:
    """The bytes of `save_tensors`; the same for the same input."""
    whole = form.write({**record, "sha256": tensors_sha256(tensors)})
    contiguous = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    # One metadata key: safetensors does not keep several in a fixed order.
    return bytes(dump_safetensors(contiguous, {"dqindex": json.dumps(whole, sort_keys=True)}))


def load_tensors(path: Place | str, form: Format) -> tuple[Tensors, Record]:
    """Read what `save_tensors` wrote; see `unpack_tensors`.

    Raises
    ------
    StorageError
        If the file is missing, unreadable, or no regular file.
    """
    try:
        data = read_regular(path)
    except FileNotFoundError:
        raise not_there(place(path), f"give {form.what}") from None
    return unpack_tensors(data, str(place(path)), form)


def unpack_tensors(data: bytes, name: str, form: Format) -> tuple[Tensors, Record]:
    """Tensors and their record from the bytes of a file called `name` in messages.

    Raises
    ------
    FileFormatError
        If it is not a safetensors file of this package, or its record is not one of `form`.
    IntegrityError
        If the record or the tensors do not match their checksums.
    """
    with content(name, "safetensors", f"damaged, {form.remedy}"):
        tensors = load_safetensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        stored = header.get("__metadata__", {}).get("dqindex")
    if stored is None:
        raise FileFormatError(f"{name}: a safetensors file, but not one of dqindex")
    record = form.parse(stored, name)
    if tensors_sha256(tensors) != record.get("sha256"):
        raise IntegrityError(
            f"{name}: its tensors do not match their checksum; damaged, {form.remedy}"
        )
    return tensors, record
