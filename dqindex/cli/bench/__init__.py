"""``dqindex bench``: one file a command."""

from __future__ import annotations

import click

from dqindex.cli.lazy import LazyGroup

COMMANDS = {
    "run": "Measure indexes, ours and the peers', on your vectors.",
    "report": "Show what was measured: one page, without a network.",
}


@click.group("bench", cls=LazyGroup, package="dqindex.cli.bench", members=COMMANDS)
def command() -> None:
    """Recall, latency, build time and memory of indexes, measured alike."""
