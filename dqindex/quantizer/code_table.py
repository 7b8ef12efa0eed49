"""Tokens as Arrow has them: lists beside ids and distortions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from dqindex._types import Codes, Float64, Matrix
from dqindex.quantizer.token_lists import as_lists
from dqindex.vectors.batch import open_batch
from dqindex.vectors.matrix import check_width

Encode = Callable[[Iterable[Matrix]], Iterator[tuple[Codes, Float64 | None]]]


def encode_table(
    batch: Any,
    encode: Encode,
    shape: tuple[int, int],
    vector_column: str | None,
    id_column: str | None,
) -> pa.Table:
    """The table that `DQModel.encode_arrow` gives; `encode` makes codes and distortions.

    `shape` is the width of a vector, and the number of its tokens.
    """
    with open_batch(batch, vector_column=vector_column, id_column=id_column) as (vectors, ids):
        check_width(vectors.d, "DQModel", shape[0])
        codes = np.empty((vectors.n, shape[1]), dtype=np.int32)
        distortion = np.empty(vectors.n, dtype=np.float32)
        done = 0
        for some, lost in encode(vectors.blocks()):
            rows = slice(done, done + len(some))
            codes[rows], distortion[rows] = some, lost
            done += len(some)
    return pa.table(
        {
            "item_id": pa.array(np.arange(len(codes))) if ids is None else ids,
            "codes": as_lists(codes),
            "distortion": pa.array(distortion),
        }
    )
