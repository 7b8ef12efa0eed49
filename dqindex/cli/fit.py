"""``dqindex fit``."""

from __future__ import annotations

import json
from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.terminal import progress, say


def sizes(ctx: click.Context, param: click.Parameter, value: str) -> int | list[int]:
    """``256``, or ``512,256,128``."""
    try:
        numbers = [int(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a number, or numbers between commas") from None
    return numbers[0] if len(numbers) == 1 else numbers


@click.command("fit")
@click.argument("vectors")
@click.option(
    "-o", "--output", required=True, metavar="MODEL", help="Model file to write (.safetensors)."
)
@click.option(
    "-L",
    "--subspaces",
    "n_subspaces",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Number of subspaces: codes a vector.",
)
@click.option(
    "-K",
    "--codewords",
    "n_codewords",
    default="256",
    show_default=True,
    callback=sizes,
    help="Codewords a subspace: one number, or one a subspace (512,256,128).",
)
@click.option(
    "--components",
    "n_components",
    type=click.IntRange(min=1),
    help="Axes to keep, the largest first.  [default: all]",
)
@options.balance("variance")
@options.compose(
    options.vector_column, options.threads, options.seed, options.quiet, options.as_json
)
def command(
    vectors: str,
    output: str,
    vector_column: str | None,
    threads: int | None,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Learn a DQ model of VECTORS: mean, rotation, and one codebook a subspace."""
    from dqindex.parallel.threads import thread_limit
    from dqindex.quantizer.model import DQModel
    from dqindex.storage.files import check_writable

    check_writable(output)
    source = options.open_source(vectors, vector_column, None)
    model = DQModel(**settings)
    with progress(quiet) as report, thread_limit(threads):
        source.check_finite(progress=report)
        model.fit(source, progress=report)
    model.save(output)
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
