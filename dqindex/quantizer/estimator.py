"""scikit-learn's estimator contract, without importing scikit-learn."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, TypeVar

from dqindex._parameters import Rule, check
from dqindex.errors import InputError, NotFittedError
from dqindex.quantizer.feature_names import Names, check_names

Self = TypeVar("Self", bound="Estimator")


class Estimator:
    """The constructor stores, ``fit`` learns ``name_``; parameters are declared as data."""

    _parameters: ClassVar[dict[str, Rule]] = {}
    _fitted: ClassVar[str]
    feature_names_in_: Names

    @classmethod
    def parameter_names(cls) -> list[str]:
        """Names of the constructor's parameters, in its order."""
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters and their values."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    def set_params(self: Self, **params: Any) -> Self:
        """Set constructor parameters by name and return self."""
        for name, value in params.items():
            if name not in self.parameter_names():
                raise InputError(
                    f"{type(self).__name__} has no parameter {name!r}; it has "
                    + ", ".join(self.parameter_names())
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
        for name, rule in self._parameters.items():
            check(type(self).__name__, name, getattr(self, name), rule)

    def _remember_names(self, names: Names | None) -> None:
        """Keep the names of the columns that are learned from, or forget those of another fit."""
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = names

    def _check_names(self, names: Names | None) -> None:
        check_names(names, getattr(self, "feature_names_in_", None), type(self).__name__)

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit first")
