"""Ids that are looked for in an index or a map, which may lack some: any integers, or text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex.errors import InputError
from dqindex.vectors.ids import INT64_MAX, as_ids, written

# Integers that no Arrow type holds stay Python's own.
Sought: TypeAlias = "pa.Array | list[int]"


def sought(ids: Any, what: str, *, integers: bool, where: str = "index") -> Sought:
    """Any array-like of ids as an Arrow array of integers or of text, or a list of integers.

    Parameters
    ----------
    ids : array-like
    what : str
        For messages.
    integers : bool
        Whether the ids that are there are integers; else they are text.
    where : str
        What holds them, for messages.

    Raises
    ------
    InputError
        If they are something else, or of the other kind than those that are there.
    """
    ids = list(ids) if isinstance(ids, Iterator | set | frozenset) else ids
    # An array without dimensions has no length.
    if getattr(ids, "shape", None) != () and hasattr(ids, "__len__") and not len(ids):
        return pa.array([], pa.int64())
    given: Any
    try:
        given = as_ids(ids, what)
    except InputError:
        given = [] if isinstance(ids, str | bytes | bytearray | Mapping) else _large(ids)
        if not given:
            raise
    wanted = "integers" if integers else "strings"
    kind = "integers" if isinstance(given, list) else given.type
    if (kind == "integers" or pa.types.is_integer(kind)) != integers:
        raise InputError(
            f"{what}: are {kind}, and the ids of this {where} are {wanted}; give {wanted}"
        )
    if isinstance(given, pa.Array) and given.null_count:
        raise InputError(f"{what}: {given.null_count} of them are missing; leave them out")
    return given


def _large(ids: Any) -> list[int]:
    """What are integers all, of which one is beyond int64; else nothing."""
    try:
        items = list(ids)
    except TypeError:
        return []
    if not all(isinstance(one, int | np.integer) and not isinstance(one, bool) for one in items):
        return []
    values = [int(one) for one in items]
    beyond = any(not -INT64_MAX - 1 <= one <= INT64_MAX for one in values)
    return values if beyond else []


def in_type(given: Sought, kind: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Integers as numpy's int64 or uint64, and which of them that type holds; the others are 0."""
    least, most = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    if isinstance(given, list):
        held: npt.NDArray[np.bool_] = np.array([least <= one <= most for one in given], np.bool_)
        return np.array([one if least <= one <= most else 0 for one in given], dtype=kind), held
    values = np.asarray(given.to_numpy(zero_copy_only=False))
    held = np.ones(len(values), np.bool_)
    if not np.can_cast(values.dtype, kind):
        held = values <= most if values.dtype == np.uint64 else values >= 0
        values = np.where(held, values, values.dtype.type(0))
    return values.astype(kind, copy=False), held


def told(given: Sought, place: int) -> str:
    """The id at `place` as a message shows it."""
    one = given[place]
    return written(one.as_py() if isinstance(one, pa.Scalar) else one)
