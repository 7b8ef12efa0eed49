"""``dqindex sids``: one file a command."""

from __future__ import annotations

import click

from dqindex.cli.lazy import LazyGroup

COMMANDS = {
    "extract": "Make a map of unique semantic IDs from item vectors.",
    "append": "Add new items; no published ID changes.",
    "refit": "Fit to new vectors so that tokens keep their meaning.",
    "evaluate": "Measure a map: collisions, use of codes, and neighbours that the codes keep.",
    "lookup": "Find items by their tokens, and tokens by items.",
    "export": "Write a map in the format a recommender reads.",
    "neighbors": "Link each item to those that share most tokens.",
}


@click.group("sids", cls=LazyGroup, package="dqindex.cli.sids", members=COMMANDS)
def command() -> None:
    """Semantic IDs: a tuple of tokens for every item of a catalogue.

    ITEMS are vectors in any format that 'dqindex --help' names; MAP is a Parquet file that
    'dqindex sids extract' made, or a foreign map where that makes sense.
    """
