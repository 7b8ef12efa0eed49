"""``dqindex sids refit``."""

from __future__ import annotations

import json

import click

from dqindex.cli import options
from dqindex.cli.sids import loading, reporting
from dqindex.cli.terminal import progress, say, table
from dqindex.sids.map_file import model_beside
from dqindex.storage.outputs import check_output


@click.command("refit")
@click.argument("map_path", metavar="MAP", type=options.PATH)
@click.argument("items", type=options.PATH)
@click.option(
    "-o", "--output", required=True, metavar="MAP", type=options.PATH, help="New map to write."
)
@click.option(
    "--rotation",
    type=click.Choice(["keep", "new"]),
    default="keep",
    show_default=True,
    help="Keep the rotation of the old model, or fit it too.",
)
@click.option(
    "--worth",
    type=click.FloatRange(min=0, max=1),
    default=0.05,
    show_default=True,
    help="An item keeps its ID unless the new one lowers its distortion by more than this share of "
    "it. The same rule decides about the model, by the distortion of the whole catalogue.",
)
@loading.model
@loading.priority
@options.source
@options.compose(options.threads, options.seed, options.quiet, options.as_json)
def command(
    map_path: str,
    items: str,
    output: str,
    rotation: str,
    worth: float,
    priority: str | None,
    model_path: str | None,
    vector_column: str | None,
    id_column: str | None,
    ids_path: str | None,
    threads: int | None,
    seed: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Fit the model of MAP to the catalogue ITEMS as it is now, and extract a new map.

    Codebooks start from the old ones and are matched to the old labels, so that tokens keep their
    meaning. Prints the churn of items in both maps, beside that of a new fit.
    """
    check_output(output, items, ids_path, model_path)
    source = options.open_source(items, vector_column, id_column, ids_path)
    with loading.replacing(map_path, output), progress(quiet) as report:
        sids = loading.load_with_model(map_path, model_path)
        result = sids.refit(
            source,
            rotation=rotation,
            worth=worth,
            priority=priority,
            seed=seed,
            threads=threads,
            progress=report,
        )
        new = result.sids
        new.need_model().save(model_beside(output, new.fingerprint))
        new.save(output)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "refit": result.churn._asdict(),
                    "fresh_fit": result.fresh._asdict(),
                    "model_kept": new.fingerprint == sids.fingerprint,
                    "map": reporting.summary(new),
                }
            )
        )
        return
    rows = [
        [name, f"{churn.items:.2%}", f"{churn.tokens:.2%}", f"{churn.distortion:.6g}"]
        for name, churn in (("refit", result.churn), ("fresh fit", result.fresh))
    ]
    table(
        f"Changed, of {result.churn.common:,} items in both maps",
        ["model", "items", "tokens", "distortion"],
        rows,
    )
    if new.fingerprint == sids.fingerprint:
        say("The old model is kept: a new one would gain less than --worth", quiet)
    reporting.tell_widened(new, quiet)
