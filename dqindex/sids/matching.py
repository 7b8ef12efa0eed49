"""Items of two catalogues, matched by their ids."""

from __future__ import annotations

import pyarrow as pa

from dqindex.errors import InputError
from dqindex.vectors.ids import unify


def in_one_type(ids: pa.Array, known: pa.Array, name: str) -> tuple[pa.Array, pa.Array]:
    """`ids` and `known` in the type of `known`, or in a wider one that holds both.

    Integers of any widths match by value; text never matches a number.

    Raises
    ------
    InputError
        If one has integers and the other has text; it calls `ids` those of `name`.
    """
    if ids.type == known.type:
        return ids, known
    if pa.types.is_integer(ids.type) != pa.types.is_integer(known.type):
        raise InputError(
            f"{name}: ids of type {ids.type}, those of the map are {known.type}; store them in "
            "one type"
        )
    try:
        return ids.cast(known.type), known
    except pa.ArrowException:
        both = unify([("the map", pa.chunked_array([known])), (name, pa.chunked_array([ids]))])
        joined = pa.concat_arrays(both.chunks)
        return joined[len(known) :], joined[: len(known)]
