"""``dqindex update``."""

from __future__ import annotations

import json

import click

from dqindex.cli import changing, options
from dqindex.cli.terminal import progress, say
from dqindex.storage.outputs import refuse_inputs


@click.command("update")
@changing.folder
@click.argument("vectors", type=options.PATH)
@options.source
@options.skip_invalid
@options.compose(options.block_rows, options.threads, options.quiet, options.as_json)
def command(
    folder: str,
    vectors: str,
    vector_column: str | None,
    id_column: str | None,
    ids_path: str | None,
    block_rows: int | None,
    threads: int | None,
    skip_invalid: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Replace vectors of the index at DIR by VECTORS, which have their ids.

    All ids must be in the index, each once; of an index that counts its vectors they are the
    numbers, given by --ids. DIR is replaced in one step, as 'add' does.
    """
    refuse_inputs(folder, vectors, ids_path)
    options.check_skipped(skip_invalid, folder, vectors, ids_path)
    with progress(quiet) as report:
        source = options.open_source(vectors, vector_column, id_column, ids_path, skip_invalid)
        with changing.changing(folder) as (index, publish):
            index.update(source, block_rows=block_rows, threads=threads, progress=report)
            publish()
    options.tell_skipped(source, folder, quiet)
    if as_json:
        click.echo(json.dumps({**index.manifest, "updated": source.n}))
        return
    say(f"{folder}: {source.n:,} of {index.n:,} vectors replaced", quiet)
