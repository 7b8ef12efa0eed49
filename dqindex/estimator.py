"""scikit-learn's estimator contract, without importing scikit-learn."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from dqindex.errors import InputError, NonFiniteError, NotFittedError

Matrix = npt.NDArray[np.floating[Any]]
Self = TypeVar("Self", bound="Estimator")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def integer(at_least: int, *, or_none: bool = False) -> tuple[Callable[[Any], bool], str]:
    """An integer of at least `at_least`."""
    text = f"an integer of at least {at_least}" + (" or None" if or_none else "")
    return (
        lambda value: (or_none and value is None) or (_is_integer(value) and value >= at_least),
        text,
    )


def integers(at_least: int) -> tuple[Callable[[Any], bool], str]:
    """An integer, or a sequence of them, of at least `at_least`."""

    def check(value: Any) -> bool:
        values = list(value) if isinstance(value, list | tuple | np.ndarray) else [value]
        return all(_is_integer(one) and one >= at_least for one in values)

    return check, f"an integer of at least {at_least}, or a list of them"


def one_of(*options: str) -> tuple[Callable[[Any], bool], str]:
    """One of a few words."""
    return lambda value: value in options, "one of " + ", ".join(map(repr, options))


def boolean() -> tuple[Callable[[Any], bool], str]:
    """True or False."""
    return lambda value: isinstance(value, bool | np.bool_), "True or False"


class Estimator:
    """The constructor stores, ``fit`` learns ``name_``; parameters are declared as data."""

    _parameters: ClassVar[dict[str, tuple[Callable[[Any], bool], str]]] = {}
    _fitted: ClassVar[str]

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters and their values."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self: Self, **params: Any) -> Self:
        """Set constructor parameters by name and return self."""
        for name, value in params.items():
            if name not in self._names():
                raise InputError(
                    f"{type(self).__name__} has no parameter {name!r}; it has "
                    + ", ".join(self._names())
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if repr(value) != repr(defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, self._fitted)

    def _check_params(self) -> None:
        for name, (valid, text) in self._parameters.items():
            value = getattr(self, name)
            if not valid(value):
                raise InputError(f"{type(self).__name__}: {name} is {value!r}; it must be {text}")

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit first")


def check_matrix(X: Any, owner: str, *, width: int | None = None) -> Matrix:
    """`X` as a finite 2-d array: float32 where it was float16 or float32, else float64.

    Raises
    ------
    InputError
        If `X` is sparse, complex, not 2-d, empty, or not `width` wide.
    NonFiniteError
        If a value is NaN or infinite; the message names the first such row.
    """
    if hasattr(X, "tocsr"):
        raise InputError(f"{owner}: sparse input is not supported; give a dense array")
    array = np.asarray(X)
    if np.iscomplexobj(array):
        raise InputError(f"{owner}: Complex data not supported; give real numbers")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32 if array.dtype == np.float16 else np.float64)
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
        check_width(array, owner, width)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise NonFiniteError(
            f"{owner}: {bad.size} of {len(array)} rows hold NaN or inf, first row {bad[0]}; "
            "remove or repair them"
        )
    return array


def check_width(array: npt.NDArray[Any], owner: str, width: int) -> None:
    """Refuse a matrix that is not `width` wide.

    Raises
    ------
    InputError
    """
    if array.shape[1] != width:
        raise InputError(
            f"X has {array.shape[1]} features, but {owner} is expecting {width} features as input"
        )
