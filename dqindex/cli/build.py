"""``dqindex build``."""

from __future__ import annotations

import json
from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.terminal import progress, say


@click.command("build")
@click.argument("vectors")
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder to write the index to.")
@click.option(
    "--spec", required=True, metavar="SPEC",
    help="FAISS index_factory grammar, with DQ{L} or DQ{L}_{d_out} wherever OPQ could stand: "
    "DQ16,IVF1024,PQ16.",
)  # fmt: skip
@click.option(
    "--metric", type=click.Choice(["l2", "ip", "cosine"]), default="l2", show_default=True,
    help="What near means.",
)  # fmt: skip
@options.balance("log-variance")
@click.option(
    "--covariance", type=click.Choice(["raw", "residual"]),
    help="What DQ learns its axes from.  [default: residual where the index encodes residuals]",
)  # fmt: skip
@click.option(
    "--polish", type=click.IntRange(min=0), default=0, show_default=True,
    help="Rounds of OPQ from the DQ start, at most: more recall where a code has few bits for many "
    "dimensions.",
)  # fmt: skip
@click.option(
    "--train-rows", type=click.IntRange(min=1),
    help="Vectors to train on.  [default: by the spec]",
)  # fmt: skip
@options.source
@options.compose(options.block_rows, options.threads, options.seed, options.quiet, options.as_json)
def command(
    vectors: str,
    output: str,
    spec: str,
    vector_column: str | None,
    id_column: str | None,
    ids_path: str | None,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Build an index of VECTORS that stock FAISS reads.

    DIR holds manifest.json, which names the FAISS index, the ids and the model. It is replaced in
    one step: a build that fails or is interrupted leaves what stood there.
    """
    from dqindex.build import build_index
    from dqindex.folder import write_folder

    source = options.open_source(vectors, vector_column, id_column, ids_path)
    with write_folder(output) as writer, progress(quiet) as report:
        index = build_index(source, spec, progress=report, **settings)
        index.save(writer)
    if as_json:
        click.echo(json.dumps({**index.manifest, "training_seconds": index.training_seconds}))
        return
    spent = ", ".join(f"{name} {took:.1f} s" for name, took in index.training_seconds.items())
    say(
        f"{output}: {index.n:,} x {index.d}, {spec}, "
        f"{index.manifest['bytes_per_vector']} bytes a vector; trained: {spent}",
        quiet,
    )
