"""``dqindex bench``: one file a command."""

from __future__ import annotations

import click

from dqindex.cli.lazy import LazyGroup

COMMANDS = {
    "run": "Measure indexes of dqindex and of other libraries on your vectors.",
    "report": "Show the results as one page, which needs no network.",
}


@click.group("bench", cls=LazyGroup, package="dqindex.cli.bench", members=COMMANDS)
def command() -> None:
    """Recall, latency, build time and memory of indexes, measured in the same way."""
