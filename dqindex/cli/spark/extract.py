"""``dqindex spark extract``."""

from __future__ import annotations

import json
from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.sids import loading
from dqindex.cli.spark import session, unique
from dqindex.cli.terminal import progress, say
from dqindex.quantizer.model import DQModel


@click.command("extract")
@click.argument("items", type=options.PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FOLDER",
    type=options.PATH,
    help="Parquet folder to write.",
)
@unique.model
@unique.ways
@loading.priority
@options.compose(options.vector_column, options.id_column, options.quiet, options.as_json)
def command(
    items: str, output: str, model_path: str, quiet: bool, as_json: bool, **settings: Any
) -> None:
    """Make a table of semantic IDs from the vectors ITEMS, under a model of 'spark fit'.

    Writes item_id, codes, base_codes and distortion: for every item what 'sids extract' gives it.
    """
    engine = session.engine()
    model = DQModel.load(model_path)
    frame = session.read(items)
    rows = frame.count()
    with progress(quiet) as report:
        made = engine.semantic_ids(frame, model=model, progress=report, **settings)
        session.write(made, output, rows)
    if as_json:
        click.echo(json.dumps({"items": rows, "fingerprint": model.fingerprint}))
    else:
        say(f"{output}: {rows:,} items", quiet)
