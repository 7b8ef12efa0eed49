"""What a search found, as a table on stdout, lines of JSON, or Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
import numpy as np
import pyarrow as pa

from dqindex.cli.terminal import table
from dqindex.index.answers import RangeResult, SearchResult
from dqindex.storage.files import atomic_file
from dqindex.storage.tables import write_table

Answer = SearchResult | RangeResult


def rows(answer: Answer) -> Iterator[tuple[list[Any], Any]]:
    """Ids and distances of every query's neighbours, those that there are."""
    if isinstance(answer, RangeResult):
        for start, stop in zip(answer.limits, answer.limits[1:], strict=False):
            yield answer.ids[start:stop].tolist(), answer.distances[start:stop]
        return
    for ids, distances, positions in zip(*answer, strict=True):
        there = positions >= 0
        yield ids[there].tolist(), distances[there]


def show(title: str, names: list[Any], answer: Answer) -> None:
    """A table on stdout."""
    lines = [
        [name, " ".join(map(str, ids)), " ".join(f"{distance:.4g}" for distance in distances)]
        for name, (ids, distances) in zip(names, rows(answer), strict=True)
    ]
    table(title, ["query", "ids", "distances"], lines)


def write_lines(output: str | None, names: list[Any], answer: Answer) -> None:
    """A line of JSON for each query, to a file or to stdout."""
    lines = (
        json.dumps({"query": name, "ids": ids, "distances": distances.tolist()})
        for name, (ids, distances) in zip(names, rows(answer), strict=True)
    )
    if output is None:
        for line in lines:
            click.echo(line)
        return
    with atomic_file(output) as file:
        for line in lines:
            file.write(f"{line}\n".encode())


def write_parquet(output: str, queries: Any, answer: Answer, catalogue: Any) -> None:
    """A row for each query: its name, ids and distances.

    Parameters
    ----------
    output : path
    queries : pyarrow.Array or None
        Names of the queries; None for their rows.
    answer : SearchResult or RangeResult
    catalogue : pyarrow.Array or None
        The ids of the index, whose type those of the answer get where they are objects.
    """
    missing = (answer.positions < 0).ravel()
    flat = answer.ids.ravel()
    kind = catalogue.type if flat.dtype == object else None
    ids, distances = pa.array(flat, kind, mask=missing), pa.array(answer.distances.ravel())
    if isinstance(answer, RangeResult):
        limits = pa.array(answer.limits)
        lists = [pa.LargeListArray.from_arrays(limits, one) for one in (ids, distances)]
    else:
        k = answer.ids.shape[1]
        distances = pa.array(answer.distances.ravel(), mask=missing)
        lists = [pa.FixedSizeListArray.from_arrays(one, k) for one in (ids, distances)]
    names = pa.array(np.arange(len(lists[0]))) if queries is None else queries
    found = pa.table({"query": names, "ids": lists[0], "distances": lists[1]})
    with atomic_file(output) as file:
        write_table(file, found)
