"""What the user sees: progress and messages on stderr, data on stdout."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from dqindex import _types
from dqindex.cli.wording import in_options

# Columns of a terminal on which any table has room.
UNBOUNDED = 10**6


def say(text: str, quiet: bool = False) -> None:
    """A message for people, on stderr."""
    if not quiet:
        click.echo(text, err=True)


@contextmanager
def progress(quiet: bool = False) -> Iterator[_types.Progress]:
    """A function (what, done, total) that draws a bar where stderr is a terminal.

    Warnings of the library become one line on stderr each, not Python's two with a path.
    """
    with warnings.catch_warnings():
        context = click.get_current_context(silent=True)
        command = click.Command("") if context is None else context.command
        warnings.showwarning = lambda message, *_: say(
            f"warning: {in_options(str(message), command)}", quiet
        )
        if quiet or not sys.stderr.isatty():
            yield _types.no_progress
            return
        columns = (
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def report(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    for other in tasks.values():
                        bars.stop_task(other)
                    tasks[what] = bars.add_task(what, total=total or None)
                bars.update(tasks[what], completed=done)

            yield report


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """A table on stdout.

    On a terminal it has the terminal's width; where that is too narrow for its longest words, a row
    is a block of lines. Elsewhere it is a line ``# title``, and then tab-separated values.
    """
    console = Console()
    if not console.is_terminal:
        for line in ([f"# {title}"], columns, *rows):
            click.echo("\t".join(" ".join(str(cell).split()) for cell in line))
        return
    drawn = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for place, column in enumerate(columns):
        numbers = all(_is_number(row[place]) for row in rows)
        drawn.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(escape(str(cell)) for cell in row))
    anywhere = console.options.update(max_width=UNBOUNDED)
    if console.measure(drawn, options=anywhere).minimum <= console.width:
        console.print(drawn)
        return
    console.print(escape(title), style="bold")
    for row in rows:
        console.print()
        for column, cell in zip(columns, row, strict=True):
            console.print(f"  {escape(column)}: {escape(str(cell))}", overflow="fold")


def _is_number(cell: Any) -> bool:
    try:
        float(str(cell).rstrip("%").replace(",", ""))
    except ValueError:
        return False
    return True
