"""Change one operator at a time in a package, and count how often its nearest tests notice.

    python scripts/mutation.py quantizer sids storage --sample 40 -o mutation.json

Cosmic Ray proposes the changes; a fixed seed samples places from each package and one change for
each place. The changes are made in a copy of the repository, one at a time, and each runs the
tests that `scripts/mutation.toml` names as nearest. A change that no test notices survives: it is
printed with its diff. Either a test is missing, or the change makes no difference that a test may
ask for: such lines stand in the configuration with the reason, and are counted apart.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PYTEST = "-m pytest -x -q -n 0 --timeout 60 -p no:randomly -p no:cacheprovider".split()
MEMORY = 12 << 30  # bytes of address space: a change may ask for any amount

Position = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """One change: an operator of Cosmic Ray at its n-th place in a file."""

    file: str
    line: int
    operator: str
    occurrence: int


def types_in(source: str) -> list[tuple[Position, Position]]:
    """Where the types stand: a change there changes nothing that runs."""
    found = []
    for node in ast.walk(ast.parse(source)):
        types = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        found += [
            ((t.lineno, t.col_offset), (t.end_lineno, t.end_col_offset))
            for t in types
            if isinstance(t, ast.expr) and t.end_lineno is not None and t.end_col_offset is not None
        ]
    return found


def mutants(root: Path, file: Path) -> Iterator[list[Mutant]]:
    """The changes that Cosmic Ray knows for a file, a list a place."""
    source = file.read_text()
    types = types_in(source)
    tree = get_ast(source)
    places: dict[tuple[Position, Position], list[Mutant]] = {}
    for name in operator_names():
        kind = get_operator(name)
        if kind.arguments():
            continue  # these need names of variables to be told
        positions = (place for node in ast_nodes(tree) for place in kind().mutation_positions(node))
        for occurrence, (start, end) in enumerate(positions):
            if not any(a <= start and end <= b for a, b in types):
                mutant = Mutant(str(file.relative_to(root)), start[0], name, occurrence)
                places.setdefault((start, end), []).append(mutant)
    return iter([places[place] for place in sorted(places)])


def sample(root: Path, patterns: list[str], size: int, seed: int) -> list[Mutant]:
    """`size` places, each with one of its changes; the same for the same code and seed."""
    files = sorted(file for pattern in patterns for file in root.glob(pattern))
    places = [place for file in files for place in mutants(root, file)]
    chance = random.Random(seed)
    return [chance.choice(place) for place in chance.sample(places, min(size, len(places)))]


def nearest(file: str, tests: list[str]) -> list[str]:
    """The tests, the one named after the file first."""
    stem = Path(file).stem
    first = [test for test in tests if stem in test or test.removeprefix("test_") in stem]
    return [f"tests/{test}.py" for test in dict.fromkeys([*first, *tests])]


def passes(root: Path, tests: list[str], timeout: float | None) -> bool | None:
    """Whether the tests pass in `root`; None if they did not end in time."""
    process = subprocess.Popen(
        [
            "bash",
            "-c",
            f'ulimit -v {MEMORY >> 10}; exec "$@"',
            "-",
            sys.executable,
            *PYTEST,
            *tests,
        ],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(timeout) == 0
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_equivalent(mutant: Mutant, before: str, after: str, known: list[dict[str, Any]]) -> bool:
    """Whether `known` says that this change makes no difference.

    An entry has a ``file``, the ``line`` as it stands there, a reason ``why``, and where not any
    change of the line is meant, texts one of which it then holds: ``becomes``.
    """
    old, new = (text.splitlines()[mutant.line - 1].strip() for text in (before, after))
    new = " ".join(new.split())
    return any(
        (entry["file"], entry["line"]) == (mutant.file, old)
        and any(text in new for text in entry.get("becomes", [""]))
        for entry in known
    )


def check_equivalent(root: Path, known: list[dict[str, Any]]) -> None:
    """End if a line that makes no difference is no longer there."""
    for entry in known:
        lines = map(str.strip, (root / entry["file"]).read_text().splitlines())
        if entry["line"] not in lines or not entry["why"]:
            raise SystemExit(f"[[equivalent]]: {entry['file']} has no line {entry['line']!r}")


def measure(
    root: Path, package: dict[str, list[str]], known: list[dict[str, Any]], size: int, seed: int
) -> dict[str, object]:
    """Run the sample of one package and print each survivor as it is found."""
    began = time.monotonic()
    if not passes(root, nearest("", package["tests"]), None):
        raise SystemExit(f"the tests fail before any change: {package['tests']}")
    timeout = 60 + 4 * (time.monotonic() - began)
    survivors = []
    killed = timed_out = equivalent = 0
    chosen = sample(root, package["files"], size, seed)
    for number, mutant in enumerate(chosen, 1):
        print(f"{number} of {len(chosen)}: {mutant.file}:{mutant.line}", file=sys.stderr)
        file = root / mutant.file
        before = file.read_text()
        after = mutate_code(before, get_operator(mutant.operator)(), mutant.occurrence)
        try:
            file.write_text(after)
            passed = passes(root, nearest(mutant.file, package["tests"]), timeout)
        finally:
            file.write_text(before)
        killed += passed is False
        timed_out += passed is None
        if passed and is_equivalent(mutant, before, after, known):
            equivalent += 1
        elif passed:
            lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=2, lineterm="")
            diff = "\n".join(list(lines)[2:])
            survivors.append({"file": mutant.file, "line": mutant.line, "diff": diff})
            print(f"survived {mutant.file}:{mutant.line} {mutant.operator}\n{diff}\n", flush=True)
    noticed = killed + timed_out
    return {
        "mutants": len(chosen),
        "killed": killed,
        "timed_out": timed_out,
        "equivalent": equivalent,
        "survived": len(survivors),
        "score": round(noticed / len(chosen), 3) if chosen else None,
        "score_without_equivalent": round(noticed / max(len(chosen) - equivalent, 1), 3),
        "seconds_of_the_tests": round((timeout - 60) / 4, 1),
        "survivors": survivors,
    }


def main() -> None:
    """Measure the packages that are named."""
    # So that a polite kill ends the tests as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packages", nargs="+", help="tables of the configuration")
    parser.add_argument("--sample", type=int, default=40, help="changes a package")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=Path, default=ROOT / "scripts" / "mutation.toml")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository to measure")
    parser.add_argument("-o", "--output", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    config = tomllib.loads(options.config.read_text())
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=options.root, capture_output=True, check=True, text=True
    )
    known = config["equivalent"]
    check_equivalent(options.root, known)
    results = {}
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder)
        for name in filter(None, listed.stdout.split("\0")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(options.root / name, copy / name)
        for name in options.packages:
            results[name] = measure(copy, config[name], known, options.sample, options.seed)
            shown = {key: value for key, value in results[name].items() if key != "survivors"}
            print(f"{name}: {shown}", flush=True)
            if options.output:
                options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
