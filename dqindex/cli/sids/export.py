"""``dqindex sids export``."""

from __future__ import annotations

import click

from dqindex.cli import options
from dqindex.cli.terminal import say


@click.command("export")
@click.argument("map_path", metavar="MAP")
@click.option("-o", "--output", required=True, metavar="FILE", help="File to write.")
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["parquet", "csv", "jsonl", "lc-rec", "offset", "npy", "reverse"]),
    help='lc-rec: {"0": ["<a_60>", …]}; offset: one contiguous vocabulary; reverse: the items '
    "of each ID.",
)
@options.quiet
def command(map_path: str, output: str, form: str, quiet: bool) -> None:
    """Write MAP (in any of the formats) in the format a recommender reads."""
    from dqindex.sids.semantic_ids import read_sids
    from dqindex.storage.outputs import check_output

    check_output(output, map_path)
    sids = read_sids(map_path)
    sids.export(output, form)
    say(f"{output}: {len(sids):,} items as {form}", quiet)
