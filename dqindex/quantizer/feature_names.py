"""Names of columns, as scikit-learn keeps them: used in the order in which they were learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex.errors import InputError, warn
from dqindex.vectors import open_vectors

Names = npt.NDArray[np.object_]
# Names that a message lists of each kind.
SHOWN = 5


def names_of(X: Any) -> Names | None:
    """Names of the dimensions of a frame, or source, whose columns all have names; else None."""
    columns = getattr(X, "columns", None)
    if columns is None or not all(isinstance(name, str) for name in columns):
        return None
    # Those that hold the vectors, without that of the ids.
    used = open_vectors(X).columns
    return None if used is None else np.array(used, dtype=object)


def check_names(names: Names | None, learned: Names | None, owner: str) -> None:
    """Refuse columns that are not those that were `learned`, in their order.

    Raises
    ------
    InputError

    Warns
    -----
    DQWarning
        If there are no names to compare with those that were learned.
    """
    if learned is None:
        return
    if names is None:
        warn(f"X does not have valid feature names, but {owner} was fitted with feature names")
        return
    if np.array_equal(names, learned):
        return
    text = f"{owner}: The feature names should match those that were passed during fit.\n"
    unseen, missing = sorted({*names} - {*learned}), sorted({*learned} - {*names})
    if unseen:
        text += "Feature names unseen at fit time:\n" + _listed(unseen)
    if missing:
        text += "Feature names seen at fit time, yet now missing:\n" + _listed(missing)
    if not unseen and not missing:
        text += "Feature names must be in the same order as they were in fit.\n"
    raise InputError(text)


def _listed(names: list[str]) -> str:
    shown = [f"- {name}\n" for name in names[:SHOWN]]
    return "".join(shown) + ("- ...\n" if len(names) > SHOWN else "")
