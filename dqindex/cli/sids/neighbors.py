"""``dqindex sids neighbors``."""

from __future__ import annotations

import click
import pyarrow as pa

from dqindex.cli import options
from dqindex.cli.terminal import progress, say
from dqindex.parallel.threads import thread_limit
from dqindex.sids.linkage import linkage
from dqindex.sids.semantic_ids import read_sids
from dqindex.storage.files import atomic_file
from dqindex.storage.outputs import check_output
from dqindex.storage.tables import table_writer


@click.command("neighbors")
@click.argument("map_path", metavar="MAP", type=options.PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="EDGES",
    type=options.PATH,
    help="Parquet file to write: source, target, weight.",
)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Most edges.")
@options.compose(options.threads, options.quiet)
def command(map_path: str, output: str, k: int, threads: int | None, quiet: bool) -> None:
    """Link each item of MAP to the k items that share most tokens with it.

    A shared token weighs log(items / items with that token), so that rare ones count for more.
    """
    check_output(output, map_path)
    sids = read_sids(map_path)
    ids = sids.item_ids
    schema = pa.schema([("source", ids.type), ("target", ids.type), ("weight", pa.float32())])
    edges = 0
    with (
        atomic_file(output) as file,
        table_writer(file, schema, compression="zstd") as writer,
        progress(quiet) as report,
        thread_limit(threads),
    ):
        for source, target, weight in linkage(sids, k):
            columns = [ids.take(pa.array(source)), ids.take(pa.array(target)), pa.array(weight)]
            writer.write_table(pa.table(columns, schema=schema))
            edges += len(source)
            if len(source):
                report("link", int(source[-1]) + 1, len(sids))
    say(f"{output}: {edges:,} edges", quiet)
