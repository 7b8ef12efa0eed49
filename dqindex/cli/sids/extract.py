"""``dqindex sids extract``."""

from __future__ import annotations

import json
from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.sids import loading, reporting
from dqindex.cli.terminal import progress, say
from dqindex.quantizer.model import DQModel
from dqindex.sids.map_file import model_beside
from dqindex.sids.semantic_ids import semantic_ids
from dqindex.storage.outputs import check_output


@click.command("extract")
@click.argument("items", type=options.PATH)
@click.option(
    "-o", "--output", required=True, metavar="MAP", type=options.PATH, help="Parquet file to write."
)
@options.family
@click.option(
    "--model",
    "model_path",
    metavar="MODEL",
    type=options.PATH,
    help="Use this model, which determines the options above.",
)
@click.option(
    "--unique",
    type=click.Choice(["reassign", "none", "suffix", "cap"]),
    default="reassign",
    show_default=True,
    help="Items with the same tokens. reassign: the nearest keeps them, and each of the others "
    "gets the nearest free tuple; none: they keep them; suffix: one more token numbers them; "
    "cap: --cap items share an ID.",
)
@click.option(
    "--cap",
    type=click.IntRange(min=1),
    default=1,
    help="With --unique cap: most items an ID.",
)
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    help="Number of first tokens that a collision may not change, unless all IDs that begin with "
    "them are taken; such items are counted.  [default: the residual and coarse "
    "tokens; 0 with dq]",
)
@loading.priority
@options.source
@options.skip_invalid
@options.compose(options.block_rows, options.threads, options.seed, options.quiet, options.as_json)
def command(
    items: str,
    output: str,
    model_path: str | None,
    vector_column: str | None,
    id_column: str | None,
    ids_path: str | None,
    skip_invalid: bool,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Make a map of semantic IDs from the vectors ITEMS.

    Writes MAP (item_id, codes, base_codes, distortion) and, unless --model is given, the model
    beside it, named by its fingerprint: 'append' and 'refit' find it there.
    """
    check_output(output, items, ids_path, model_path)
    options.check_skipped(skip_invalid, output, items, ids_path, model_path)
    source = options.open_source(items, vector_column, id_column, ids_path, skip_invalid)
    model = None if model_path is None else DQModel.load(model_path)
    with progress(quiet) as report:
        sids = semantic_ids(source, model=model, progress=report, **settings)
    if model is None and sids.model is not None:
        sids.model.save(model_beside(output, sids.fingerprint))
    sids.save(output)
    options.tell_skipped(source, output, quiet)
    if as_json:
        click.echo(json.dumps(reporting.summary(sids)))
        return
    say(
        f"{output}: {len(sids):,} items, {' x '.join(map(str, sids.sizes))}, "
        f"{sids.unique_share():.2%} of the IDs unique",
        quiet,
    )
    reporting.tell_widened(sids, quiet)
    reporting.tell_duplicates(sids, quiet)
