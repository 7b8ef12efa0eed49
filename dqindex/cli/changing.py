"""An index folder that a command changes in place: held, changed, and published as a whole."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import pyarrow as pa

from dqindex.cli import options
from dqindex.index.folder import read_manifest, write_folder
from dqindex.index.index import DQIndex
from dqindex.index.opening import open_index
from dqindex.storage.lock import WAIT_SECONDS
from dqindex.vectors.id_list import read_id_list

folder = click.argument("folder", metavar="DIR", type=options.PATH)


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


def chosen_ids(given: str, index: DQIndex, column: str | None = None) -> pa.Array:
    """The ids that an argument or option IDS names; ``-`` is standard input."""
    file = sys.stdin.buffer if given == "-" else given
    return read_id_list(file, integers=index.names.integers, column=column)
