"""``dqindex merge``."""

from __future__ import annotations

import json

import click

from dqindex.cli import options
from dqindex.cli.terminal import progress, say
from dqindex.index.folder import write_folder
from dqindex.index.merging import merge_indexes
from dqindex.storage.outputs import refuse_inputs


@click.command("merge")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=options.PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="DIR",
    type=options.PATH,
    help="Folder to write the index to.",
)
@options.compose(options.quiet, options.as_json)
def command(folders: tuple[str, ...], output: str, quiet: bool, as_json: bool) -> None:
    """Make one index of those at DIR..., which share a training ('build --like').

    The result is the index that one build of all their vectors, in this order, would make. Indexes
    with different trainings, or with an id in common, are refused. Memory holds the result and one
    of the indexes at a time.
    """
    refuse_inputs(output, *folders)
    with write_folder(output) as writer, progress(quiet) as report:
        index = merge_indexes(list(folders), progress=report)
        index.save(writer)
    if as_json:
        click.echo(json.dumps(index.manifest))
        return
    say(f"{output}: {index.n:,} x {index.d}, {index.spec}, of {len(folders)} indexes", quiet)
