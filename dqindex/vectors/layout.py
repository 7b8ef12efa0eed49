"""Which columns of a table hold the vectors and the ids, and how their rows become a matrix."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex.errors import InputError

ID_NAMES = ("item_id", "id")


class Layout(NamedTuple):
    """What is read of a table.

    Attributes
    ----------
    vectors : list of str
        The one list column; or, in a wide table, the columns of numbers, one a dimension.
    wide : bool
    ids : str or None
    d : int or None
        Width; None for lists whose type does not say it.
    dtype : numpy.dtype
        As stored.
    unused : list of str
        Columns that might hold ids and are not read.
    """

    vectors: list[str]
    wide: bool
    ids: str | None
    d: int | None
    dtype: np.dtype[Any]
    unused: list[str]


def choose(
    schema: pa.Schema,
    name: str,
    vector_column: str | None,
    id_column: str | None,
    constants: Collection[str] = (),
    index: str | None = None,
) -> Layout:
    """The layout of a table of this `schema`.

    `constants` are columns that its path gives, `index` is what a frame names its rows by: neither
    is ever a dimension.

    Raises
    ------
    InputError
        If a column is missing, or it is not clear which is meant.
    """
    ids = _id_column(schema, name, id_column, constants)
    lists = [field.name for field in schema if is_list(field.type)]
    if vector_column is None and not lists:
        return _wide(schema, name, ids, {*constants, index}, index)
    if vector_column is None and len(lists) > 1:
        raise InputError(
            f"{name}: name the vector column (--vector-column); it has {_told(schema)}"
        )
    column = lists[0] if vector_column is None else vector_column
    field = find_field(schema, column, name)
    if not is_list(field.type):
        raise InputError(f"{name}: column {column!r} is {field.type}, not a list of numbers")
    order = getattr(field.type, "permutation", None)
    if order is not None and list(order) != sorted(order):
        raise InputError(
            f"{name}: column {column!r} holds tensors whose axes are stored in the order "
            f"{list(order)}; store them in their own order"
        )
    width, element = list_type(field.type)
    unused = [
        other.name
        for other in schema
        if _may_be_ids(other.type) and other.name not in constants and other.name != column
    ]
    return Layout([column], False, ids, width, _dtype(element, name, column), unused)


def find_field(schema: pa.Schema, column: str, name: str) -> pa.Field:
    """The one field of that name.

    Raises
    ------
    InputError
    """
    places = schema.get_all_field_indices(column)
    if not places:
        raise InputError(f"{name}: no column {column!r}; it has {', '.join(schema.names)}")
    if len(places) > 1:
        raise InputError(f"{name}: {len(places)} columns are called {column!r}; rename them")
    return schema.field(places[0])


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold a vector in each row."""
    if isinstance(kind, pa.BaseExtensionType):
        return is_list(kind.storage_type)
    tests = ("is_fixed_size_list", "is_list", "is_large_list", "is_list_view", "is_large_list_view")
    # The views came with pyarrow 16.
    return any(getattr(pa.types, test, lambda _: False)(kind) for test in tests)


def list_type(kind: pa.DataType) -> tuple[int | None, pa.DataType]:
    """Width, where the type says it, and type of the values of a column of lists."""
    if isinstance(kind, pa.BaseExtensionType):
        return list_type(kind.storage_type)
    width = int(kind.list_size) if pa.types.is_fixed_size_list(kind) else None
    return width, kind.value_type


def matrix(
    batch: pa.RecordBatch,
    layout: Layout,
    d: int,
    fail: Callable[[int, str], Exception] | None,
) -> npt.NDArray[Any]:
    """The vectors of a batch, (n, d).

    Parameters
    ----------
    fail : callable or None
        Makes the error for a row of the batch that is null, of another width, or holds a null,
        from the row and what is wrong with it. None: such rows are made NaN.
    """
    if layout.wide:
        return _from_columns(batch, layout, fail)
    return _from_lists(batch.column(batch.schema.get_field_index(layout.vectors[0])), d, fail)


def _from_lists(
    column: pa.Array, d: int, fail: Callable[[int, str], Exception] | None
) -> npt.NDArray[Any]:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    n = len(column)
    good = _usable_lists(column, d, fail)
    if not good.all():
        column = column.filter(pa.array(good))
    values = column.flatten()
    if values.null_count:
        holes = _is_null(values).reshape(-1, d).any(axis=1)
        if fail is not None:
            raise fail(int(np.argmax(holes)), "holds a null; fill or remove it")
        good[good] = ~holes
        values = column.filter(pa.array(~holes)).flatten()
    rows = np.asarray(values.to_numpy(zero_copy_only=False)).reshape(-1, d)
    if good.all():
        return rows
    out = np.full((n, d), np.nan, dtype=np.result_type(rows.dtype, np.float32))
    out[good] = rows
    return out


def _usable_lists(
    column: pa.Array, d: int, fail: Callable[[int, str], Exception] | None
) -> npt.NDArray[np.bool_]:
    """Which rows are there, and `d` wide."""
    good = np.ones(len(column), dtype=bool)
    if column.null_count:
        good = ~_is_null(column)
        if fail is not None:
            raise fail(int(np.argmin(good)), "is null; fill or remove it")
    if pa.types.is_fixed_size_list(column.type):
        return good
    widths = np.asarray(column.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False))
    other = np.flatnonzero(good & (widths != d))
    if other.size and fail is not None:
        row = int(other[0])
        raise fail(
            row, f"has {widths[row]} values where the first has {d}; all must have one width"
        )
    good[other] = False
    return good


def _is_null(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=bool)


def _from_columns(
    batch: pa.RecordBatch, layout: Layout, fail: Callable[[int, str], Exception] | None
) -> npt.NDArray[Any]:
    dtype = layout.dtype if fail is not None else np.result_type(layout.dtype, np.float32)
    out = np.empty((batch.num_rows, len(layout.vectors)), dtype=dtype)
    for place, name in enumerate(layout.vectors):
        column = batch.column(batch.schema.get_field_index(name))
        if not column.null_count:
            out[:, place] = column.to_numpy(zero_copy_only=False)
            continue
        missing = _is_null(column)
        if fail is not None:
            row = int(np.argmax(missing))
            raise fail(row, f"holds a null in column {name!r}; fill or remove it")
        out[:, place] = column.fill_null(0).to_numpy(zero_copy_only=False)
        out[missing, place] = np.nan
    return out


def _id_column(
    schema: pa.Schema, name: str, column: str | None, constants: Collection[str]
) -> str | None:
    if column is None:
        # A folder's name says nothing of rows, unless it is asked to.
        stored = [field for field in schema.names if field not in constants]
        column = next((known for known in ID_NAMES if known in stored), None)
        if column is not None:
            find_field(schema, column, name)
        return column
    if column not in schema.names:
        raise InputError(f"{name}: no id column {column!r}; it has {', '.join(schema.names)}")
    find_field(schema, column, name)
    return column


def _wide(
    schema: pa.Schema,
    name: str,
    ids: str | None,
    aside: Collection[str | None],
    index: str | None,
) -> Layout:
    """One column of numbers a dimension; what may be an id is never taken for one."""
    fields = [field for field in schema if field.name != ids and field.name not in aside]
    if not fields:
        raise InputError(f"{name}: has no column of vectors; it has {_told(schema) or 'none'}")
    hint = "name the id column (--id-column), and leave out columns that are no dimension"
    for field in fields:
        find_field(schema, field.name, name)
        if not (pa.types.is_floating(field.type) or pa.types.is_integer(field.type)):
            raise InputError(
                f"{name}: without a column of lists, each column is a dimension, but "
                f"{field.name!r} is {field.type}; {hint}"
            )
    whole = [field.name for field in fields if pa.types.is_integer(field.type)]
    if whole and len(whole) < len(fields):
        raise InputError(
            f"{name}: column {whole[0]!r} has integers where others have fractions, so it is not "
            f"a dimension; {hint}"
        )
    if whole and ids is None and not _counts_up(whole):
        raise InputError(
            f"{name}: any of its columns of integers ({', '.join(whole[:4])}, ...) may hold ids; "
            f"{hint}"
        )
    dtypes = [_dtype(field.type, name, field.name) for field in fields]
    names = [field.name for field in fields]
    unused = [index] if index is not None and ids is None else []
    return Layout(names, True, ids, len(names), np.result_type(*dtypes), unused)


def _counts_up(names: list[str]) -> bool:
    """Whether the names are those of dimensions: 0, 1, 2 or x_1, x_2, x_3."""
    parts = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    if any(part is None for part in parts):
        return False
    stems = {part[1] for part in parts if part is not None}
    numbers = [int(part[2]) for part in parts if part is not None]
    return len(stems) == 1 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _dtype(element: pa.DataType, name: str, column: str) -> np.dtype[Any]:
    if not (pa.types.is_floating(element) or pa.types.is_integer(element)):
        raise InputError(
            f"{name}: column {column!r} holds {element}, not numbers; store floats or integers"
        )
    # Some versions of pyarrow import pandas for `to_pandas_dtype`.
    dtype: np.dtype[Any] = pa.array([], element).to_numpy(zero_copy_only=False).dtype
    return dtype


def _may_be_ids(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _may_be_ids(kind.value_type)
    return bool(pa.types.is_integer(kind)) or str(kind) in ("string", "large_string", "string_view")


def _told(schema: pa.Schema) -> str:
    told = ", ".join(f"{field.name} ({field.type})" for field in schema)
    return told if len(told) < 400 else f"{told[:400]}..."
