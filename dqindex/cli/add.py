"""``dqindex add``."""

from __future__ import annotations

import json
from typing import Any

import click

from dqindex.cli import changing, options
from dqindex.cli.terminal import say
from dqindex.index.index import DQIndex


@click.command("add")
@changing.vectors
@options.as_json
def command(folder: str, quiet: bool, as_json: bool, **given: Any) -> None:
    """Add VECTORS to the index at DIR; nothing is trained.

    DIR is replaced in one step: a reader continues with the version that it opened, and an addition
    that fails or is interrupted leaves DIR unchanged. Warns if the codes fit the new vectors much
    worse than the training vectors.
    """
    index, source = changing.put(DQIndex.add, folder, quiet=quiet, **given)
    if as_json:
        click.echo(json.dumps({**index.manifest, "added": source.n}))
        return
    say(f"{folder}: {source.n:,} vectors added, {index.n:,} now", quiet)
