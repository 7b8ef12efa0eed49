"""What an engine does with tables that lie on many machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import pyarrow as pa

T = TypeVar("T")
Change = Callable[[pa.Table], pa.Table]

# Rows that are together where rows of a kind are put together, about.
BUCKET_ROWS = 2**18


class Engine(Protocol[T]):
    """Tables of one schema on many machines, and functions of them that run where they lie."""

    def mapped(self, rows: T, change: Change, schema: pa.Schema) -> T:
        """`change` of the rows, some at a time."""

    def grouped(self, rows: T, column: str, change: Change, schema: pa.Schema) -> T:
        """`change` of all rows with one value of `column`, a number of at least 0."""

    def joined(self, first: T, second: T) -> T:
        """Both."""

    def held(self, rows: T) -> T:
        """The same, made once."""

    def gathered(self, rows: T, schema: pa.Schema) -> pa.Table:
        """All rows, here: few."""


def buckets_for(rows: int) -> int:
    """Over how many buckets so many rows are spread."""
    return max(1, -(-rows // BUCKET_ROWS))
