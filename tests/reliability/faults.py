"""Calls that change files, counted, and made to kill or to fail at the n-th: see ``faults.c``."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reliability.children import Ran, command

SOURCE = Path(__file__).with_name("faults.c")
# As in the enum of faults.c.
COUNT, KILL, KILL_HALFWAY, FAIL_ONCE, FAIL_FROM_THEN, SHORT = range(6)
NEVER = -1


class Faulted(NamedTuple):
    """A command that ran with a fault: how it ended, and the calls it made, "write index/x"."""

    ran: Ran
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


def with_fault(folder: Path, at: int, how: int, error: int, words: list[Any]) -> Faulted:
    """In a child: run the command `words` with the fault at the `at`-th call below `folder`."""
    import os

    # Relative names in the command are below the folder.
    os.chdir(folder)
    library = _library()
    library.faults_arm(os.fsencode(folder), at, how, error)
    ran = command(*words)
    library.faults_disarm()
    return Faulted(ran, library.faults_record().decode().splitlines())
