"""``dqindex sids append``."""

from __future__ import annotations

import json

import click

from dqindex.cli import options
from dqindex.cli.sids import loading, reporting
from dqindex.cli.terminal import progress, say
from dqindex.sids.map_file import model_beside
from dqindex.storage.outputs import check_output


@click.command("append")
@click.argument("map_path", metavar="MAP", type=options.PATH)
@click.argument("items", type=options.PATH)
@click.option(
    "-o", "--output", required=True, metavar="MAP", type=options.PATH, help="Complete map to write."
)
@click.option(
    "--delta", metavar="MAP", type=options.PATH, help="Write the new items alone as well."
)
@loading.model
@loading.priority
@options.source
@options.compose(options.block_rows, options.threads, options.quiet, options.as_json)
def command(
    map_path: str,
    items: str,
    output: str,
    delta: str | None,
    model_path: str | None,
    vector_column: str | None,
    id_column: str | None,
    ids_path: str | None,
    priority: str | None,
    block_rows: int | None,
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Give the new ITEMS semantic IDs under the model of MAP; no published ID changes."""
    inputs = (items, ids_path, model_path)
    check_output(output, *inputs)
    if delta is not None:
        check_output(delta, *inputs, map_path, output)
    source = options.open_source(items, vector_column, id_column, ids_path)
    with loading.replacing(map_path, output), progress(quiet) as report:
        sids = loading.load_with_model(map_path, model_path)
        whole, new = sids.append(
            source, priority=priority, threads=threads, block_rows=block_rows, progress=report
        )
        if delta is not None:
            new.save(delta)
        beside = model_beside(output, whole.fingerprint)
        if not beside.exists():
            whole.need_model().save(beside)
        whole.save(output)
    if as_json:
        click.echo(json.dumps({**reporting.summary(whole), "added": reporting.summary(new)}))
        return
    say(f"{output}: {len(new):,} items added to {len(sids):,}", quiet)
    reporting.tell_widened(new, quiet)
