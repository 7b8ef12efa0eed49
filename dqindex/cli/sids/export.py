"""``dqindex sids export``."""

from __future__ import annotations

from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.sids import loading
from dqindex.cli.terminal import say
from dqindex.sids.formats import ids_beside, not_kept
from dqindex.storage.outputs import check_output


@click.command("export")
@click.argument("map_path", metavar="MAP", type=options.PATH)
@click.option(
    "-o", "--output", required=True, metavar="FILE", type=options.PATH, help="File to write."
)
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(options.MAP_FORMATS),
    help='Format to write. lc-rec: {"0": ["<a_60>", …]}; offset: one contiguous vocabulary; '
    "npy: the codes, and the ids in a file beside them; reverse: the items of each ID; trie: which "
    "tokens may follow a prefix, as arrays (.npz) or .json.",
)
@click.option(
    "--from",
    "from_form",
    type=click.Choice(options.MAP_FORMATS),
    help="Format of MAP.  [default: by its name and content]",
)
@click.option(
    "--start",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="offset, trie: the first token of the vocabulary, such as the length of a tokenizer.",
)
@options.foreign_columns
@options.quiet
def command(
    map_path: str,
    output: str,
    form: str,
    from_form: str | None,
    start: int,
    quiet: bool,
    **foreign: Any,
) -> None:
    """Write MAP (in any of the formats) in the format a recommender reads."""
    check_output(output, map_path)
    sids = loading.read_any(map_path, form=from_form, **foreign)
    beside = ids_beside(output) if form == "npy" and sids.ids is not None else None
    if beside is not None:
        check_output(beside, map_path)
    sids.export(output, form, start=start)
    say(f"{output}: {len(sids):,} items as {form}", quiet)
    if beside is not None:
        say(f"{beside}: their ids", quiet)
    lost = not_kept(sids, form)
    if lost is not None:
        say(f"warning: {lost}", quiet)
    if form in ("offset", "trie") and sids.sizes_guessed:
        say(
            "warning: the sizes of the levels are the largest codes plus one; give --code-sizes",
            quiet,
        )
