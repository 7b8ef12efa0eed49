"""What people see: tables as wide as their terminal, values for a pipe, and files to complete."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import click
import numpy as np
import pytest
from conftest import clustered
from test_cli import every_command

from dqindex.cli import options

SPEC = "DQ4,IVF16,PQ4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from dqindex import build_index, semantic_ids

    made = tmp_path_factory.mktemp("terminal")
    x = clustered(2000, 20)
    np.save(made / "q.npy", x[:4])
    build_index(x, SPEC).save(made / "i")
    ids = [f"[item] {row}" for row in range(300)]
    semantic_ids(x[:300], ids, n_subspaces=4, n_codewords=16).save(made / "m.parquet")
    return made


def on_terminal(folder: Path, columns: int, *words: str) -> list[str]:
    """The lines that a command prints on a terminal of so many columns, without its colours."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(
        [sys.executable, "-m", "dqindex", *words],
        cwd=folder,
        stdin=slave,
        stdout=slave,
        stderr=subprocess.DEVNULL,
        env={**environment, "TERM": "xterm"},
    ) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux says so that the other side is closed.
                break
            if not piece:
                break
            shown += piece
    os.close(master)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).splitlines()


TABLES = [
    ("info", "i"),
    ("search", "i", "q.npy", "-k", "3"),
    ("sids", "evaluate", "m.parquet"),
    ("sids", "lookup", "m.parquet", "--item", "[item] 7"),
]


@pytest.mark.parametrize("columns", [30, 60, 80, 200])
@pytest.mark.parametrize("words", TABLES, ids=lambda words: words[0] if words else "")
def test_a_table_is_as_wide_as_its_terminal(folder, words, columns):
    lines = on_terminal(folder, columns, *words)
    assert max(map(len, lines)) <= columns
    assert lines


def test_words_are_whole_where_columns_do_not_fit(folder):
    lines = on_terminal(folder, 30, "sids", "evaluate", "m.parquet")
    wide = on_terminal(folder, 200, "sids", "evaluate", "m.parquet")
    words = {word for line in wide for word in line.split() if len(word) < 20}
    # All but what frames the tables.
    missing = {word for word in words if not any(word in line for line in lines)}
    assert missing <= {word for word in words if not word.isascii()}


@pytest.mark.parametrize("words", TABLES, ids=lambda words: words[0] if words else "")
def test_a_pipe_gets_values_between_tabs(folder, words):
    done = subprocess.run(
        [sys.executable, "-m", "dqindex", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "20"},
    )
    width = 0
    for line in done.stdout.splitlines():
        if line.startswith("# "):
            width = 0
            continue
        cells = line.split("\t")
        width = width or len(cells)
        assert len(cells) == width > 1, line
        assert all(cell == cell.strip() for cell in cells)


def test_values_for_a_pipe_are_those_of_the_search(folder, run):
    from dqindex import open_index

    done = subprocess.run(
        [sys.executable, "-m", "dqindex", "search", "i", "q.npy", "-k", "3"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    title, head, *rows = done.stdout.splitlines()
    assert title.startswith("# ")
    assert head == "query\tids\tdistances"
    found = open_index(folder / "i").search(np.load(folder / "q.npy"), 3)
    assert [row.split("\t")[1] for row in rows] == [" ".join(map(str, one)) for one in found.ids]


# Completion.


def completed(folder: Path, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "dqindex"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "_DQINDEX_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["dqindex", *words]),
            "COMP_CWORD": str(len(words)),
        },
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_shell_completes_commands_options_and_files(folder):
    assert completed(folder, "sea") == ["plain,search"]
    assert completed(folder, "sids", "ex") == ["plain,extract", "plain,export"]
    assert "plain,--like" in completed(folder, "build", "q.npy", "--li")
    assert completed(folder, "build", "q") == ["file,q"]
    assert completed(folder, "bench", "run", "--queries", "q") == ["file,q"]


def test_whatever_names_a_file_completes_files():
    files = {"FILE", "DIR", "DIR0", "MODEL", "OUT", "CODES", "MAP", "DATA", "Q", "ITEMS", "IDS"}
    found = 0
    for path, command in every_command():
        for one in command.params:
            said = (one.metavar or one.name or "").upper().strip("[].")
            if said in files or said.endswith((".HTML", ".PNG", ".JSONL")):
                found += 1
                assert one.type is options.PATH or isinstance(one.type, click.Path), (
                    path,
                    one.name,
                )
    assert found > 40
