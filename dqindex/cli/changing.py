"""An index folder that a command changes in place: held, changed, and published as a whole."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import click
import pyarrow as pa

from dqindex.cli import options
from dqindex.cli.terminal import progress
from dqindex.index.folder import read_manifest, write_folder
from dqindex.index.index import DQIndex
from dqindex.index.opening import open_index
from dqindex.storage.lock import WAIT_SECONDS
from dqindex.storage.outputs import refuse_inputs
from dqindex.vectors import VectorSource
from dqindex.vectors.id_list import read_id_list

folder = click.argument("folder", metavar="DIR", type=options.PATH)
# What a command takes that puts vectors into an index: the parameters of `put`.
vectors = options.compose(
    folder,
    click.argument("vectors", type=options.PATH),
    options.source,
    options.skip_invalid,
    options.compose(options.block_rows, options.threads, options.quiet),
)


@contextmanager
def changing(path: str) -> Iterator[tuple[DQIndex, Callable[[], None]]]:
    """The index at `path`, and a function that publishes what was made of it.

    Two commands that change one index do so one after the other, and lose nothing; a change that
    is not published leaves what stood there.

    Raises
    ------
    StorageError
        If there is no index, or it can't be written.
    BusyError
        If another process holds it for longer than a minute.
    """
    read_manifest(path)
    with write_folder(path, wait=WAIT_SECONDS) as writer:
        index = open_index(path)
        yield index, lambda: index.save(writer)


def put(
    change: Callable[..., None],
    folder: str,
    vectors: str,
    vector_column: str | None,
    id_column: str | None,
    ids_path: str | None,
    block_rows: int | None,
    threads: int | None,
    skip_invalid: bool,
    quiet: bool,
) -> tuple[DQIndex, VectorSource]:
    """`change`, a method of `DQIndex`, with VECTORS; the index as it was published, and these."""
    refuse_inputs(folder, vectors, ids_path)
    options.check_skipped(skip_invalid, folder, vectors, ids_path)
    with progress(quiet) as report:
        source = options.open_source(vectors, vector_column, id_column, ids_path, skip_invalid)
        with changing(folder) as (index, publish):
            change(index, source, block_rows=block_rows, threads=threads, progress=report)
            publish()
    options.tell_skipped(source, folder, quiet)
    return index, source


def given_ids(text: str) -> str | IO[bytes]:
    """What the word IDS stands for: a file, or standard input, read now.

    So nobody waits for a writer that waits for its input.
    """
    return io.BytesIO(sys.stdin.buffer.read()) if text == "-" else text


def chosen_ids(
    given: str | IO[bytes], index: DQIndex, column: str | None = None
) -> pa.Array | list[int]:
    """The ids that `given_ids` gave, of the type that the index has."""
    return read_id_list(given, integers=index.names.integers, column=column)
