"""Calls that change files, counted, and made to kill or to fail at the n-th: see ``faults.c``."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SOURCE = Path(__file__).with_name("faults.c")
# As in the enum of faults.c.
COUNT, KILL, KILL_HALFWAY, FAIL_ONCE, FAIL_FROM_THEN, SHORT = range(6)
NEVER = -1


class Faulted(NamedTuple):
    """A function that ran with a fault: what it gave, and the calls it made, "write index/x"."""

    value: Any
    calls: list[str]


def build_library(folder: Path) -> Path:
    """The library, compiled; skips the test where that cannot be."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler here to build the library that makes calls fail")
    path = folder / "faults.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(path), str(SOURCE)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"the library that makes calls fail does not build here: {done.stderr[-200:]}")
    return path


def _library() -> Any:
    library = ctypes.CDLL(None)
    library.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    library.faults_record.restype = ctypes.c_char_p
    return library


def with_fault(
    folder: Path, at: int, how: int, error: int, function: Callable[..., Any], args: list[Any]
) -> Faulted:
    """In a child: call `function` in `folder`, with the fault at the `at`-th call below that."""
    # Relative names are below the folder.
    os.chdir(folder)
    library = _library()
    library.faults_arm(os.fsencode(folder), at, how, error)
    value = function(*args)
    library.faults_disarm()
    return Faulted(value, library.faults_record().decode().splitlines())
