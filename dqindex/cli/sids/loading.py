"""A map with its model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from dqindex.cli import options
from dqindex.cli.terminal import say
from dqindex.errors import StorageError
from dqindex.places.place import place, shown
from dqindex.quantizer.model import DQModel
from dqindex.sids.formats import WITHOUT_ITEMS, form_of
from dqindex.sids.map_file import model_beside
from dqindex.sids.semantic_ids import SemanticIds, read_sids
from dqindex.sids.vocabulary import LC_REC
from dqindex.storage.lock import WAIT_SECONDS, exclusive

model = click.option(
    "--model",
    "model_path",
    metavar="MODEL",
    type=options.PATH,
    help="The model that made the map.  [default: the one that 'extract' left beside it]",
)

priority = click.option(
    "--priority",
    metavar="COLUMN",
    help="Column of numbers, such as sales or clicks: of several items with the same tokens, the "
    "one with the largest number keeps them.  [default: the nearest to its codewords]",
)


@contextmanager
def replacing(path: str, output: str) -> Iterator[None]:
    """Hold the map at `path` while it is read and, where `output` is the same file, replaced.

    Two commands that add to one map at once then do so one after the other, and lose nothing.

    Raises
    ------
    BusyError
        If another process holds it for longer than a minute; at a URI, if another has replaced
        it meanwhile.
    """
    one, other = place(path), place(output)
    if isinstance(one, Path) and isinstance(other, Path):
        same = one.is_file() and other.exists() and one.samefile(other)
    else:
        same = one == other
    if not same:
        yield
        return
    with exclusive(one, wait=WAIT_SECONDS):
        yield


def read_any(
    path: str,
    *,
    form: str | None = None,
    id_column: str | None = None,
    codes_column: str | None = None,
    code_sizes: tuple[int, ...] = (),
    transpose: bool = False,
    token: str = LC_REC,
    begin: str = "",
    end: str = "",
) -> SemanticIds:
    """The map, own or foreign, that the options of `options.foreign` describe."""
    return read_sids(
        path,
        form,
        id_column=id_column,
        codes_column=codes_column,
        code_sizes=code_sizes or None,
        transpose=transpose,
        token=token,
        begin=begin,
        end=end,
    )


def tell_rows(path: str, form: str | None, quiet: bool) -> None:
    """Say what the items of a map are where its format holds IDs alone."""
    form = form or form_of(path)
    if form in WITHOUT_ITEMS:
        say(f"{path}: {form} holds no items; their names here are the rows of its IDs", quiet)


def with_model(sids: SemanticIds, path: str, model_path: str | None) -> SemanticIds:
    """`sids`, read from `path`, with the model that is given, or else the one beside it, if any.

    Raises
    ------
    StorageError, IntegrityError
        If the model that is given is missing, or not the one that made the map.
    """
    beside = model_beside(path, sids.fingerprint)
    if model_path is None and not (sids.fingerprint and beside.is_file()):
        return sids
    return sids.attach(DQModel.load(model_path or beside))


def load_with_model(path: str, model_path: str | None) -> SemanticIds:
    """The map at `path` and the model that made it.

    Raises
    ------
    StorageError, IntegrityError
        If the model is missing, or another.
    """
    sids = with_model(SemanticIds.load(path), path, model_path)
    if sids.model is None:
        beside = model_beside(path, sids.fingerprint).name
        raise StorageError(f"{shown(path)}: its model is not beside it ({beside}); give --model")
    return sids
