"""Arrays that come in as arguments: finite 2-d matrices of the width that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex._types import Matrix
from dqindex.errors import InputError, NotNumbersError
from dqindex.vectors.array import is_stream
from dqindex.vectors.doorway import open_vectors
from dqindex.vectors.extent import Refused, check_longest, row_norms
from dqindex.vectors.memory import is_table
from dqindex.vectors.source import VectorSource


def check_matrix(
    X: Any, owner: str, *, width: int | None = None, learn: bool = False, any_norm: bool = False
) -> Matrix:
    """`X` as a finite 2-d array: float32 where it was float16 or float32, else float64.

    Parameters
    ----------
    X : array-like
    owner : str
        What messages call it.
    width : int, optional
        What it must have.
    learn : bool
        Something is learned from `X`: refuse it where all vectors are too short as well.
    any_norm : bool
        Vectors that float32 can't square are welcome: only their direction counts.

    Raises
    ------
    InputError
        If `X` is sparse, complex, not 2-d, empty, not of numbers, or not `width` wide.
    NonFiniteError
        If a value is NaN or infinite; the message names the first such row.
    RangeError
        If a row is longer than float32 can square; see `dqindex.vectors.extent`.
    """
    array = as_floats(X, owner)
    if array.ndim != 2:
        raise InputError(
            f"{owner}: expected a 2-d array (n, d), got shape {array.shape}. Reshape your data: "
            "X.reshape(1, -1) makes one vector a matrix"
        )
    if array.shape[0] == 0:
        raise InputError(
            f"{owner}: 0 sample(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    if array.shape[1] == 0:
        raise InputError(
            f"{owner}: 0 feature(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    if width is not None:
        check_width(array.shape[1], owner, width)
    norms = row_norms(array)
    refused = Refused(owner, len(array))
    refused.look(
        array, np.where(np.isfinite(array).all(axis=1), 0, np.inf) if any_norm else norms, 0
    )
    refused.throw()
    if learn:
        check_longest(float(norms.max()), owner)
    return array


def check_blocks(X: Any, owner: str, width: int) -> tuple[int, Iterator[Matrix]]:
    """The number of rows of `X`, and these in blocks that `check_matrix` would allow.

    What is no array is read as the blocks are, and never in memory as a whole. If a row can't be
    used no block with it or after it comes, and all are read to say how many there are.

    Raises
    ------
    InputError, NonFiniteError, RangeError
        As `check_matrix`.
    """
    if not _is_read_by_blocks(X):
        array = check_matrix(X, owner, width=width)
        return len(array), iter([array])
    source = open_vectors(X)
    check_width(source.d, owner, width)
    return source.n, _checked_blocks(source, owner)


def _checked_blocks(source: VectorSource, owner: str) -> Iterator[Matrix]:
    refused, start = Refused(owner, source.n), 0
    for window in source._windows(source.default_block_rows()):
        block = as_floats(window, owner)
        refused.look(block, row_norms(block), start)
        start += len(block)
        if not refused:
            yield block
    refused.throw()


def _is_read_by_blocks(X: Any) -> bool:
    """Tables, tensors, streams: what the doorway opens, and numpy makes no array of in place."""
    return isinstance(X, VectorSource) or is_table(X) or hasattr(X, "detach")


def as_floats(X: Any, owner: str) -> Matrix:
    """`X` as an array: float32 where it was float16 or float32, else float64.

    Raises
    ------
    InputError
        If it is complex, or not of numbers.
    """
    try:
        array = _as_array(X, owner)
        if np.iscomplexobj(array):
            raise InputError(f"{owner}: Complex data not supported; give real numbers")
        if array.dtype.kind in "mM":
            raise InputError(f"{owner}: dtype {array.dtype} is not a number; give real numbers")
        if array.dtype in (np.float32, np.float64):
            return array
        return array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        words = " ".join(str(error).split())[:300]
        raise NotNumbersError(f"{owner}: is not an array of numbers ({words})") from None


def _as_array(X: Any, owner: str) -> npt.NDArray[Any]:
    """What numpy can make an array of as that; tables, tensors and streams by the doorway."""
    if hasattr(X, "tocsr"):
        raise InputError(f"{owner}: sparse input is not supported; give a dense array")
    if _is_read_by_blocks(X):
        source = open_vectors(X)
        return np.concatenate(list(source._windows(source.default_block_rows())))
    if is_stream(X):
        raise NotNumbersError(
            f"{owner}: is given a {type(X).__name__}, which is not an array of numbers; "
            f"open_vectors reads generators and other streams"
        )
    return np.asarray(X)


def check_width(found: int, owner: str, width: int) -> None:
    """Refuse a matrix that is `found` wide, and not `width`.

    Raises
    ------
    InputError
    """
    if found != width:
        raise InputError(
            f"X has {found} features, but {owner} is expecting {width} features as input"
        )
