"""Ids of a catalogue: distinct integers or strings, kept as an Arrow array.

Whatever integer type goes in stays: ``int8`` to ``uint64``. Parts of a set whose integer types
differ are given the one that holds them all. Text is UTF-8: ``string``, or ``large_string`` where
it is more than `TEXT_LIMIT` bytes, which ``string`` cannot hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dqindex.errors import DQIndexError, InputError
from dqindex.vectors.id_hash import id_hashes

# Offsets of `string` are int32.
TEXT_LIMIT = 2**31 - 1
INT64_MAX = 2**63 - 1
# What pyarrow and numpy raise on values that are no ids.
CONVERSION_ERRORS = (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError)


def check_ids(ids: Any, n: int, name: str) -> pa.Array:
    """`ids` as an Arrow array of `n` distinct integers or strings of the type they came in.

    Raises
    ------
    InputError
        If the type is another, an id is missing or stands twice, or the number is not `n`.
    """
    chunked = _to_arrow(ids, name)
    if len(chunked) != n:
        raise InputError(f"{name}: {len(chunked)} ids for {n} vectors; give one id a vector")
    if chunked.null_count:
        row = pc.index(pc.is_null(chunked), True).as_py()
        raise InputError(
            f"{name}: {chunked.null_count} ids are missing, first row {row}; fill them"
        )
    array = _join(chunked)
    if has_twice(array):
        counts = pc.value_counts(array)
        twice = counts.filter(pc.greater(counts.field("counts"), 1))
        first = twice[0].as_py()
        raise InputError(
            f"{name}: {len(twice)} ids occur more than once, for example {first['values']!r} "
            f"({first['counts']} times); ids must be distinct"
        )
    return array


def has_twice(ids: pa.Array) -> bool:
    """Whether an id stands more than once; the set that Arrow would make has 160 bytes an id."""
    if pa.types.is_integer(ids.type):
        return _has_equal(np.asarray(ids))
    # Of equal hashes, which a set of distinct ids hardly ever has, Arrow says more.
    return _has_equal(id_hashes(ids, 0)) and bool(pc.count_distinct(ids).as_py() != len(ids))


def _has_equal(numbers: npt.NDArray[Any]) -> bool:
    ordered = np.sort(numbers)
    return bool((ordered[1:] == ordered[:-1]).any())


def as_ids(ids: Any, name: str) -> pa.Array:
    """Any array-like of integers or text as one Arrow array; it may hold one twice.

    Raises
    ------
    InputError
        If they are something else.
    """
    return _join(_to_arrow(ids, name))


def unify(parts: Sequence[tuple[str, pa.ChunkedArray]]) -> pa.ChunkedArray:
    """The ids of several parts, given as (name, ids), in one type that holds them all.

    Raises
    ------
    InputError
        If one part has integers and another has text; the message names both.
    """
    arrays = [(name, _plain(ids, name)) for name, ids in parts]
    first_name, first = arrays[0]
    for name, ids in arrays:
        if pa.types.is_integer(ids.type) != pa.types.is_integer(first.type):
            raise InputError(
                f"{name}: its ids are {ids.type} where those of {first_name} are {first.type}; "
                "store them in one type"
            )
    kinds = {ids.type for _, ids in arrays}
    kind = first.type
    if len(kinds) > 1:
        kind = pa.large_string()
        if pa.types.is_integer(first.type):
            kind = _common_integer([ids for _, ids in arrays], first_name)
    return pa.chunked_array([chunk for _, ids in arrays for chunk in ids.cast(kind).chunks], kind)


def _common_integer(arrays: list[pa.ChunkedArray], name: str) -> pa.DataType:
    """int64 where it holds every id, else uint64."""
    bounds = [pc.min_max(ids) for ids in arrays if len(ids) > ids.null_count]
    lowest = min((bound["min"].as_py() for bound in bounds), default=0)
    highest = max((bound["max"].as_py() for bound in bounds), default=0)
    if highest <= INT64_MAX:
        return pa.int64()
    if lowest >= 0:
        return pa.uint64()
    raise InputError(
        f"{name}: the ids of its parts go from {lowest} to {highest}, which no integer type of 64 "
        "bits holds; store them as strings"
    )


def _to_arrow(ids: Any, name: str) -> pa.ChunkedArray:
    """Any array-like of ids as Arrow, of a type that can be an id."""
    try:
        return _plain(_converted(ids, name), name)
    except DQIndexError:
        raise
    except CONVERSION_ERRORS:
        raise InputError(_refused(ids, name)) from None


def refuse_masked(ids: Any, name: str) -> None:
    """Refuse an array of numpy that masks some of its values.

    Raises
    ------
    InputError
    """
    if isinstance(ids, np.ma.MaskedArray) and np.ma.is_masked(ids):
        raise InputError(f"{name}: has masked values; leave them out, with .compressed()")


def _converted(ids: Any, name: str) -> Any:
    if isinstance(ids, str | bytes | bytearray | Mapping):
        raise InputError(f"{name}: the ids are {written(ids)}; give a list of integers or strings")
    refuse_masked(ids, name)
    if isinstance(ids, pa.Array | pa.ChunkedArray):
        return ids
    if isinstance(ids, memoryview):
        ids = np.asarray(ids)
    if isinstance(ids, np.ndarray):
        if ids.ndim != 1:
            raise InputError(f"{name}: the ids have shape {ids.shape}; give them in one dimension")
        if ids.dtype.kind in "iuf":
            ids = np.ascontiguousarray(ids, dtype=ids.dtype.newbyteorder("="))
    elif hasattr(ids, "__arrow_c_stream__"):
        return pa.chunked_array(ids)
    elif hasattr(ids, "__next__"):
        ids = list(ids)
    try:
        return pa.array(ids)
    except OverflowError:
        return pa.array(ids, pa.uint64())


def _refused(ids: Any, name: str) -> str:
    """What is wrong with ids that Arrow has no array for."""
    try:
        items = list(ids)
    except TypeError:
        return f"{name}: the ids are {written(ids)}; give a list of integers or strings"
    kinds = (int | np.integer, str)
    for place, one in enumerate(items):
        if isinstance(one, bool) or not isinstance(one, int | np.integer | str):
            return f"{name}: the ids hold {written(one)} at place {place}; give integers or strings"
    first = [next((one for one in items if isinstance(one, kind)), None) for kind in kinds]
    if None not in first:
        one, other = map(written, first)
        return f"{name}: the ids hold an integer ({one}) and text ({other}); give one type"
    for one in items:
        if not isinstance(one, str) and not -(2**63) <= one < 2**64:
            return f"{name}: the ids hold {written(one)}, beyond 64 bits; store them as strings"
    if first[0] is not None and min(items) < 0 and max(items) > INT64_MAX:
        ends = f"{min(items)} to {max(items)}"
        return (
            f"{name}: the ids go from {ends}, which no integer type of 64 bits holds; store them "
            "as strings"
        )
    return f"{name}: the ids are not plain integers or strings"


def written(one: Any) -> str:
    """A value as a message shows it: numpy's names for its types say nothing here."""
    text = repr(one.item() if isinstance(one, np.generic) else one)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _plain(array: Any, name: str) -> pa.ChunkedArray:
    """Dictionaries and views decoded; what is neither integers nor text is refused."""
    if isinstance(array, pa.Array):
        array = pa.chunked_array([array])
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        array = pa.chunked_array([chunk.storage for chunk in array.chunks], kind.storage_type)
        kind = array.type
    if pa.types.is_dictionary(kind):
        if str(kind.value_type) == "string_view":
            # Arrow decodes none of views.
            chunks = [_without_views(chunk) for chunk in array.chunks]
            array = pa.chunked_array(chunks, pa.dictionary(kind.index_type, pa.large_string()))
        # The text that a dictionary spells out may be longer than `string` can hold.
        kind = pa.large_string() if _is_text(kind.value_type) else kind.value_type
        array = array.cast(kind)
    elif _is_text(kind) and kind not in (pa.string(), pa.large_string()):
        kind = pa.large_string()
        array = array.cast(kind)
    if not (pa.types.is_integer(kind) or _is_text(kind)):
        raise InputError(f"{name}: ids of type {kind} are not supported; use integers or strings")
    return array


def _without_views(array: pa.DictionaryArray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(array.indices, array.dictionary.cast(pa.large_string()))


def _is_text(kind: pa.DataType) -> bool:
    views = getattr(pa.types, "is_string_view", None)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (views is not None and views(kind))
    )


def _join(array: pa.ChunkedArray) -> pa.Array:
    """One array: `string` where the text fits, else `large_string`."""
    kind = array.type
    if _is_text(kind):
        length = pc.sum(pc.binary_length(array).cast(pa.int64())).as_py() or 0
        kind = pa.string() if length <= TEXT_LIMIT else pa.large_string()
    if array.num_chunks == 1:
        return array.chunk(0).cast(kind)
    return pa.concat_arrays(array.cast(kind).chunks or [pa.array([], kind)])
