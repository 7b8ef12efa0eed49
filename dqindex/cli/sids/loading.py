"""A map with its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dqindex.sids.semantic_ids import SemanticIds

model = click.option(
    "--model",
    "model_path",
    metavar="MODEL",
    help="The model that made the map.  [default: the one that 'extract' left beside it]",
)


def load_with_model(path: str, model_path: str | None) -> SemanticIds:
    """The map at `path` and the model that made it.

    Raises
    ------
    StorageError, IntegrityError
        If the model is missing, or another.
    """
    from dqindex.errors import StorageError
    from dqindex.quantizer.model import DQModel
    from dqindex.sids.map_file import model_beside
    from dqindex.sids.semantic_ids import SemanticIds

    sids = SemanticIds.load(path)
    beside = model_beside(path, sids.fingerprint)
    if model_path is None and not (sids.fingerprint and beside.is_file()):
        raise StorageError(f"{path}: its model is not beside it ({beside.name}); give --model")
    return sids.attach(DQModel.load(model_path or beside))
