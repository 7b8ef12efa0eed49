"""A first look at every part: how many rows, how wide, and which can't be used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqindex import errors
from dqindex.errors import InputError
from dqindex.partitions.columns import ID, PRIORITY, VECTOR
from dqindex.vectors import open_vectors
from dqindex.vectors.batch import open_batch
from dqindex.vectors.extent import check_longest, row_norms
from dqindex.vectors.least import hash_bound, rows_below

SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("d", pa.int64()),
        ("norm", pa.float64()),
        ("kind", pa.string()),
        ("problem", pa.string()),
    ]
)


class Survey(NamedTuple):
    """Rows and width of the whole."""

    n: int
    d: int


def survey(table: pa.Table) -> pa.Table:
    """One row on a part; an error is told there, for the one who asked to raise."""
    n = table.num_rows
    if not n:
        return SCHEMA.empty_table()
    try:
        with open_batch(table, vector_column=VECTOR, id_column=ID) as batch:
            vectors = batch.vectors.read()
        _check_priority(table)
    except InputError as error:
        row = [n, 0, 0.0, type(error).__name__, str(error)]
    else:
        row = [n, vectors.shape[1], float(row_norms(vectors).max()), None, None]
    return pa.table([[value] for value in row], schema=SCHEMA)


def _check_priority(table: pa.Table) -> None:
    if PRIORITY not in table.column_names:
        return
    column = table[PRIORITY].cast(pa.float64(), safe=False)
    bad = np.flatnonzero(~np.isfinite(pc.fill_null(column, np.nan).to_numpy()))
    if len(bad):
        first = table[ID][int(bad[0])].as_py()
        raise InputError(
            f"priority: {len(bad)} values are missing or not finite, for example that of id "
            f"{first!r}; fill them, with 0 for example"
        )


def total(rows: pa.Table) -> Survey:
    """The whole, from the rows on its parts.

    Raises
    ------
    InputError, NonFiniteError, RangeError
        As the parts told, or if they do not fit each other.
    """
    if not rows.num_rows:
        raise InputError("the table holds no vectors (0 rows); give at least one")
    told = rows.filter(rows["problem"].is_valid()).sort_by("problem")
    if told.num_rows:
        kind = getattr(errors, told["kind"][0].as_py())
        raise kind(told["problem"][0].as_py())
    widths = sorted(set(rows["d"].to_pylist()))
    if len(widths) > 1:
        raise InputError(
            f"the table has vectors of {widths[0]} and of {widths[-1]} values; all must have one "
            "width"
        )
    check_longest(pc.max(rows["norm"]).as_py(), "the table")
    return Survey(pc.sum(rows["n"]).as_py(), widths[0])


def sampled(table: pa.Table, bound: int, seed: int) -> pa.Table:
    """The rows whose ids have a hash of at most `bound`: ids and vectors."""
    if not table.num_rows:
        return table.select([ID, VECTOR])
    source = open_vectors(table, vector_column=VECTOR, id_column=ID)
    return table.select([ID, VECTOR]).take(pa.array(rows_below(source, bound, seed)))


def least(
    gathered: Callable[[Callable[[pa.Table], pa.Table]], pa.Table], k: int, n: int, seed: int
) -> pa.Table:
    """Ids and vectors of rows among which are the `k` of the least hashes, of `n`.

    `gathered` gives what a function makes of all parts, in one table.
    """
    bound = hash_bound(k, n)
    while True:
        found = gathered(partial(sampled, bound=bound, seed=seed))
        if found.num_rows >= min(k, n) or bound == 2**64 - 1:
            return found
        bound = min(2 * bound, 2**64 - 1)
