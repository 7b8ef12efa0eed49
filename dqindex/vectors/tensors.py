"""safetensors: one 2-d tensor of the file, mapped slice by slice."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from dqindex.errors import FileFormatError, InputError
from dqindex.vectors.convert import bfloat16_to_float32
from dqindex.vectors.files import damage
from dqindex.vectors.source import VectorSource

DTYPES = {
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "I8": "i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "u1",
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
    # Its bits; numpy has no such type.
    "BF16": "<u2",
}


class SafetensorsVectors(VectorSource):
    """The named tensor, or the only 2-d one."""

    def __init__(self, path: Path, tensor: str | None) -> None:
        self._path = path
        with damage(f"{path}: not a readable safetensors file"):
            entries, start = _entries(path)
        shapes = {key: tuple(entry["shape"]) for key, entry in entries.items()}
        if tensor is None:
            flat = [key for key, shape in shapes.items() if len(shape) == 2]
            if len(flat) != 1:
                raise InputError(
                    f"{path}: name the tensor, as in {path.name}:NAME; "
                    f"it has {', '.join(sorted(shapes))}"
                )
            tensor = flat[0]
        if tensor not in shapes:
            raise InputError(f"{path}: no tensor {tensor!r}; it has {', '.join(sorted(shapes))}")
        stored = entries[tensor]["dtype"]
        if stored not in DTYPES:
            raise InputError(
                f"{path}:{tensor}: dtype {stored} is not supported; store float16 or 32"
            )
        if len(shapes[tensor]) != 2:
            raise FileFormatError(f"{path}:{tensor}: has shape {shapes[tensor]}; vectors are 2-d")
        self._offset = start + entries[tensor]["data_offsets"][0]
        self._stored = np.dtype(DTYPES[stored])
        self._bfloat16 = stored == "BF16"
        dtype = np.dtype(np.float32) if self._bfloat16 else self._stored
        super().__init__(f"{path}:{tensor}", shapes[tensor], dtype)

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        mapped = np.memmap(
            self._path, self._stored, mode="r", offset=self._offset, shape=(self.n, self.d)
        )
        window = np.asarray(mapped[start:stop])
        return bfloat16_to_float32(window) if self._bfloat16 else window


def _entries(path: Path) -> tuple[dict[str, Any], int]:
    """The tensors that the header names, and where their bytes start."""
    try:
        # The library of the format checks the header: sizes, offsets, no holes, no overlaps.
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    for entry in entries.values():
        begin, end = entry["data_offsets"]
        if entry["dtype"] in DTYPES:
            size = math.prod(entry["shape"]) * np.dtype(DTYPES[entry["dtype"]]).itemsize
            if end - begin != size:
                raise ValueError(f"offsets {begin} to {end} hold no tensor of {size} bytes")
    return entries, 8 + length
