"""``dqindex spark append``."""

from __future__ import annotations

from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.spark import session, tables


@click.command("append")
@click.argument("published", metavar="MAP", type=options.PATH)
@click.argument("items", type=options.PATH)
@tables.into("Parquet folder of the new items.")
def command(published: str, items: str, **settings: Any) -> None:
    """Give the new ITEMS semantic IDs beside those of MAP, a Parquet folder; none of those changes.

    Writes the new items alone: MAP and FOLDER together are the map now. --unique, --cap and --keep
    are those that made MAP.
    """
    engine, before = session.engine(), session.read(published)

    def added(frame: Any, **how: Any) -> Any:
        return engine.append(before, frame, **how)[1]

    tables.make_table(added, "items added", items, **settings)
