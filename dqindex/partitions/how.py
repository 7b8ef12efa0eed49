"""How a published map was made, so that new items are treated likewise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dqindex.errors import InputError, IntegrityError, StorageError
from dqindex.places.place import shown
from dqindex.quantizer.model import DQModel
from dqindex.sids.extract import check_mode
from dqindex.sids.map_file import model_beside
from dqindex.sids.unique import REASSIGNING, tokens_kept, tokens_kept_before
from dqindex.storage.records import Record


class How(NamedTuple):
    """How a map was made, and goes on.

    Attributes
    ----------
    model : DQModel
    unique : str
    cap : int
    keep : int
        Tokens that no collision may change.
    """

    model: DQModel
    unique: str
    cap: int
    keep: int

    @property
    def taken(self) -> str:
        """The column whose tuples are taken."""
        return "base_codes" if self.unique == "suffix" else "codes"


def how_given(model: DQModel | None, unique: str | None, cap: int | None, keep: int | None) -> How:
    """How a map in a table goes on: as `semantic_ids` was told.

    Raises
    ------
    InputError
        If the model is not given, or a setting can't be.
    """
    if model is None:
        raise InputError("model: a table does not hold the model of the map; give the one it has")
    unique, cap = unique or "reassign", cap or 1
    check_mode(unique, cap, keep)
    kept = 0
    if unique in REASSIGNING:
        kept = tokens_kept(keep, len(model.coarse), model.code_sizes())
    return How(model, unique, cap, kept)


def how_stored(record: Record, name: str, model: DQModel, given: Sequence[object]) -> How:
    """How a map was made that says so in its `record`; messages call it `name`.

    `given` are settings that it makes superfluous.

    Raises
    ------
    InputError
        If one of them is given.
    IntegrityError
        If the model is another than the map's.
    """
    if any(one is not None for one in given):
        raise InputError("unique, cap, keep: the map says how it was made; leave them out")
    unique, keep = record["unique"], record.get("keep")
    fingerprint = record["fingerprint"]
    if model.fingerprint != fingerprint:
        raise IntegrityError(
            f"{name}: was made by model {fingerprint[:16] or 'unknown'}, this is model "
            f"{model.fingerprint[:16]}; give the model that made it"
        )
    if unique in REASSIGNING and keep is None:  # A map of an earlier version goes on as it was.
        keep = tokens_kept_before(len(model.coarse_), model.code_sizes())
    return How(model, unique, record["cap"], keep or 0)


def model_of_file(path: str, fingerprint: str) -> DQModel:
    """The model that was left beside a map.

    Raises
    ------
    StorageError, FileFormatError, IntegrityError
        If it is not there, or damaged.
    """
    beside = model_beside(path, fingerprint)
    if not beside.is_file():
        raise StorageError(
            f"{shown(path)}: its model is not beside it ({beside.name}); give it (model=)"
        )
    return DQModel.load(beside)
