"""``dqindex search``."""

from __future__ import annotations

from typing import Any

import click

from dqindex.cli import found, options
from dqindex.cli.changing import chosen_ids, given_ids
from dqindex.cli.terminal import progress, say
from dqindex.errors import InputError
from dqindex.index.index import DQIndex
from dqindex.index.opening import open_index
from dqindex.places.place import place, shown
from dqindex.storage.outputs import check_output

NEIGHBOURS = 10
# Option and argument of the search.
CHOICES = {"--filter": "filter", "--exclude": "exclude"}


def _number(text: str) -> float:
    """An integer where it is one."""
    try:
        return int(text)
    except ValueError:
        return float(text)


@click.command("search")
@click.argument("index", metavar="DIR", type=options.PATH)
@click.argument("queries", type=options.PATH)
@click.option(
    "-k", type=click.IntRange(min=1), help=f"Neighbours of each query.  [default: {NEIGHBOURS}]"
)
@click.option(
    "--radius",
    type=float,
    metavar="R",
    help="Instead of -k: all neighbours within R, which is a squared distance below it for l2 and "
    "cosine, an inner product above it for ip.",
)
@click.option(
    "--filter",
    "only",
    metavar="IDS",
    type=options.PATH,
    help="Search among these ids alone: a text file with an id a line, a Parquet or Arrow column "
    "(the only one, else item_id or id), a 1-d .npy, or - for lines on standard input.",
)
@click.option(
    "--exclude", metavar="IDS", type=options.PATH, help="Leave out these ids, in the same formats."
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=options.PATH,
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
@click.option(
    "--mmap",
    is_flag=True,
    help="Memory-map the index instead of reading it: it opens in milliseconds, after its files "
    "were verified once.",
)
@options.compose(
    options.vector_column, options.id_column, options.threads, options.quiet, options.as_json
)
def command(
    index: str,
    queries: str,
    k: int | None,
    radius: float | None,
    only: str | None,
    exclude: str | None,
    output: str | None,
    mmap: bool,
    vector_column: str | None,
    id_column: str | None,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Find the k nearest neighbours of QUERIES in the index at DIR.

    Each result line has the query (its id, or its row), and the ids and distances of its
    neighbours, the nearest first. --json prints JSON lines on stdout. Where fewer than k are
    found, the lists are shorter; in Parquet they are filled up with nulls.
    """
    _check_usage(k, radius, only, exclude, output)
    if output is not None:
        check_output(output, index, queries, *(one for one in (only, exclude) if one != "-"))
    with progress(quiet):
        opened = open_index(index, mmap=mmap)
        source = options.open_source(queries, vector_column, id_column)
        settings |= _chosen(opened, {"--filter": only, "--exclude": exclude})
        answer: found.Answer
        if radius is None:
            answer = opened.search(source, k or NEIGHBOURS, **settings)
        else:
            answer = opened.range_search(source, radius, **settings)
        names = list(range(source.n)) if source.ids is None else source.ids.to_pylist()
    what = f"{k or NEIGHBOURS} nearest" if radius is None else f"all within {radius:g}"
    if output is None and not as_json:
        found.show(f"{what} by {opened.spec}", names, answer)
    elif output is None or output.endswith(".jsonl"):
        found.write_lines(output, names, answer)
    else:
        found.write_parquet(output, source.ids, answer, opened.ids)
    if output is not None:
        say(f"{output}: {len(names):,} queries, {what}", quiet)


def _check_usage(
    k: int | None, radius: float | None, only: str | None, exclude: str | None, output: str | None
) -> None:
    """Refuse options that do not go together.

    Raises
    ------
    click.UsageError
    """
    if k is not None and radius is not None:
        raise click.UsageError("give -k or --radius, not both")
    if only == exclude == "-":
        raise click.UsageError("--filter and --exclude can't both come from standard input")
    if output is not None and place(output).suffix not in (".parquet", ".jsonl"):
        raise click.BadParameter(f"{output!r} ends in neither .parquet nor .jsonl", param_hint="-o")


def _chosen(index: DQIndex, given: dict[str, str | None]) -> dict[str, Any]:
    """Arguments of the search for the options that name ids."""
    chosen = {}
    for option, path in given.items():
        if path is not None:
            ids = chosen_ids(given_ids(path), index)
            if option == "--filter" and not len(ids):
                raise InputError(
                    f"--filter {shown(path)}: holds no ids, so that nothing could be found; give "
                    "some, or leave it out"
                )
            chosen[CHOICES[option]] = ids
    return chosen
