"""``dqindex spark``: one file a command."""

from __future__ import annotations

import click

from dqindex.cli.lazy import LazyGroup

COMMANDS = {
    "fit": "Learn a model of a table's rows.",
    "extract": "Make a table of unique semantic IDs.",
    "append": "Add new items; no published ID moves.",
}


@click.group("spark", cls=LazyGroup, package="dqindex.cli.spark", members=COMMANDS)
def command() -> None:
    """Semantic IDs on many machines, by Spark.

    ITEMS, and what is written, are folders of Parquet files by the names that Spark has for them
    (s3a://, hdfs://); MODEL is a file by the names that dqindex has (s3://). On a cluster, hand
    dqindex/__main__.py, where it is installed, to spark-submit, and the words from 'spark' on after
    it.
    """
