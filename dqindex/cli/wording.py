"""Messages of the library in the words of the command line: options in place of parameters."""

from __future__ import annotations

import re

import click


def called(group: click.Group, words: list[str]) -> click.Command:
    """The command that `words` call; the group itself where they call none."""
    command: click.Command = group
    for word in words:
        if not isinstance(command, click.Group):
            break
        if not word.startswith("-"):
            found = command.get_command(click.Context(command), word)
            if found is None:
                break
            command = found
    return command


def in_options(message: str, command: click.Command) -> str:
    """`message` with the options of `command` where it names the parameters behind them.

    Examples
    --------
    >>> fit = click.Command("fit", params=[click.Option(["-L", "--subspaces", "n_subspaces"])])
    >>> in_options("DQModel: n_subspaces is 0; it must be an integer from 1 to 65536", fit)
    '-L is 0; it must be an integer from 1 to 65536'
    >>> in_options("x.npy: has no more than 7 vectors for n_subspaces", fit)
    'x.npy: has no more than 7 vectors for -L'
    """
    names = {
        param.name: param.opts[0]
        for param in command.params
        if param.name is not None and isinstance(param, click.Option)
    }
    # Who is asked, a class or a function, says nothing to who called a command.
    refused = re.match(r"[A-Za-z_.]+: (\w+) is .*; it must be ", message, re.DOTALL)
    if refused is not None and refused[1] in names:
        message = names[refused[1]] + message[refused.end(1) :]
    # A word without an underscore is a word.
    known = "|".join(name for name in names if "_" in name)
    if not known:
        return message
    # Not in a path, a text in quotes, or what is said to a caller in Python, `name=`.
    named = rf"(?<![\w./'\"-])({known})(?![\w./'\"=-])"
    return re.sub(named, lambda found: names[found[1]], message)
