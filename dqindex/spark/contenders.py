"""The rows of some items among very many: only theirs are shuffled."""

from __future__ import annotations

from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from dqindex.partitions import sieve
from dqindex.partitions.columns import ID
from dqindex.spark.frames import grouped, mapped

# Rows without a vector that are sent to every executor, at most: tens of MB.
SENT_ROWS = 2**18


def sent(df: DataFrame, rows: int) -> DataFrame:
    """`df`, which has so many rows, as a side of a join: few are sent to every executor."""
    return F.broadcast(df) if rows <= SENT_ROWS else df


def with_rows(some: DataFrame, n: int, frame: DataFrame, of: int) -> DataFrame:
    """`some` items, `n`, joined by id with their rows of `frame`, which has `of`.

    Where there are too many to be sent to every executor, a sieve of their ids is. `some` is read
    twice then.
    """
    if SENT_ROWS < n <= of // 2:
        frame = _sifted(some, n, frame)
    return sent(some, n).join(frame, ID)


def _sifted(some: DataFrame, n: int, frame: DataFrame) -> DataFrame:
    """Rows of `frame`, all those of `some` items among them, and few others."""
    number = sieve.pages_for(n)
    marks = mapped(some.select(ID), partial(sieve.marks, pages=number), sieve.MARKS)
    pages = grouped(marks, "page", sieve.page_of, sieve.PAGES).toArrow()
    of_all = sieve.bound(pages, number)
    return mapped(frame, partial(sieve.sifted, sieve=of_all), to_arrow_schema(frame.schema))
