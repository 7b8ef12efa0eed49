"""safetensors: one 2-d tensor of the file, mapped slice by slice."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from dqindex.errors import FileFormatError, InputError
from dqindex.places.content import Content, RemoteContent, open_content, partial_copy
from dqindex.places.place import Place
from dqindex.vectors.convert import bfloat16_to_float32
from dqindex.vectors.files import damage
from dqindex.vectors.flat import FlatVectors

# The library refuses longer headers.
MOST_HEADER = 100_000_000
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


class SafetensorsVectors(FlatVectors):
    """The named tensor, or the only 2-d one."""

    def __init__(self, path: Place, tensor: str | None) -> None:
        with damage(f"{path}: not a readable safetensors file"):
            content = open_content(path)
            entries, start = _entries(path, content)
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
        offset = start + entries[tensor]["data_offsets"][0]
        dtype = np.dtype(DTYPES[stored])
        self._bfloat16 = stored == "BF16"
        super().__init__(
            f"{path}:{tensor}",
            content,
            shapes[tensor],
            np.dtype(np.float32) if self._bfloat16 else dtype,
            offset,
        )
        self._stored = dtype

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        window = super()._window(start, stop)
        return bfloat16_to_float32(window) if self._bfloat16 else window


def _entries(path: Place, content: Content) -> tuple[dict[str, Any], int]:
    """The tensors that the header names, and where their bytes start."""
    length = int.from_bytes(content.read(0, 8), "little")
    if isinstance(content, RemoteContent):
        # As long as the object, so that offsets can be checked; the values are not fetched.
        with partial_copy(content, [(0, 8 + min(length, MOST_HEADER))]) as copy:
            _check(f"/dev/fd/{copy.fileno()}")
    else:
        _check(path)
    entries = json.loads(content.read(8, length))
    entries.pop("__metadata__", None)
    for entry in entries.values():
        begin, end = entry["data_offsets"]
        if entry["dtype"] in DTYPES:
            size = math.prod(entry["shape"]) * np.dtype(DTYPES[entry["dtype"]]).itemsize
            if end - begin != size:
                raise ValueError(f"offsets {begin} to {end} hold no tensor of {size} bytes")
    return entries, 8 + length


def _check(path: Any) -> None:
    """Sizes, offsets, no holes, no overlaps: by the library of the format."""
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(str(error)) from None
