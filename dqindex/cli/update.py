"""``dqindex update``."""

from __future__ import annotations

import json
from typing import Any

import click

from dqindex.cli import changing, options
from dqindex.cli.terminal import say
from dqindex.index.index import DQIndex


@click.command("update")
@changing.vectors
@options.as_json
def command(folder: str, quiet: bool, as_json: bool, **given: Any) -> None:
    """Replace the vectors of the index at DIR that have the ids of VECTORS.

    All ids must be in the index, each once. If the index numbers its vectors, give the numbers by
    --ids. DIR is replaced in one step, as 'add' does.
    """
    index, source = changing.put(DQIndex.update, folder, quiet=quiet, **given)
    if as_json:
        click.echo(json.dumps({**index.manifest, "updated": source.n}))
        return
    say(f"{folder}: {source.n:,} of {index.n:,} vectors replaced", quiet)
