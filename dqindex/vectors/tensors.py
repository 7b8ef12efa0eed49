"""safetensors: one 2-d tensor of the file, read slice by slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from dqindex.errors import FileFormatError, InputError
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
}


class SafetensorsVectors(VectorSource):
    """The named tensor, or the only 2-d one."""

    def __init__(self, path: Path, tensor: str | None) -> None:
        self._path = path
        try:
            with safe_open(path, framework="numpy") as file:
                shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
                if tensor is None:
                    flat = [key for key, shape in shapes.items() if len(shape) == 2]
                    if len(flat) != 1:
                        raise InputError(
                            f"{path}: name the tensor, as in {path.name}:NAME; "
                            f"it has {', '.join(sorted(shapes))}"
                        )
                    tensor = flat[0]
                if tensor not in shapes:
                    raise InputError(
                        f"{path}: no tensor {tensor!r}; it has {', '.join(sorted(shapes))}"
                    )
                stored = file.get_slice(tensor).get_dtype()
        except SafetensorError as error:
            raise FileFormatError(f"{path}: not a readable safetensors file ({error})") from None
        self._tensor = tensor
        if stored not in DTYPES:
            raise InputError(
                f"{path}:{tensor}: dtype {stored} is not supported; store float16 or 32"
            )
        if len(shapes[tensor]) != 2:
            raise FileFormatError(f"{path}:{tensor}: has shape {shapes[tensor]}; vectors are 2-d")
        super().__init__(f"{path}:{tensor}", tuple(shapes[tensor]), np.dtype(DTYPES[stored]))

    def _window(self, start: int, stop: int) -> npt.NDArray[Any]:
        with safe_open(self._path, framework="numpy") as file:
            return np.asarray(file.get_slice(self._tensor)[start:stop])
