"""``set_output``: what ``transform`` gives, as scikit-learn has it, a pandas or polars frame."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dqindex._types import Matrix
from dqindex.errors import MissingDependencyError

CONTAINERS = ("default", "pandas", "polars")


def in_container(values: Matrix, container: str, names: Any, like: Any) -> Any:
    """`values` as they are, or as a frame with columns `names`, and the index of `like`.

    Raises
    ------
    MissingDependencyError
        If the library of the frame is not installed.
    """
    if container == "default":
        return values
    try:
        library = import_module(container)
    except ImportError:
        raise MissingDependencyError(
            f"set_output(transform={container!r}) needs the package {container}; install it"
        ) from None
    if container == "polars":
        return library.DataFrame(values, schema=list(names), orient="row")
    index = like.index if isinstance(like, library.DataFrame) else None
    return library.DataFrame(values, columns=names, index=index, copy=False)
