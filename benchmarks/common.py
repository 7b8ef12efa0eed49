"""What every benchmark shares: data sets by name, the machine, one JSON layout."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dqindex.bench.machine import machine
from dqindex.storage.files import versions
from dqindex.vectors import open_vectors
from dqindex.vectors.packaged import PACKAGED, open_packaged

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> tuple[str, np.ndarray]:
    """Vectors by the name of a packaged set, or from a file: (short name, (n, d) float32)."""
    if name == "digits":
        from sklearn.datasets import load_digits

        return name, load_digits().data.astype(np.float32)
    if name in PACKAGED:
        return name, open_packaged(name).read()
    path = Path(name)
    # Files that are all called alike go by their folder.
    generic = path.stem in ("embeddings", "item_embeddings")
    return path.parent.name if generic else path.stem, open_vectors(name).read()


def run(command: list[str], output: Path) -> int:
    """Run `command` with stdout to a file; its own peak resident memory in bytes."""
    with output.open("w") as stdout:
        process = subprocess.Popen(command, stdout=stdout)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    return usage.ru_maxrss * 1024


def write(
    name: str, rows: list[dict[str, Any]], *, key: tuple[str, ...] = (), **settings: Any
) -> Path:
    """Write ``results/NAME.json`` with all that is needed to repeat the run.

    With a `key`, rows stay that the file has and this run hasn't measured, as do their commands.
    """
    argv = [Path(arg).name if os.sep in arg else arg for arg in sys.argv]
    path = RESULTS / f"{name}.json"
    kernels = os.environ.get("OPENBLAS_CORETYPE")
    setting = f"OPENBLAS_CORETYPE={kernels} " if kernels else ""
    command = setting + shlex.join(["python", f"benchmarks/{argv[0]}", *argv[1:]])
    if key and path.exists():
        before = json.loads(path.read_text())
        measured = {tuple(row[field] for field in key) for row in rows}
        stay = [row for row in before["rows"] if tuple(row[field] for field in key) not in measured]
        if stay:
            rows = stay + rows
            command = "; ".join(dict.fromkeys([*before["command"].split("; "), command]))
    record = {
        "command": command,
        "machine": machine(),
        "versions": {"python": platform.python_version(), **versions()},
        "settings": settings,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path
