"""Commands that make a table of semantic IDs from a table of vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.sids import loading
from dqindex.cli.spark import session, unique
from dqindex.cli.terminal import progress, say
from dqindex.quantizer.model import DQModel


def into(what: str) -> Callable[[options.Command], options.Command]:
    """Options of a command that writes a table: `what` it holds, for the help."""
    return options.compose(
        click.option(
            "-o", "--output", required=True, metavar="FOLDER", type=options.PATH, help=what
        ),
        unique.model,
        unique.ways,
        loading.priority,
        options.vector_column,
        options.id_column,
        options.quiet,
        options.as_json,
    )


def make_table(
    make: Callable[..., Any],
    done: str,
    items: str,
    output: str,
    model_path: str,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Write what `make` gives of the DataFrame at `items`, and say how many items are `done`."""
    session.check_output(output)
    model = DQModel.load(model_path)
    frame = session.read(items)
    rows = frame.count()
    with progress(quiet) as report:
        session.write(make(frame, model=model, progress=report, **settings), output, rows)
    if as_json:
        click.echo(json.dumps({"items": rows, "fingerprint": model.fingerprint}))
    else:
        say(f"{output}: {rows:,} {done}", quiet)
