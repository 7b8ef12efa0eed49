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

Made from the suites' counts by `scripts/reliability.py`; do not edit.

Whatever comes in, and whatever happens to a process that writes: the answer is right, or there is
one clear error and what stood there before is whole. The suites in `tests/reliability/` try that.
Each case that can crash, stall or take all memory runs in a process of its own, with a limit of
memory and an alarm. A case that ends in any other way than the table allows is a violation, and
one violation fails the tests.

"""
FOOT = """
## Run them

```bash
pytest tests/reliability           # a part of the cases, as every run of the tests has
pytest tests/reliability --long    # all cases: many times as many
pytest tests/reliability --long --counts benchmarks/results/reliability.json
python scripts/reliability.py      # this page, from those counts
```

The cases follow from seeds: a case that fails, fails again. The suites of kills and of failing
writes build a small C library that counts the calls of a process that change files
(`tests/reliability/faults.c`), and skip themselves where there is no C compiler. What is promised
of hostile files, and what is not, is in
[SECURITY.md](https://github.com/dqindex/dqindex/blob/main/SECURITY.md).
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
            f"{COUNTS.name} tells of {', '.join(rows)}; the suites are {', '.join(SUITES)}: run "
            "the suites again"
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
