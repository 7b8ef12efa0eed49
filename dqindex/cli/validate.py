"""``dqindex validate``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from dqindex.claim import validate
from dqindex.cli import options
from dqindex.cli.terminal import progress, say, table
from dqindex.parallel.threads import thread_limit
from dqindex.places.place import shown


@click.command("validate")
@click.argument("vectors", type=options.PATH)
@options.subspaces("Number of subspaces.")
@click.option(
    "-K",
    "--codewords",
    "n_codewords",
    type=click.IntRange(min=2),
    default=256,
    show_default=True,
    help="Codewords a subspace.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=100_000,
    show_default=True,
    help="Vectors to check the identity on: all, or a random sample of this size.",
)
@click.option(
    "--train-rows",
    type=click.IntRange(min=1),
    default=20_000,
    show_default=True,
    help="Vectors to train on, a fifth of them held out.",
)
@options.compose(
    options.vector_column, options.threads, options.seed, options.quiet, options.as_json
)
def command(
    vectors: str,
    rows: int,
    vector_column: str | None,
    threads: int | None,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Check on VECTORS that DQ-VAE's loss collapses (L_R = L_C) and its training is PQ.

    Exits with 1 if any part of the claim fails on these vectors. docs/claim.md has the derivation.
    """
    source = options.open_source(vectors, vector_column, None)
    with progress(quiet) as report, thread_limit(threads):
        sample = source.sample(rows, seed=settings["seed"])
        found = validate(sample, progress=report, **settings)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        for section in found.sections:
            _print(section)
        say(f"the claim {'holds' if found.passed else 'FAILS'} on {shown(vectors)}", quiet)
    if not found.passed:
        sys.exit(1)


def _print(section: Any) -> None:
    verdicts = {True: "ok", False: "FAILED", None: "-"}
    if section.rows:
        table(section.title, section.columns, section.rows)
    table(
        section.statement or section.title,
        ["figure", "value", "tolerance", "verdict", "note"],
        [
            [
                check.name,
                f"{check.figure:.2e}",
                "" if check.passed is None else f"{check.tolerance:.0e}",
                verdicts[check.passed],
                check.note,
            ]
            for check in section.checks
        ],
    )
