"""Tokens as Arrow has them: lists beside ids and distortions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from dqindex._types import Codes, Float64, Matrix
from dqindex.quantizer.token_lists import as_lists
from dqindex.vectors.batch import read_batch
from dqindex.vectors.matrix import check_width

Encode = Callable[[Iterable[Matrix]], Iterator[tuple[Codes, Float64 | None]]]


def encode_table(
    batch: Any,
    encode: Encode,
    width: int,
    vector_column: str | None,
    id_column: str | None,
) -> pa.Table:
    """The table that `DQModel.encode_arrow` gives; `encode` makes codes and distortions."""
    vectors, ids = read_batch(batch, vector_column=vector_column, id_column=id_column)
    check_width(vectors, "DQModel", width)
    parts = list(encode([vectors]))
    return pa.table(
        {
            "item_id": pa.array(np.arange(len(vectors))) if ids is None else ids,
            "codes": as_lists(np.concatenate([codes for codes, _ in parts])),
            "distortion": pa.array(
                np.concatenate([lost for _, lost in parts if lost is not None]).astype(np.float32)
            ),
        }
    )
