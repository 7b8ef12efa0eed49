"""The tokens of a map as a generator's vocabulary has them: numbers side by side, and names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dqindex._types import Int64
from dqindex.errors import InputError

# Tokens are int32.
MOST_TOKEN = 2**31 - 1
# How LC-Rec, LETTER and MiniOneRec write a token.
LC_REC = "<{letter}_{code}>"
# What may stand in the places of a template.
PLACES = {"letter": "[a-z]{1,4}", "level": "[0-9]{1,4}", "code": "[0-9]{1,10}"}


def level_name(level: int) -> str:
    """Letters of a level: a, b, …, z, aa, ab, and so on."""
    name = ""
    level += 1
    while level:
        level, letter = divmod(level - 1, 26)
        name = chr(ord("a") + letter) + name
    return name


def level_offsets(sizes: list[int], start: int = 0) -> Int64:
    """First token of each level, where those of all levels lie side by side from `start`.

    Raises
    ------
    InputError
        If the last token is beyond what int32 holds.
    """
    offsets: Int64 = start + np.cumsum([0, *sizes[:-1]], dtype=np.int64)
    last = int(offsets[-1]) + sizes[-1] - 1
    if last > MOST_TOKEN:
        raise InputError(f"start is {start}: the last token would be {last}, beyond {MOST_TOKEN}")
    return offsets


class Spelling(NamedTuple):
    """How the tokens of an ID are written as text.

    Attributes
    ----------
    token : str
        A template: ``{code}``, and ``{letter}`` (a, b, …) or ``{level}`` (0, 1, …), in other text.
    begin, end : str
        Marks before and behind the tokens of an ID; none where empty.
    """

    token: str = LC_REC
    begin: str = ""
    end: str = ""

    def checked(self, *, merged: bool = False) -> Spelling:
        """Itself, if its tokens can be read back; `merged`, also without a space between them.

        Raises
        ------
        InputError
        """
        parts = _parts(self.token)
        names = [part[1:-1] for part in parts if part.startswith("{")]
        known = "{code}, {letter} (a, b, …) and {level} (0, 1, …)"
        if {*names} - {*PLACES} or len(names) > len({*names}) or re.search("[{}]", _plain(parts)):
            raise InputError(f"token is {self.token!r}; it may hold {known}, each once")
        if "code" not in names or len(names) == 1:
            raise InputError(
                f"token is {self.token!r}; it needs {{code}}, and {{letter}} or {{level}}, so that "
                "no two levels have the same tokens"
            )
        if not re.search("[^0-9]", _between_numbers(parts)):
            raise InputError(
                f"token is {self.token!r}; put a character between {{level}} and {{code}}"
            )
        for name, text in (("token", self.token), ("begin", self.begin), ("end", self.end)):
            if any(not sign.isprintable() for sign in text):
                raise InputError(
                    f"{name} is {text!r}; it may not hold line breaks and similar characters"
                )
        ends = self.token[0] + self.token[-1]
        if merged and all(sign.isalnum() or sign in "{}" for sign in ends):
            raise InputError(
                f"token is {self.token!r}; merged tokens can be told apart where each starts or "
                "ends with a character that is not a letter or a digit"
            )
        return self

    def to_write(self, *, merged: bool = False) -> Spelling:
        """Itself, if it is `checked` and no mark is also a token or the other mark.

        Raises
        ------
        InputError
        """
        self.checked(merged=merged)
        if self.begin and self.begin == self.end:
            raise InputError(f"begin and end are both {self.begin!r}; give two marks")
        for name, mark in (("begin", self.begin), ("end", self.end)):
            if self.pattern().fullmatch(mark):
                raise InputError(
                    f"{name} is {mark!r}, which is a token of the template {self.token!r}; give "
                    "another mark"
                )
        return self

    def around(self, level: int) -> tuple[str, str]:
        """What stands before and behind the code in the tokens of a level."""
        text = self.token.replace("{letter}", level_name(level)).replace("{level}", str(level))
        before, _, behind = text.partition("{code}")
        return before, behind

    def vocabulary(self, sizes: list[int]) -> Iterator[str]:
        """All tokens, those of the first level first, in the order of their codes; then the marks.

        So the place of a token is its number in ``offset`` and ``trie``.
        """
        for level, size in enumerate(sizes):
            before, behind = self.around(level)
            for code in range(size):
                yield f"{before}{code}{behind}"
        yield from (mark for mark in (self.begin, self.end) if mark)

    def pattern(self) -> re.Pattern[str]:
        """Of one token, with a group for each place."""
        return re.compile(
            "".join(
                f"(?P<{part[1:-1]}>{PLACES[part[1:-1]]})"
                if part.startswith("{")
                else re.escape(part)
                for part in _parts(self.token)
            )
        )


def _parts(template: str) -> list[str]:
    """Text and places of a template, in order."""
    return [part for part in re.split(r"(\{[a-z]*\})", template) if part]


def _plain(parts: list[str]) -> str:
    return "".join(part for part in parts if not re.fullmatch(r"\{[a-z]*\}", part))


def _between_numbers(parts: list[str]) -> str:
    """What stands between the level and the code; a sign where there is no level."""
    places = [place for place, part in enumerate(parts) if part in ("{level}", "{code}")]
    return "".join(parts[places[0] + 1 : places[1]]) if len(places) == 2 else "|"
