"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

threads = click.option(
    "--threads", type=click.IntRange(min=1), help="Threads to use.  [default: all CPUs]"
)
seed = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of every random choice.",
)
block_rows = click.option(
    "--block-rows",
    type=click.IntRange(min=1),
    help="Vectors read at a time.  [default: 64 MiB of them]",
)
vector_column = click.option(
    "--vector-column",
    metavar="NAME",
    help="Parquet: column of the vectors.  [default: the only list column]",
)
id_column = click.option(
    "--id-column",
    metavar="NAME",
    help="Parquet: column of the ids.  [default: item_id or id, if there is one]",
)
ids = click.option(
    "--ids",
    "ids_path",
    metavar="FILE",
    help="Ids for a format that has none: a one-column Parquet file, or a 1-d .npy of integers.",
)
quiet = click.option("--quiet", "-q", is_flag=True, help="No progress, no messages.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def balance(default: str) -> Callable[[Command], Command]:
    """``--balance`` with the default of the library call behind the command."""
    return click.option(
        "--balance",
        type=click.Choice(["variance", "log-variance"]),
        default=default,
        show_default=True,
        help="What subspaces have equal: sums of variances (arXiv 2508.11194) or of their "
        "logarithms (Ge et al., OPQ).",
    )


def compose(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Apply several options, the first listed first in the help."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


source = compose(vector_column, id_column, ids)


def open_source(
    path: str, vector_column: str | None, id_column: str | None, ids_path: str | None = None
) -> Any:
    """The vectors that a command's source options describe."""
    from dqindex.vectors import open_vectors, read_ids

    if ids_path is None:
        return open_vectors(path, vector_column=vector_column, id_column=id_column)
    return open_vectors(path, vector_column=vector_column, ids=read_ids(ids_path, id_column))
