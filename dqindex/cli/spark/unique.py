"""Options of the commands that make IDs unique on many machines."""

from __future__ import annotations

import click

from dqindex.cli import options
from dqindex.sids.unique import MODES

model = click.option(
    "--model",
    "model_path",
    required=True,
    metavar="MODEL",
    type=options.PATH,
    help="The model that gives the tokens.",
)
ways = options.compose(
    click.option(
        "--unique",
        type=click.Choice(MODES),
        default="reassign",
        show_default=True,
        help="Items with the same tokens: as 'sids extract' says.",
    ),
    click.option(
        "--cap",
        type=click.IntRange(min=1),
        default=1,
        help="With --unique cap: most items an ID.",
    ),
    click.option(
        "--keep",
        type=click.IntRange(min=0),
        help="First tokens that a collision may not change.  [default: the residual and coarse "
        "tokens; 0 with dq]",
    ),
)
