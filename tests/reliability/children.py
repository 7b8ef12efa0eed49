"""Cases in children: each in a process of its own, with a limit of memory and of time.

A server loads the libraries once and forks for every case, so that hundreds take seconds. What the
child does may crash, hang, or take all memory: the parent is told which.
"""

from __future__ import annotations

import importlib
import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from forks import import_everything

HERE = Path(__file__).parent
MEMORY = 2**30
SECONDS = 20.0
# Children that work at the same time, where many do.
PARTIES = 3
# Bytes of a child's stderr that are kept.
KEPT = 4000


class Outcome(NamedTuple):
    """What became of a case.

    Attributes
    ----------
    kind : str
        ``answer``: it returned. ``typed``: it raised an error of `dqindex.errors`. ``raw``: it
        raised anything else. ``killed``: a signal ended it. ``slow``: the alarm did. ``exit``: it
        left by ``os._exit``.
    value : Any
        What it returned; else the message, the signal's name, or the exit code.
    text : str
        What it wrote to stdout and stderr, the end of it.
    """

    kind: str
    value: Any
    text: str

    @property
    def said(self) -> str:
        """The outcome in a line, for a violation."""
        return f"{self.kind} {str(self.value)[:200]} {self.text[-300:]}".strip()


class Ran(NamedTuple):
    """How a command line ended: see `command`."""

    code: int
    out: str
    err: str


def command(*args: object) -> Ran:
    """Run ``dqindex ARGS`` in this process, which should be a child: code, stdout, stderr."""
    from dqindex.cli import main

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        code = 0
        try:
            main([str(one) for one in args])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return Ran(code, *texts)


def ended(ran: Ran) -> Outcome:
    """How a command ended, as an outcome; ``typed`` is code 1 and one clear line on stderr."""
    if ran.code == 0:
        return Outcome("answer", ran.out, ran.err)
    clear = ran.err.startswith("error: ") and ran.err.count("\n") == 1
    if ran.code == 1 and clear and not ran.err.startswith("error: unexpected"):
        return Outcome("typed", ran.err, "")
    return Outcome("raw", f"code {ran.code}: {ran.err}", ran.out)


class Children:
    """A server of children; use it as a context manager."""

    def __init__(self, preload: str | Path | None = None) -> None:
        env = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
            # Arrow's own pool reserves more than a child may have.
            "ARROW_DEFAULT_MEMORY_POOL": "system",
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH", "")])
            ),
        }
        if preload is not None:
            env["LD_PRELOAD"] = str(preload)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from reliability.children import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
        )

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        memory: int = MEMORY,
        seconds: float = SECONDS,
    ) -> Outcome:
        """Call `function`, of a module, with `args` in a child; see `Outcome`.

        Parameters
        ----------
        function, args
            As pickle takes them.
        memory : int
            Bytes that it may allocate beyond what the libraries take.
        seconds : float
            Of the clock, after which it is killed.
        """
        self.start(function, *args, memory=memory, seconds=seconds)
        return self.finish()

    def start(
        self,
        function: Callable[..., Any],
        *args: Any,
        memory: int = MEMORY,
        seconds: float = SECONDS,
    ) -> None:
        """Begin a case, whose outcome `finish` gives; one at a time."""
        assert self._process.stdin is not None
        _send(self._process.stdin, pickle.dumps((function, args, memory, seconds)))

    def finish(self) -> Outcome:
        """The outcome of the case that was begun."""
        assert self._process.stdout is not None
        return Outcome(*pickle.loads(_receive(self._process.stdout)))


def _send(file: IO[bytes], content: bytes) -> None:
    file.write(struct.pack("<q", len(content)) + content)
    file.flush()


def _receive(file: IO[bytes]) -> bytes:
    head = file.read(8)
    if len(head) < 8:
        raise EOFError("the other side is gone")
    return file.read(struct.unpack("<q", head)[0])


def serve() -> None:
    """The server: fork for each job that comes on stdin, and say on stdout what became of it."""
    # Children write to fd 1 as they like; the parent reads another.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _load()
    while True:
        try:
            job = pickle.loads(_receive(sys.stdin.buffer))
        except EOFError:
            return
        outcome, imported = _fork(*job)
        _send(answers, pickle.dumps(outcome))
        # What one child had to import, the next shall have.
        for name in imported:
            with suppress(Exception):
                importlib.import_module(name)


def _load() -> None:
    """Import all that a case may need: what a fork has, it need not load."""
    import_everything()
    import pyarrow

    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)


def _fork(
    function: Callable[..., Any], args: tuple[Any, ...], memory: int, seconds: float
) -> tuple[Outcome, list[str]]:
    with tempfile.TemporaryFile() as written:
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(read)
            _child(function, args, memory, seconds, write, written.fileno())
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            content = pipe.read()
        _, status = os.waitpid(pid, 0)
        written.seek(0)
        text = written.read()[-KEPT:].decode(errors="replace")
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return Outcome("slow" if name == "SIGALRM" else "killed", name, text), []
    if not content:
        return Outcome("exit", os.WEXITSTATUS(status), text), []
    answer, imported = pickle.loads(content)
    kind, value = pickle.loads(answer)
    return Outcome(kind, value, text), imported


def _child(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    memory: int,
    seconds: float,
    pipe: int,
    output: int,
) -> None:
    """Do the job and leave; never returns."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    limit = _data_bytes() + memory
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    before = set(sys.modules)
    answer = _answer(function, args)
    imported = [name for name in sys.modules if name not in before]
    with os.fdopen(pipe, "wb") as file:
        file.write(pickle.dumps((answer, imported)))
    os._exit(0)


def _data_bytes() -> int:
    """Bytes that this process has allocated, as RLIMIT_DATA counts them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _answer(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    from dqindex.errors import DQIndexError

    try:
        return pickle.dumps(("answer", function(*args)))
    except DQIndexError as error:
        kind = "typed" if "\n" not in str(error) else "raw"
        return pickle.dumps((kind, f"{type(error).__name__}: {error}"))
    except BaseException as error:
        import traceback

        traceback.print_exc()
        return pickle.dumps(("raw", f"{type(error).__name__}: {error}"))
