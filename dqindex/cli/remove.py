"""``dqindex remove``."""

from __future__ import annotations

import json

import click

from dqindex.cli import changing, options
from dqindex.cli.terminal import progress, say
from dqindex.errors import InputError
from dqindex.storage.outputs import refuse_inputs


@click.command("remove")
@changing.folder
@click.argument("ids", type=options.PATH)
@click.option(
    "--id-column",
    metavar="NAME",
    help="Parquet: column of the ids.  [default: the only one, else item_id or id]",
)
@click.option(
    "--missing-ok",
    is_flag=True,
    help="Ignore ids that the index does not have, and count them; without this option one such "
    "id, or an empty list, is an error and nothing is removed.",
)
@options.compose(options.quiet, options.as_json)
def command(
    folder: str, ids: str, id_column: str | None, missing_ok: bool, quiet: bool, as_json: bool
) -> None:
    """Remove the vectors of IDS from the index at DIR.

    IDS is a text file with an id a line, a Parquet or Arrow column, a 1-d .npy, or - for lines on
    standard input. Stock FAISS does not find them either. DIR is replaced in
    one step, as 'add' does.
    """
    if ids != "-":
        refuse_inputs(folder, ids)
    given = changing.given_ids(ids)
    with progress(quiet), changing.changing(folder) as (index, publish):
        chosen = changing.chosen_ids(given, index, id_column)
        if not len(chosen) and not missing_ok:
            raise InputError(
                f"{'standard input' if ids == '-' else ids}: holds no ids; nothing is removed "
                "(--missing-ok accepts that)"
            )
        name = "standard input" if ids == "-" else ids
        remedy = "leave them out, or count them (--missing-ok)"
        index.names.rows(chosen, name, remedy=remedy, missing_ok=missing_ok)
        before = index.n
        missing = index.remove(chosen, missing_ok=missing_ok)
        removed = before - index.n
        if removed:
            publish()
    if as_json:
        click.echo(json.dumps({**index.manifest, "removed": removed, "missing": missing}))
        return
    not_there = f"; {missing:,} ids were not there" if missing else ""
    say(f"{folder}: {removed:,} vectors removed, {index.n:,} are left{not_there}", quiet)
