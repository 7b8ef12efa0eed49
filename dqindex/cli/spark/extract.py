"""``dqindex spark extract``."""

from __future__ import annotations

from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.spark import session, tables


@click.command("extract")
@click.argument("items", type=options.PATH)
@tables.into("Parquet folder to write.")
def command(items: str, **settings: Any) -> None:
    """Make a table of semantic IDs from the vectors ITEMS, under a model of 'spark fit'.

    Writes item_id, codes, base_codes and distortion: for every item what 'sids extract' gives it.
    """
    tables.make_table(session.engine().semantic_ids, "items", items, **settings)
