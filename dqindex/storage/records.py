"""JSON of ours: read, sealed with a checksum, and held field by field against its schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from dqindex._parameters import Rule
from dqindex.errors import FileFormatError, IntegrityError

Record = dict[str, Any]
SEAL = "checksum"


def any_number() -> Rule:
    """A number, also NaN: what is not known."""
    return Rule(
        lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number"
    )


def anything() -> Rule:
    """Any value."""
    return Rule(lambda value: True, "anything")


class Each(NamedTuple):
    """A list of values of one shape."""

    shape: Shape


class Named(NamedTuple):
    """An object with any names, whose values are of one shape."""

    shape: Shape


class Maybe(NamedTuple):
    """A field that may be missing, or null."""

    shape: Shape


# What a value must be: a rule; an object with fields of known names (others may be there too); or
# one of the above.
Shape: TypeAlias = Rule | Mapping[str, "Shape"] | Each | Named | Maybe


class Format(NamedTuple):
    """A kind of record that is written to disk, and what it must hold when it is read.

    Attributes
    ----------
    name : str
        The value of its field ``format``.
    version : int
        The newest format version, which is written; all since 1 are read.
    what : str
        What a file of it is called in messages, with its article.
    short : str
        The same in a word: "index format 3".
    remedy : str
        What to do with a damaged one.
    schema : mapping
        Field to shape, beside ``format`` and ``format_version``.
    sealed : int
        The first format version whose records carry a checksum of all their fields.
    """

    name: str
    version: int
    what: str
    short: str
    remedy: str
    schema: Mapping[str, Shape]
    sealed: int = 2

    def write(self, record: Record) -> Record:
        """The record with its format, its version and its checksum."""
        whole = {"format": self.name, "format_version": self.version, **record}
        return {**whole, SEAL: seal(whole)}

    def parse(self, data: bytes | str, source: str) -> Record:
        """Read JSON text and `check` it.

        Raises
        ------
        FileFormatError, IntegrityError
        """
        try:
            record = json.loads(data)
        except UnicodeDecodeError:
            raise FileFormatError(f"{source}: not JSON, and no text; {self.remedy}") from None
        # JSON nested too deep ends in a RecursionError.
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{source}: not JSON ({error}); {self.remedy}") from None
        return self.check(record, source)

    def check(self, record: Any, source: str) -> Record:
        """`record`, if it is one of a known version, whole, and as the schema says.

        Raises
        ------
        FileFormatError
            If it is another thing, or lacks a field, or a field holds what it can't hold.
        IntegrityError
            If it is not what was written.
        """
        if not isinstance(record, dict) or record.get("format") != self.name:
            raise FileFormatError(f"{source}: not {self.what}")
        version = record.get("format_version")
        if type(version) is not int or not 1 <= version <= self.version:
            raise FileFormatError(
                f"{source}: {self.short} format {version}, this dqindex reads {self.version}; "
                "upgrade dqindex"
            )
        # An older version has no seal: one that has is a newer one, whose version was edited.
        wrong = SEAL in record if version < self.sealed else record.get(SEAL) != seal(record)
        if wrong:
            raise IntegrityError(
                f"{source}: does not match its checksum; damaged or edited, {self.remedy}"
            )
        check_fields(record, self.schema, source, self.remedy)
        return record


def seal(record: Record) -> str:
    """Digest of a record's fields but the seal itself, however they are spaced or sorted."""
    fields = json.loads(json.dumps({name: record[name] for name in record if name != SEAL}))
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def check_fields(value: Any, shape: Shape, source: str, remedy: str, where: str = "") -> None:
    """Refuse a `value` that is not of `shape`; messages name the field by its path.

    Raises
    ------
    FileFormatError

    Examples
    --------
    >>> from dqindex._parameters import integer
    >>> check_fields({"a": {"b": -1}}, {"a": {"b": integer(0, 9)}}, "x", "repair it")
    Traceback (most recent call last):
    dqindex.errors.FileFormatError: x: a.b is -1; it must be an integer from 0 to 9; repair it
    """
    if isinstance(shape, Maybe):
        if value is not None:
            check_fields(value, shape.shape, source, remedy, where)
    elif isinstance(shape, Rule):
        if not shape.holds(value):
            _refuse(value, shape.text, source, remedy, where)
    elif isinstance(shape, Each):
        if not isinstance(value, list):
            _refuse(value, "a list", source, remedy, where)
        for place, one in enumerate(value):
            check_fields(one, shape.shape, source, remedy, f"{where}[{place}]")
    else:
        _check_object(value, shape, source, remedy, where)


def _check_object(
    value: Any, shape: Named | Mapping[str, Shape], source: str, remedy: str, where: str
) -> None:
    if not isinstance(value, dict):
        _refuse(value, "an object", source, remedy, where)
    fields = dict.fromkeys(value, shape.shape) if isinstance(shape, Named) else shape
    for name, inner in fields.items():
        path = f"{where}.{name}" if where else name
        if name not in value and not isinstance(inner, Maybe):
            raise FileFormatError(f"{source}: {path} is missing; {remedy}")
        check_fields(value.get(name), inner, source, remedy, path)


def _refuse(value: Any, text: str, source: str, remedy: str, where: str) -> None:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
    raise FileFormatError(f"{source}: {where} is {shown}; it must be {text}; {remedy}")
