"""Write docs/cli.md from the commands themselves; with --check, say whether it is stale.

python scripts/cli_reference.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from dqindex.cli import COMMANDS, cli

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below `group` with its full name, groups before their members."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def render() -> str:
    """The page: the help of every command, as a terminal of 80 columns shows it."""
    parts = [
        "# Command line\n\nMade from the commands by `scripts/cli_reference.py`; do not edit.\n",
        f"Commands: {', '.join(f'`{name}`' for name in COMMANDS)}.\n",
        "Exit codes: 0 done, 1 failed with one line on stderr (`dqindex --debug` adds the "
        "traceback), 2 usage, 130 interrupted, 143 terminated.\n",
    ]
    for name, command in commands(cli, "dqindex"):
        context = click.Context(command, info_name=name, terminal_width=80, max_content_width=80)
        parts.append(f"## `{name}`\n\n```text\n{command.get_help(context).strip()}\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Write, or check."""
    made = render()
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text() != made:
            sys.exit("docs/cli.md is stale: run python scripts/cli_reference.py")
        return
    PAGE.write_text(made)


if __name__ == "__main__":
    main()
