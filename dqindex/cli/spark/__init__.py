"""``dqindex spark``: one file a command."""

from __future__ import annotations

import click

from dqindex.cli.lazy import LazyGroup

COMMANDS = {
    "fit": "Learn a model of a table's rows.",
    "extract": "Make a table of unique semantic IDs.",
    "append": "Add new items; no published ID changes.",
}


@click.group("spark", cls=LazyGroup, package="dqindex.cli.spark", members=COMMANDS)
def command() -> None:
    """Semantic IDs on many machines, by Spark.

    ITEMS and the outputs are folders of Parquet files, with addresses as in Spark (s3a://,
    hdfs://); MODEL is a file, with an address as in dqindex (s3://). On a cluster, give the path of
    the installed dqindex/__main__.py to spark-submit, and after it the arguments from 'spark' on.
    """
