"""``dqindex bench report``."""

from __future__ import annotations

import click

from dqindex.bench.results import read_results
from dqindex.cli import options
from dqindex.cli.terminal import say
from dqindex.parallel.threads import thread_limit
from dqindex.report.page import write_page
from dqindex.report.picture import write_picture
from dqindex.sids.semantic_ids import read_sids
from dqindex.sids.titles import read_titles
from dqindex.storage.outputs import check_output


@click.command("report")
@click.argument("results", nargs=-1, metavar="[RESULTS.jsonl]...", type=options.PATH)
@click.option(
    "-o", "--output", metavar="REPORT.html", type=options.PATH, help="The page; needs no network."
)
@click.option(
    "--png",
    metavar="PICTURE.png",
    type=options.PATH,
    help="The frontiers as a picture, for a README.",
)
@click.option(
    "--sids",
    "map_path",
    metavar="MAP",
    type=options.PATH,
    help="A map of semantic IDs, own or foreign: adds token distributions and an item explorer.",
)
@click.option(
    "--vectors",
    metavar="ITEMS",
    type=options.PATH,
    help="The map's items, in its order: adds their true neighbours to the explorer.",
)
@click.option(
    "--titles",
    metavar="FILE",
    type=options.PATH,
    help="What to call the items: a Parquet file with a text column, in the map's order or with "
    "the map's ids.",
)
@click.option(
    "--title-column",
    metavar="NAME",
    help="Column of the titles.  [default: title, or the only text column beside the ids]",
)
@options.compose(options.vector_column, options.id_column, options.threads, options.quiet)
def command(
    results: tuple[str, ...],
    output: str | None,
    png: str | None,
    map_path: str | None,
    vectors: str | None,
    titles: str | None,
    title_column: str | None,
    vector_column: str | None,
    id_column: str | None,
    threads: int | None,
    quiet: bool,
) -> None:
    """Show RESULTS of 'dqindex bench run', and a map of semantic IDs, as one page.

    The page holds all it needs: charts, a table that sorts, and for --sids an explorer of items.
    """
    if output is None and png is None:
        raise click.UsageError("give -o REPORT.html, --png PICTURE.png, or both")
    if map_path is None and (vectors or titles):
        raise click.UsageError("--vectors and --titles are for the items of --sids")
    inputs = (*results, map_path, vectors, titles)
    for path, other in ((output, None), (png, output)):
        if path is not None:
            check_output(path, *inputs, other)
    records = read_results(results)
    if output is not None:
        sids = None if map_path is None else read_sids(map_path)
        source = options.open_source(vectors, vector_column, None) if vectors else None
        names = None
        if titles is not None and sids is not None:
            names = read_titles(titles, sids, title_column, id_column)
        with thread_limit(threads):
            write_page(records, output, sids=sids, titles=names, source=source)
        say(f"{output}: {len(records)} points", quiet)
    if png is not None:
        write_picture(records, png)
        say(f"{png}: drawn", quiet)
