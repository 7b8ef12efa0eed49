"""``dqindex fit``."""

from __future__ import annotations

import json
from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.terminal import progress, say
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer.family import new_model
from dqindex.storage.outputs import check_output


@click.command("fit")
@click.argument("vectors", type=options.PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="MODEL",
    type=options.PATH,
    help="Model file to write (.safetensors).",
)
@options.family
@click.option(
    "--components",
    "n_components",
    type=click.IntRange(min=1),
    help="Axes to keep, the largest first.  [default: all]",
)
@options.compose(
    options.vector_column,
    options.skip_invalid,
    options.threads,
    options.seed,
    options.quiet,
    options.as_json,
)
def command(
    vectors: str,
    output: str,
    vector_column: str | None,
    threads: int | None,
    skip_invalid: bool,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Learn a model of VECTORS: mean, rotation, and one codebook a token."""
    check_output(output, vectors)
    options.check_skipped(skip_invalid, output, vectors)
    source = options.open_source(vectors, vector_column, None, skip_invalid=skip_invalid)
    model = new_model(**settings)
    with progress(quiet) as report, thread_limit(threads):
        source.check(progress=report)
        model.fit(source, progress=report)
    model.save(output)
    options.tell_skipped(source, output, quiet)
    found = {
        "model": output,
        "fingerprint": model.fingerprint,
        "imbalance": model.transform_.imbalance_,
        "unused_codewords": model.codebooks_.unused_codewords_.tolist(),
    }
    if as_json:
        click.echo(json.dumps(found))
    else:
        say(
            f"{output}: {model.n_subspaces} subspaces of {source.d}-d vectors, imbalance "
            f"{model.transform_.imbalance_:.2%}",
            quiet,
        )
