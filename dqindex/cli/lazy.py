"""A group of commands whose modules are imported when they are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """Imports ``PACKAGE.NAME`` for command NAME, and not before, so that ``--help`` is quick.

    Parameters
    ----------
    package : str
        Where the commands' modules are; each holds its command as ``command``.
    members : dict
        Command to its line in the help.
    """

    def __init__(self, *args: Any, package: str, members: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._package, self._members = package, members

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Commands in the order of a user's day."""
        return list(self._members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in self._members:
            return None
        command: click.Command = import_module(f"{self._package}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._members.items()))
