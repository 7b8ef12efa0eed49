"""``dqindex encode``."""

from __future__ import annotations

import click

from dqindex.cli import options
from dqindex.cli.terminal import progress, say
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer.encoding import code_dtype
from dqindex.quantizer.model import DQModel
from dqindex.storage.matrix import matrix_writer
from dqindex.storage.outputs import check_output


@click.command("encode")
@click.argument("model", type=options.PATH)
@click.argument("vectors", type=options.PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="CODES",
    type=options.PATH,
    help=".npy, or .parquet with the ids and a list column 'codes'.",
)
@options.source
@options.skip_invalid
@options.compose(options.block_rows, options.threads, options.quiet)
def command(
    model: str,
    vectors: str,
    output: str,
    vector_column: str | None,
    id_column: str | None,
    ids_path: str | None,
    block_rows: int | None,
    threads: int | None,
    skip_invalid: bool,
    quiet: bool,
) -> None:
    """Turn VECTORS into codes by MODEL, one code a subspace, a block at a time."""
    check_output(output, model, vectors, ids_path)
    options.check_skipped(skip_invalid, output, model, vectors, ids_path)
    source = options.open_source(vectors, vector_column, id_column, ids_path, skip_invalid)
    loaded = DQModel.load(model)
    shape = (source.n, len(loaded.code_sizes()))
    dtype = code_dtype(max(loaded.code_sizes()))
    done = 0
    with (
        progress(quiet) as report,
        matrix_writer(output, shape, dtype, column="codes", ids=source.ids) as write,
        thread_limit(threads),
    ):
        for codes, _ in loaded.encode_blocks(source.blocks(block_rows)):
            write(codes)
            done += len(codes)
            report("encode", done, source.n)
    options.tell_skipped(source, output, quiet)
    say(f"{output}: codes {shape[0]:,} x {shape[1]} {dtype}", quiet)
