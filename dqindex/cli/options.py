"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import click
import pyarrow as pa
import pyarrow.parquet as pq

from dqindex.cli.terminal import say
from dqindex.sids.vocabulary import LC_REC
from dqindex.storage.files import atomic_file
from dqindex.storage.outputs import check_output
from dqindex.vectors import VectorSource, open_vectors, read_ids
from dqindex.vectors.usable import UsableVectors

Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")

# A path, or what else can stand for one: the shell completes it, and the library opens it.
PATH = click.Path(readable=False)

threads = click.option(
    "--threads", type=click.IntRange(min=1), help="Threads to use.  [default: all CPUs]"
)
seed = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of every random choice.",
)
block_rows = click.option(
    "--block-rows",
    type=click.IntRange(min=1),
    help="Vectors read at a time.  [default: 64 MiB of them]",
)
vector_column = click.option(
    "--vector-column",
    metavar="NAME",
    help="Parquet: column of the vectors.  [default: the only list column]",
)
id_column = click.option(
    "--id-column",
    metavar="NAME",
    help="Parquet: column of the ids.  [default: item_id or id, if there is one]",
)
ids = click.option(
    "--ids",
    "ids_path",
    metavar="FILE",
    type=PATH,
    help="Ids for a format that has none: a one-column Parquet file, or a 1-d .npy of integers.",
)
skip_invalid = click.option(
    "--skip-invalid",
    is_flag=True,
    help="Leave out rows that are null, of another width, or not finite, and write their ids to "
    "a file with the output's name and .skipped.parquet.",
)
quiet = click.option("--quiet", "-q", is_flag=True, help="Print no progress and no messages.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def metric(default: str | None, note: str = "") -> Callable[[Command], Command]:
    """``--metric`` with its default; `note` says what stands in for none."""
    return click.option(
        "--metric",
        type=click.Choice(["l2", "ip", "cosine"]),
        default=default,
        show_default=default is not None,
        help=f"Distance or similarity that ranks neighbours.{note}",
    )


def subspaces(what: str) -> Callable[[Command], Command]:
    """``-L``, and what it is the number of."""
    return click.option(
        "-L",
        "--subspaces",
        "n_subspaces",
        type=click.IntRange(min=1),
        default=8,
        show_default=True,
        help=what,
    )


def pairs(
    value_of: Callable[[str], T], example: str
) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], dict[str, T]]:
    """A callback that reads ``NAME=VALUE`` words; `value_of` raises ValueError for a bad value."""

    def read(ctx: click.Context, param: click.Parameter, words: tuple[str, ...]) -> dict[str, T]:
        found = {}
        for word in words:
            name, equals, value = word.partition("=")
            try:
                if not name or not equals:
                    raise ValueError
                found[name] = value_of(value)
            except ValueError:
                raise click.BadParameter(f"{word!r} is not {example}") from None
        return found

    return read


def balance(default: str) -> Callable[[Command], Command]:
    """``--balance`` with the default of the library call behind the command."""
    return click.option(
        "--balance",
        type=click.Choice(["variance", "log-variance"]),
        default=default,
        show_default=True,
        help="Sum that is the same for all subspaces: of variances (arXiv 2508.11194), or of their "
        "logarithms (Ge et al., OPQ).",
    )


def compose(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Apply several options, the first listed first in the help."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


def _sizes(ctx: click.Context, param: click.Parameter, value: str) -> int | list[int]:
    """``256``, or ``512,256,128``."""
    try:
        numbers = [int(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a number, or numbers between commas") from None
    if min(numbers) < 1:
        raise click.BadParameter(f"{value!r} holds {min(numbers)}; all must be at least 1")
    return numbers[0] if len(numbers) == 1 else numbers


def _levels(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """``256``, or ``256,256``; nothing is no level."""
    if not value:
        return ()
    found = _sizes(ctx, param, value)
    return (found,) if isinstance(found, int) else tuple(found)


def _scale(ctx: click.Context, param: click.Parameter, value: str) -> str | list[float]:
    """``equal``, or ``1,0.5``."""
    if value == "equal":
        return value
    try:
        return [float(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither 'equal' nor numbers") from None


# How to read a map that is not dqindex's own.
MAP_FORMATS = [
    *("parquet", "csv", "jsonl", "table", "lc-rec", "offset", "npy", "pt", "reverse"),
    *("openonerec", "openonerec-reverse", "trie"),
]
WRITTEN_FORMATS = ["vocabulary"]
map_format = click.option(
    "--format",
    "form",
    type=click.Choice(MAP_FORMATS),
    help="Format of MAP.  [default: by its name and content]",
)
foreign_columns = compose(
    click.option(
        "--id-column",
        metavar="NAME",
        help="Column, or JSON field, of the ids in a foreign MAP.  [default: item_id]",
    ),
    click.option(
        "--codes-column",
        metavar="NAME",
        help="Column, or JSON field, of the tokens in a foreign MAP.  [default: codes]",
    ),
    click.option(
        "--code-sizes",
        callback=_levels,
        metavar="SIZES",
        help="Codes of each level of a foreign MAP (256,256,256).  [default: the largest code "
        "plus one]",
    ),
    click.option(
        "--transpose", is_flag=True, help="The rows of MAP (.npy) are levels, and not items."
    ),
    click.option(
        "--map-token",
        "token",
        default=LC_REC,
        metavar="TEMPLATE",
        help="How the tokens of a foreign MAP (lc-rec) are written.  [default: <{letter}_{code}>]",
    ),
    click.option(
        "--map-begin",
        "begin",
        default="",
        metavar="TEXT",
        help="Mark before the tokens of each of its IDs.",
    ),
    click.option(
        "--map-end",
        "end",
        default="",
        metavar="TEXT",
        help="Mark after the tokens of each of its IDs.",
    ),
)
foreign = compose(map_format, foreign_columns)


# Which model, for the commands that fit one.
family = compose(
    click.option(
        "--method",
        type=click.Choice(["dq", "rq"]),
        default="dq",
        show_default=True,
        help="dq: tokens that do not depend on each other, the paper's method. rq: each token "
        "encodes the residual of those before it; the distortion is lower, and a prefix has a "
        "meaning. docs/methods.md compares them.",
    ),
    subspaces("Tokens an item: with dq, the subspaces, beside the coarse tokens."),
    click.option(
        "-K",
        "--codewords",
        "n_codewords",
        default="256",
        show_default=True,
        callback=_sizes,
        help="Codes a token: one number, or one a token (512,256,256,128).",
    ),
    click.option(
        "--coarse",
        callback=_levels,
        metavar="SIZES",
        help="Put residual tokens in front of dq's (256, or 256,256), so that the first token is "
        "a category. Without them a prefix of an ID means no more than its tokens, and a beam "
        "search over prefixes prunes nothing.",
    ),
    click.option(
        "--polish",
        type=click.IntRange(min=0),
        help="Rounds of training all parts together, at most.  [default: 6 with rq or --coarse, "
        "else 0]",
    ),
    click.option(
        "--beam",
        type=click.IntRange(min=1),
        help="Prefixes that encoding keeps, where tokens depend on each other.  "
        "[default: 8 with rq or --coarse]",
    ),
    balance("variance"),
    click.option(
        "--max-share",
        type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
        help="Balanced k-means: no code of a token gets more than this share of the training "
        "vectors (0.01). It prevents collapse, costs distortion, and rules out --polish.",
    ),
    click.option(
        "--block-widths",
        callback=_levels,
        metavar="WIDTHS",
        help="Widths of blocks that stand side by side in a vector (256,128: text beside image), "
        "so that --block-scale brings them to one scale.",
    ),
    click.option(
        "--block-scale",
        default="equal",
        show_default=True,
        callback=_scale,
        metavar="FACTORS",
        help="With --block-widths: 'equal' gives all blocks the same variance; or a factor a block "
        "(1,0.5).",
    ),
)
source = compose(vector_column, id_column, ids)


def open_source(
    path: str,
    vector_column: str | None,
    id_column: str | None,
    ids_path: str | None = None,
    skip_invalid: bool = False,
) -> VectorSource:
    """The vectors that a command's source options describe."""
    ids = None
    if ids_path is not None:
        ids, id_column = read_ids(ids_path, id_column), None
    return open_vectors(
        path, vector_column=vector_column, id_column=id_column, ids=ids, skip_invalid=skip_invalid
    )


def skipped_file(output: str) -> str:
    """Where ``--skip-invalid`` writes the ids of the rows that it leaves out."""
    return f"{output.rstrip('/')}.skipped.parquet"


def check_skipped(skip_invalid: bool, output: str, *inputs: str | None) -> None:
    """Refuse now what `tell_skipped` could not write, or would replace."""
    if skip_invalid:
        check_output(skipped_file(output), *inputs)


def tell_skipped(source: VectorSource, output: str, quiet: bool) -> None:
    """After ``--skip-invalid``: say how many rows were left out, and write which."""
    if not isinstance(source, UsableVectors):
        return
    skipped = source.skipped_ids
    path = skipped_file(output)
    with atomic_file(path) as file:
        table = pa.table({"item_id": skipped})
        pq.write_table(table, pa.PythonFile(file, mode="w"), write_page_checksum=True)
    rows = len(skipped) + source.n
    say(f"{path}: {len(skipped):,} of {rows:,} rows can't be used and are left out", quiet)
