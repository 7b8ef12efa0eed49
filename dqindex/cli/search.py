"""``dqindex search``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from dqindex.cli import options
from dqindex.cli.terminal import progress, say, table
from dqindex.index.opening import open_index
from dqindex.storage.files import atomic_file
from dqindex.storage.outputs import check_output
from dqindex.storage.tables import write_table


def _number(text: str) -> float:
    """An integer where it is one."""
    try:
        return int(text)
    except ValueError:
        return float(text)


@click.command("search")
@click.argument("index", metavar="DIR")
@click.argument("queries")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours.")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="Write to OUT.parquet or OUT.jsonl instead of a table on stdout.",
)
@click.option(
    "--param",
    "parameters",
    multiple=True,
    callback=options.pairs(_number, "NAME=VALUE, as in nprobe=32"),
    metavar="NAME=VALUE",
    help="FAISS search parameter, such as nprobe=32; may be repeated.",
)
@options.compose(
    options.vector_column, options.id_column, options.threads, options.quiet, options.as_json
)
def command(
    index: str,
    queries: str,
    k: int,
    output: str | None,
    parameters: dict[str, float],
    vector_column: str | None,
    id_column: str | None,
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Find the k nearest neighbours of QUERIES in the index at DIR.

    Each result line has the query (its id, or its row), and the ids and distances of its
    neighbours, the nearest first. --json prints JSON lines on stdout.
    """
    if output is not None:
        if Path(output).suffix not in (".parquet", ".jsonl"):
            raise click.BadParameter(
                f"{output!r} ends in neither .parquet nor .jsonl", param_hint="-o"
            )
        check_output(output, index, queries)
    opened = open_index(index)
    source = options.open_source(queries, vector_column, id_column)
    result = opened.search(source, k, parameters=parameters, threads=threads)
    with progress(quiet):
        names = list(range(source.n)) if source.ids is None else source.ids.to_pylist()
    if output is None and not as_json:
        rows = [
            [name, " ".join(map(str, ids)), " ".join(f"{distance:.4g}" for distance in distances)]
            for name, ids, distances in zip(names, result.ids, result.distances, strict=True)
        ]
        table(f"{k} nearest by {opened.spec}", ["query", "ids", "distances"], rows)
    elif output is None or output.endswith(".jsonl"):
        _write_lines(output, names, result)
    else:
        _write_parquet(output, source.ids, result, opened.ids)
    if output is not None:
        say(f"{output}: {len(names):,} queries, {k} neighbours each", quiet)


def _lines(names: list[Any], result: Any) -> Any:
    for name, ids, distances in zip(names, result.ids, result.distances, strict=True):
        yield json.dumps({"query": name, "ids": ids.tolist(), "distances": distances.tolist()})


def _write_lines(output: str | None, names: list[Any], result: Any) -> None:
    if output is None:
        for line in _lines(names, result):
            click.echo(line)
        return
    with atomic_file(output) as file:
        for line in _lines(names, result):
            file.write(f"{line}\n".encode())


def _write_parquet(output: str, queries: Any, result: Any, catalogue: Any) -> None:
    k = result.ids.shape[1]

    def lists(values: Any) -> pa.Array:
        kind = catalogue.type if values.dtype == object else None
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind), k)

    found = pa.table(
        {
            "query": pa.array(range(len(result.ids))) if queries is None else queries,
            "ids": lists(result.ids),
            "distances": lists(result.distances),
        }
    )
    with atomic_file(output) as file:
        write_table(file, found)
