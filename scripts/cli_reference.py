"""Write docs/cli.md from what the command line prints; with --check, say whether it is stale.

python scripts/cli_reference.py [--check]
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from dqindex.cli import cli, main

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
COLUMNS = "80"
HEAD = """# Command line

`scripts/cli_reference.py` makes this page from what `--help` prints; do not edit it.

Exit codes: 0 done, 1 failed with one line on stderr (`dqindex --debug` adds the traceback),
2 usage, 130 interrupted, 143 terminated.

A table fits the width of the terminal. In a pipe or a file it is a line `# title`, and then
tab-separated values; `--json` is for programs. Progress is shown if stderr is a terminal; `-q`
hides it, and all messages except errors.

To switch on the shell's completion of commands, options and files:

```bash
eval "$(_DQINDEX_COMPLETE=bash_source dqindex)"              # bash: a line for ~/.bashrc
eval "$(_DQINDEX_COMPLETE=zsh_source dqindex)"               # zsh: for ~/.zshrc
_DQINDEX_COMPLETE=fish_source dqindex | source               # fish: for ~/.config/fish/config.fish
```
"""


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command, groups before their members; the first are none."""
    yield path
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def shown(words: tuple[str, ...]) -> str:
    """What ``dqindex WORDS --help`` prints on a terminal of 80 columns."""
    os.environ["COLUMNS"] = COLUMNS
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return printed.getvalue()


def render() -> str:
    """The page."""
    parts = (
        f"## `{' '.join(['dqindex', *words])}`\n\n```text\n{shown(words)}```\n"
        for words in commands(cli)
    )
    return "\n".join([HEAD, *parts])


def write() -> None:
    """Write, or check."""
    made = render()
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text() != made:
            sys.exit("docs/cli.md is stale: run python scripts/cli_reference.py")
        return
    PAGE.write_text(made)


if __name__ == "__main__":
    write()
