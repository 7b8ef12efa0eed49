"""The command line in processes of their own that need not import everything anew.

A process that has imported what commands import waits for work. For each command it forks, and the
child is what ``python -m dqindex`` is after its imports. Those take a second, a fork a hundredth.
"""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any


class Forks:
    """The waiting process; it starts when the first command is asked for."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, args: list[str], folder: Path, env: dict[str, str]) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command in `folder`."""
        with tempfile.TemporaryDirectory() as place:
            said = [Path(place) / name for name in ("out", "err")]
            work = {"args": args, "folder": str(folder), "env": env, "said": [*map(str, said)]}
            try:
                code = self._ask(work)
            except BaseException:
                # A test that took too long, say: its answer is not the next one's.
                self.close(kill=True)
                raise
            out, err = (file.read_bytes().decode() for file in said)
            return code, out, err

    def _ask(self, work: dict[str, Any]) -> int:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=work["env"],
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(work) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process that commands fork from has ended"
        return int(line)

    def close(self, kill: bool = False) -> None:
        """End the process; at once, and its child too, with `kill`."""
        if self._process is not None:
            if kill:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None


def import_everything() -> None:
    """What commands import: every module of ours but those that the peers of the bench are."""
    import dqindex

    for module in pkgutil.walk_packages(dqindex.__path__, "dqindex."):
        if not (module.name.endswith("__main__") or ".peers." in module.name):
            # A package that a part of ours needs may be missing.
            with suppress(ImportError):
                import_module(module.name)


def serve() -> dict[str, Any] | None:
    """Fork for each command and tell its exit code; in a child, give the work that it has."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            work: dict[str, Any] = json.loads(line)
            return work
        _, status = os.waitpid(child, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    return None


def become(work: dict[str, Any]) -> None:
    """Be the process that was asked for."""
    os.chdir(work["folder"])
    os.environ.clear()
    os.environ.update(work["env"])
    for number, name in enumerate([os.devnull, *work["said"]]):
        file = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    import dqindex
    from dqindex.cli import main

    sys.argv = [str(Path(dqindex.__file__).with_name("__main__.py")), *work["args"]]
    main()


if __name__ == "__main__":
    import_everything()
    asked = serve()
    if asked is not None:
        become(asked)
