"""``dqindex spark append``."""

from __future__ import annotations

import json
from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.sids import loading
from dqindex.cli.spark import session, unique
from dqindex.cli.terminal import progress, say
from dqindex.quantizer.model import DQModel


@click.command("append")
@click.argument("published", metavar="MAP", type=options.PATH)
@click.argument("items", type=options.PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FOLDER",
    type=options.PATH,
    help="Parquet folder of the new items.",
)
@unique.model
@unique.ways
@loading.priority
@options.compose(options.vector_column, options.id_column, options.quiet, options.as_json)
def command(
    published: str,
    items: str,
    output: str,
    model_path: str,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Give the new ITEMS semantic IDs beside those of MAP, a Parquet folder; none of these moves.

    Writes the new items alone: MAP and FOLDER together are the map now. --unique, --cap and --keep
    are those that made MAP.
    """
    engine = session.engine()
    model = DQModel.load(model_path)
    before, frame = session.read(published), session.read(items)
    rows = frame.count()
    with progress(quiet) as report:
        _, made = engine.append(before, frame, model=model, progress=report, **settings)
        session.write(made, output, rows)
    if as_json:
        click.echo(json.dumps({"items": rows, "fingerprint": model.fingerprint}))
    else:
        say(f"{output}: {rows:,} items added", quiet)
