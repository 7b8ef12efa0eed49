"""What a parameter may be: rules as data, and the one place where a value is held against them."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

from dqindex.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

# No machine has more; libraries below end the process where they can't start as many.
MOST_THREADS = 4096
LARGEST_FLOAT32 = 3.4028234663852886e38
# A count beyond it is a slip: FAISS counts in 32 bits, and no memory holds as many of anything.
LARGEST_COUNT = 2**31 - 1
# What a file may say of bytes and rows: a place on a disk has 63 bits.
LARGEST_SIZE = 2**63 - 1
# Dimensions: a covariance of more is beyond 32 GiB.
LARGEST_WIDTH = 2**16
# Codewords: no code of FAISS has more than 24 bits.
LARGEST_CODEBOOK = 2**24
# Runs of one k-means from other starts.
MOST_RUNS = 1000

# How an error quotes a value: enough of it to be known again.
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = 200
_BRIEF.maxlist = _BRIEF.maxtuple = 20


class Rule(NamedTuple):
    """What a value must be, as a test and in words that follow "it must be"."""

    holds: Callable[[Any], bool]
    text: str


def or_none(rule: Rule) -> Rule:
    """What `rule` allows, or None."""
    return Rule(lambda value: value is None or rule.holds(value), f"{rule.text} or None")


def integer(at_least: int, at_most: int = LARGEST_COUNT) -> Rule:
    """An integer between two that are themselves allowed; numpy's count, booleans do not."""
    return Rule(
        lambda value: _is_integer(value) and at_least <= value <= at_most,
        f"an integer from {at_least} to {at_most}",
    )


def size(at_least: int) -> Rule:
    """What a file may say of bytes and rows."""
    return integer(at_least, LARGEST_SIZE)


def unbounded(at_least: int) -> Rule:
    """An integer of any length: a seed, or a number of which no more are used than there are."""
    return Rule(
        lambda value: _is_integer(value) and value >= at_least, f"an integer of at least {at_least}"
    )


def thread_count() -> Rule:
    """A number of threads, as many as OpenMP can be told; None for all CPUs."""
    return or_none(integer(1, MOST_THREADS))


def dimensions() -> Rule:
    """A number of dimensions, or of parts of them."""
    return integer(1, LARGEST_WIDTH)


def codewords() -> Rule:
    """A number of codewords."""
    return integer(1, LARGEST_CODEBOOK)


def integers(one: Rule) -> Rule:
    """A sequence of integers, each of which the rule `one` allows."""
    return Rule(
        lambda value: _is_sequence(value) and all(map(one.holds, value)),
        "a list of integers" + one.text.removeprefix("an integer"),
    )


def integer_or_integers(one: Rule) -> Rule:
    """An integer that the rule `one` allows, or a sequence of them."""
    some = integers(one)
    return Rule(
        lambda value: one.holds(value) or some.holds(value), f"{one.text}, or a list of them"
    )


def float32() -> Rule:
    """A number that float32 can hold."""
    return Rule(
        lambda value: _is_number(value) and abs(value) <= LARGEST_FLOAT32,
        f"a finite number of float32, from {-LARGEST_FLOAT32:.7g} to {LARGEST_FLOAT32:.7g}",
    )


def number(*, more_than: float = -math.inf, less_than: float = math.inf) -> Rule:
    """A finite number between two that are themselves excluded."""
    bounds = [f"more than {more_than:g}"] if more_than > -math.inf else []
    bounds += [f"less than {less_than:g}"] if less_than < math.inf else []
    return Rule(
        lambda value: _is_number(value) and more_than < value < less_than,
        " ".join(["a finite number", *([" and ".join(bounds)] if bounds else [])]),
    )


def number_at_least(least: float) -> Rule:
    """A finite number that is not below `least`."""
    return Rule(
        lambda value: _is_number(value) and value >= least, f"a finite number of at least {least:g}"
    )


def one_of(*options: str) -> Rule:
    """One of a few words."""
    return Rule(
        lambda value: isinstance(value, str) and value in options,
        "one of " + ", ".join(map(repr, options)),
    )


def boolean() -> Rule:
    """True or False."""
    return Rule(lambda value: type(value).__name__ in ("bool", "bool_"), "True or False")


def text() -> Rule:
    """Text."""
    return Rule(lambda value: isinstance(value, str), "text")


def path() -> Rule:
    """A path on this machine, or a URI."""
    return Rule(
        lambda value: (
            (isinstance(value, str | Path) or type(value).__name__ == "RemotePath")
            and str(value) != ""
        ),
        "a path",
    )


def callback() -> Rule:
    """Something that can be called."""
    return Rule(callable, "a function")


def instance(*kinds: type) -> Rule:
    """An object of one of `kinds`."""
    return Rule(
        lambda value: isinstance(value, kinds), " or ".join(f"a {kind.__name__}" for kind in kinds)
    )


def sequence(least: int = 1) -> Rule:
    """A list, a tuple or an array, of at least so many things."""
    return Rule(
        lambda value: (
            (isinstance(value, list | tuple) or getattr(value, "ndim", 0) > 0)
            and len(value) >= least
        ),
        f"a list of at least {least}" if least else "a list",
    )


def iterable() -> Rule:
    """Something that gives things one after another; text does not count."""
    return Rule(
        lambda value: hasattr(value, "__iter__") and not isinstance(value, str | bytes),
        "something to iterate over",
    )


def check(owner: str, name: str, value: Any, rule: Rule) -> None:
    """Refuse a `value` of the parameter `name` that `rule` does not allow.

    Raises
    ------
    InputError
    """
    if not rule.holds(value):
        raise InputError(f"{owner}: {name} is {_shown(value)}; it must be {rule.text}")


def checked(**rules: Rule) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that its arguments are held against `rules` before it runs."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs).arguments
            owner = function.__qualname__
            if "self" in given:
                # The class that a user knows, not the one of ours that it is made of.
                owner = f"{type(given['self']).__name__}.{function.__name__}"
            for name, rule in rules.items():
                if name in given:
                    check(owner, name, given[name], rule)
            return function(*args, **kwargs)

        return call

    return decorate


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # An integer that no float holds.
        return False


def _is_sequence(value: Any) -> bool:
    # An array as well, without importing numpy for it.
    return (isinstance(value, Sequence) and not isinstance(value, str | bytes)) or (
        hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1
    )


def _shown(value: Any) -> str:
    """A value as an error quotes it: not without end."""
    try:
        return _BRIEF.repr(value)
    except ValueError:  # An integer of more digits than Python writes.
        return f"an integer of {value.bit_length():,} bits"
