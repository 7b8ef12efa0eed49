"""Documents that show what commands and Python print: run, and compared with what is shown.

Blocks of ``console`` hold commands behind ``$`` and the lines that they print, on standard output
and then error; blocks of ``python`` with ``>>>`` are doctests. Words must be equal. Numbers may
differ by a twentieth, as another processor ends k-means elsewhere; codes of semantic IDs, hashes
and seconds may be any.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from conftest import command_line

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.S | re.M)
# Codes before a tab, hashes of twelve digits and more, and seconds.
LOOSE = (
    (re.compile(r"^(\d+ )+\d+\t", re.M), "CODES\t"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12,}\b"), "HASH"),
    (re.compile(r"\b\d+(\.\d+)? (s|ms)\b"), "SECONDS"),
)
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
NEAR = 0.05


class Command(NamedTuple):
    """A command and what it prints."""

    line: str
    prints: str


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Kind and content of each block, those of Python without ``>>>`` left out."""
    for kind, content in BLOCK.findall(page.read_text()):
        if kind == "console" or ">>>" in content:
            yield kind, content


def commands(content: str) -> list[Command]:
    """The commands of a block of ``console``."""
    parts = re.split(r"^\$ ", content, flags=re.M)
    assert not parts[0].strip(), "a block begins with a command"
    found = []
    for part in parts[1:]:
        line, _, prints = part.partition("\n")
        found.append(Command(line, prints))
    return found


def alike(shown: str, printed: str) -> bool:
    """Whether what was printed is what the page shows."""
    for pattern, name in LOOSE:
        shown, printed = pattern.sub(name, shown), pattern.sub(name, printed)
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(_near(*(float(one.replace(",", "")) for one in pair)) for pair in pairs)


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= NEAR * max(abs(one), abs(other))


def call(line: str, folder: Path) -> str:
    """What a command prints; ``python`` and ``dqindex`` run what is in this checkout."""
    words = shlex.split(line)
    if words[0] == "dqindex":
        done = command_line(folder)(*words[1:])
        return done.stdout + done.stderr
    assert words[0] == "python", line
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    run = subprocess.run(
        [sys.executable, str(ROOT / words[1]), *words[2:]],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    return run.stdout


class _Checker(doctest.OutputChecker):
    """Compares as `alike` does."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return alike(want, got)


def run_page(page: Path, folder: Path) -> list[str]:
    """Run all blocks of a page in `folder`, in order; what printed something else, in words."""
    wrong: list[str] = []
    space: dict[str, Any] = {}
    for kind, content in blocks(page):
        if kind == "console":
            for command in commands(content):
                printed = call(command.line, folder)
                if not alike(command.prints, printed):
                    wrong.append(f"$ {command.line}\nshown:\n{command.prints}printed:\n{printed}")
            continue
        runner = doctest.DocTestRunner(_Checker(), verbose=False)
        test = doctest.DocTestParser().get_doctest(content, space, page.name, str(page), 0)
        runner.run(test, out=wrong.append, clear_globs=False)
        space.update(test.globs)
    return wrong
