"""Settings of a model that is learned of many machines' rows."""

from __future__ import annotations

from typing import Any

from dqindex.errors import InputError
from dqindex.quantizer.family import new_model
from dqindex.quantizer.model import DQModel
from dqindex.sids.unique import REASSIGNING, check_capacity, tokens_kept

NAMES = (
    "method",
    "n_subspaces",
    "n_codewords",
    "coarse",
    "polish",
    "beam",
    "block_widths",
    "block_scale",
    "max_share",
    "balance",
    "seed",
)


def model_of(settings: dict[str, Any]) -> DQModel:
    """An unfitted model with those settings of `dqindex.semantic_ids`, its defaults for the others.

    Raises
    ------
    InputError
        If there is no such setting, or one has no usable value.
    """
    for name in settings:
        if name not in NAMES:
            raise InputError(f"no setting {name!r}; a model has {', '.join(NAMES)}")
    model = new_model(**{"method": "dq", "n_subspaces": 8, **settings})
    model._check_params()
    return model


def chosen(
    model: DQModel | None, settings: dict[str, Any], unique: str, keep: int | None
) -> tuple[DQModel, int]:
    """The model that was given or described, and the tokens that no collision may change.

    Raises
    ------
    InputError
        If it is given and described, or does not have so many tokens.
    """
    if model is None:
        model = model_of(settings)
    elif settings:
        raise InputError(f"{', '.join(settings)}: the model has these already; leave them out")
    if unique not in REASSIGNING:
        return model, 0
    return model, tokens_kept(keep, len(model.coarse), model.level_sizes())


def check_room(model: DQModel, n: int, unique: str, cap: int) -> None:
    """Refuse more items than there are IDs, where each gets one.

    Raises
    ------
    InputError
    """
    if unique in REASSIGNING:
        check_capacity(n, model.level_sizes(), cap)


def check_width(model: DQModel, d: int) -> None:
    """Refuse vectors of another width than a fitted model's.

    Raises
    ------
    InputError
    """
    if model.n_features_in_ != d:
        raise InputError(
            f"the table has vectors of {d} values, the model was fitted on {model.n_features_in_}"
        )


def refuse_repeated(number: int, first: Any, times: int) -> None:
    """Say that `number` ids occur more than once, of which `first` is one.

    Raises
    ------
    InputError
    """
    raise InputError(
        f"{number} ids occur more than once, for example {first!r} ({times} times); ids must be "
        "distinct"
    )
