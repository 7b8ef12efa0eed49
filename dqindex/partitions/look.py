"""A first look at every part of a map: how many items, and the largest codes."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqindex._types import Tokens
from dqindex.errors import DQIndexError, FileFormatError
from dqindex.partitions.engine import Engine
from dqindex.quantizer.token_lists import read_lists

T = TypeVar("T")

SCHEMA = pa.schema(
    [
        ("part", pa.int32()),
        ("n", pa.int64()),
        ("changed", pa.bool_()),
        ("lost", pa.float64()),
        ("codes", pa.list_(pa.int64())),
        ("base_codes", pa.list_(pa.int64())),
        ("problem", pa.string()),
    ]
)


class Look(NamedTuple):
    """The whole of a map.

    Attributes
    ----------
    n : int
        Items.
    changed : bool
        Whether some have other codes than base codes.
    distortion : float
        Of all items, on average; NaN where it is not known of some.
    codes, base_codes : list of ints
        The largest of each level.
    """

    n: int
    changed: bool
    distortion: float
    codes: list[int]
    base_codes: list[int]


def look_at(engine: Engine[T], rows: T) -> Look:
    """Look at all rows of a map; refuse one that can't be used.

    Raises
    ------
    FileFormatError
    """
    parts = engine.mapped(rows, looked, SCHEMA)
    found = engine.gathered(engine.grouped(parts, "part", together, SCHEMA), SCHEMA)
    if not len(found):
        raise FileFormatError("the map: a map without items")
    whole = found.to_pylist()[0]
    if whole["problem"] is not None:
        raise FileFormatError(whole["problem"])
    return Look(
        whole["n"],
        whole["changed"],
        whole["lost"] / whole["n"],
        whole["codes"],
        whole["base_codes"],
    )


def tokens_of(table: pa.Table, column: str) -> Tokens:
    """The tokens of some rows of a map."""
    return read_lists(table[column], "the map").astype(np.int32)


def looked(table: pa.Table) -> pa.Table:
    """One row on a part of a map; what is wrong is told there, for the one who asked to raise."""
    if not table.num_rows:
        return SCHEMA.empty_table()
    try:
        codes, base = (tokens_of(table, column) for column in ("codes", "base_codes"))
    except DQIndexError as error:
        return _row(table.num_rows, False, 0.0, [], [], str(error))
    changed = codes.shape != base.shape or not np.array_equal(codes, base)
    lost = pc.fill_null(table["distortion"].cast(pa.float64()), np.nan).to_numpy()
    return _row(
        len(codes),
        changed,
        float(lost.sum()),
        codes.max(axis=0).tolist(),
        base.max(axis=0).tolist(),
        None,
    )


def _row(
    n: int, changed: bool, lost: float, codes: list[int], base: list[int], problem: str | None
) -> pa.Table:
    row = [0, n, changed, lost, codes, base, problem]
    return pa.table([[value] for value in row], schema=SCHEMA)


def together(table: pa.Table) -> pa.Table:
    """One row on all, from those on parts."""
    problem = pc.min(table["problem"]).as_py()
    largest: list[list[int]] = []
    for column in ("codes", "base_codes"):
        lists = table[column].to_pylist()
        widths = sorted({len(one) for one in lists})
        if problem is None and len(widths) > 1:
            problem = (
                f"the map: {column} of {widths[0]} and of {widths[-1]} tokens; extract it again"
            )
        largest.append([] if problem is not None else np.array(lists).max(axis=0).tolist())
    return _row(
        pc.sum(table["n"]).as_py(),
        pc.any(table["changed"]).as_py(),
        pc.sum(table["lost"]).as_py(),
        largest[0],
        largest[1],
        problem,
    )
