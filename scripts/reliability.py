"""Write docs/reliability.md from the counts of the suites; with --check, say whether it is stale.

pytest tests/reliability --long --counts benchmarks/results/reliability.json
python scripts/reliability.py [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reliability.md"
COUNTS = ROOT / "benchmarks" / "results" / "reliability.json"

sys.path.insert(0, str(ROOT / "tests"))

from reliability.suites import SUITES  # noqa: E402 (the suites tell of themselves, in tests/)

HEAD = """\
# Reliability

`scripts/reliability.py` makes this page from the counts of the test suites; do not edit it.

For any input, and whatever happens to a process that writes, dqindex either gives the right answer,
or it raises one clear error and leaves the old output complete. The suites in `tests/reliability/`
test that. A case that may crash, hang or exhaust memory runs in a process of its own, with a memory
limit and a time limit. A case with any result that the table does not allow is a violation, and one
violation fails the tests.

"""
FOOT = """
## Run them

```bash
pytest tests/reliability           # a part of the cases, as in every run of the tests
pytest tests/reliability --long    # all cases
pytest tests/reliability --long --counts benchmarks/results/reliability.json
python scripts/reliability.py      # makes this page from the counts
```

Seeds determine the cases, so a case that fails can be repeated. The suites "kills" and "failing
writes" build a small C library that counts the system calls that change files
(`tests/reliability/faults.c`); they are skipped if there is no C compiler.
[SECURITY.md](https://github.com/dqindex/dqindex/blob/main/SECURITY.md) says which hostile files
dqindex refuses, and what it does not protect against.
"""


def row(suite: str, record: dict[str, Any]) -> str:
    """The line of a suite."""
    what, allowed = SUITES[suite]
    ends = ", ".join(f"{number:,} {word}" for word, number in sorted(record["outcomes"].items()))
    cases = f"{record['cases']:,}" + (f" ({ends})" if ends else "")
    return f"| {suite} | {what} | {allowed} | {cases} | {record['violations']} |"


def render(counts: dict[str, Any]) -> str:
    """The page."""
    rows = {record["suite"]: record for record in counts["rows"]}
    if list(rows) != list(SUITES):
        sys.exit(
            f"{COUNTS.name} has the suites {', '.join(rows)}, but there are {', '.join(SUITES)}: "
            "run the suites again"
        )
    total = sum(record["cases"] for record in rows.values())
    violations = sum(record["violations"] for record in rows.values())
    versions = ", ".join(f"{name} {version}" for name, version in counts["versions"].items())
    machine = counts["machine"]
    return (
        HEAD
        + "| suite | what is tried | what is allowed | cases | violations |\n"
        + "|---|---|---|---|---|\n"
        + "".join(row(suite, rows[suite]) + "\n" for suite in SUITES)
        + f"| **all** | | | **{total:,}** | **{violations}** |\n\n"
        + f"Counted by `{counts['command']}` on {machine['system']}, {machine['cpus']} CPUs, in "
        + f"{counts['minutes']:.0f} minutes: {versions}.\n"
        + FOOT
    )


def main() -> None:
    """Write, or check."""
    made = render(json.loads(COUNTS.read_text()))
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text() != made:
            sys.exit("docs/reliability.md is stale: run python scripts/reliability.py")
        return
    PAGE.write_text(made)


if __name__ == "__main__":
    main()
