"""What a release needs to know of itself: the version, and its notes in CHANGELOG.md.

    python scripts/release.py check v0.1.0     # the tag is the version, and the changelog dates it
    python scripts/release.py notes v0.1.0     # the notes, for the page of the release

Needs nothing but Python, so that it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADING = re.compile(r"^## (\S+) \(([^)]+)\)$", re.M)
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def version(root: Path = ROOT) -> str:
    """The version of the library."""
    text = (root / "dqindex" / "_version.py").read_text()
    [found] = re.findall(r'__version__ = "([^"]+)"', text)
    return str(found)


def notes(changelog: str) -> dict[str, tuple[str, str]]:
    """Version -> date (or "unreleased") and notes, from the text of the changelog."""
    parts = HEADING.split(changelog)[1:]
    return {
        parts[at]: (parts[at + 1], parts[at + 2].strip() + "\n") for at in range(0, len(parts), 3)
    }


def refusal(tag: str, current: str, found: dict[str, tuple[str, str]], citation: str) -> str | None:
    """Why `tag` is no release, if it is none."""
    if tag != f"v{current}":
        return f"the tag is {tag}, and dqindex/_version.py has {current}"
    if current not in found:
        return f"CHANGELOG.md has no notes of {current}"
    date = found[current][0]
    if not DATE.fullmatch(date):
        return f"CHANGELOG.md calls {current} {date}: give the day, as 2026-01-31"
    if f"\nversion: {current}\n" not in citation:
        return f"CITATION.cff is not of version {current}"
    return None


def main(words: list[str]) -> str | None:
    """Check, or print the notes; what is wrong, if anything is."""
    if len(words) != 2 or words[0] not in ("check", "notes"):
        return __doc__
    command, tag = words
    found = notes((ROOT / "CHANGELOG.md").read_text())
    if command == "check":
        return refusal(tag, version(), found, (ROOT / "CITATION.cff").read_text())
    if tag.removeprefix("v") not in found:
        return f"CHANGELOG.md has no notes of {tag}"
    print(found[tag.removeprefix("v")][1], end="")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
