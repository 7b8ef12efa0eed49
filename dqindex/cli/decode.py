"""``dqindex decode``."""

from __future__ import annotations

import click
import numpy as np

from dqindex.cli import options
from dqindex.cli.terminal import progress, say
from dqindex.errors import InputError
from dqindex.quantizer.model import DQModel
from dqindex.storage.matrix import matrix_writer
from dqindex.storage.outputs import check_output


@click.command("decode")
@click.argument("model", type=options.PATH)
@click.argument("codes", type=options.PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="VECTORS",
    type=options.PATH,
    help=".npy, or .parquet with the ids and a list column 'vector'.",
)
@options.compose(options.id_column, options.block_rows, options.quiet)
def command(
    model: str,
    codes: str,
    output: str,
    id_column: str | None,
    block_rows: int | None,
    quiet: bool,
) -> None:
    """Turn CODES (from 'dqindex encode') back into the vectors that they stand for."""
    check_output(output, model, codes)
    source = options.open_source(codes, None, id_column)
    if source.dtype.kind not in "iu":
        raise InputError(
            f"{source.name}: holds {source.dtype}, not codes; give what 'encode' wrote"
        )
    loaded = DQModel.load(model)
    done = 0
    shape = (source.n, loaded.n_features_in_)
    with (
        matrix_writer(
            output, shape, np.dtype(np.float32), column="vector", ids=source.ids
        ) as write,
        progress(quiet) as report,
    ):
        for block in source.blocks(block_rows):
            write(loaded.decode(block.astype(np.int64)))
            done += len(block)
            report("decode", done, source.n)
    say(f"{output}: vectors {shape[0]:,} x {shape[1]}", quiet)
