"""``dqindex spark fit``."""

from __future__ import annotations

import json
from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.spark import session
from dqindex.cli.terminal import progress, say
from dqindex.storage.outputs import check_output


@click.command("fit")
@click.argument("items", type=options.PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="MODEL",
    type=options.PATH,
    help="Model file to write (.safetensors).",
)
@options.family
@options.compose(
    options.vector_column, options.id_column, options.seed, options.quiet, options.as_json
)
def command(items: str, output: str, quiet: bool, as_json: bool, **settings: Any) -> None:
    """Learn a model of the vectors of ITEMS: the one that 'sids extract' would learn of them."""
    check_output(output)
    engine = session.engine()
    frame = session.read(items)
    with progress(quiet) as report:
        model = engine.fit(frame, progress=report, **settings)
    model.save(output)
    if as_json:
        click.echo(json.dumps({"model": output, "fingerprint": model.fingerprint}))
    else:
        say(f"{output}: {' x '.join(map(str, model.code_sizes()))} codes", quiet)
