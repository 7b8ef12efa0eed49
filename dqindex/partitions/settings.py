"""Settings of a model that is learned of many machines' rows."""

from __future__ import annotations

from typing import Any

from dqindex.errors import InputError
from dqindex.quantizer.family import new_model
from dqindex.quantizer.model import DQModel

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
