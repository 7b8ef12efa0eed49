"""``dqindex sids evaluate``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.sids import loading
from dqindex.cli.terminal import say, table
from dqindex.errors import InputError
from dqindex.parallel.threads import thread_limit
from dqindex.places.place import place
from dqindex.sids.conditions import Condition, holding, parse

FIGURES = (
    "unique_share",
    "collision_rate",
    "singleton_share",
    "largest_group",
    "gini",
    "entropy_ratio",
    "entropy_capacity_ratio",
    "same_vector_share",
    "distortion",
    "r_squared",
    "neighbors_decoded",
    "neighbors_tokens",
)


def _conditions(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> list[Condition]:
    try:
        return [parse(text) for text in texts]
    except InputError as error:
        raise click.BadParameter(str(error)) from None


@click.command("evaluate")
@click.argument("map_path", metavar="MAP", type=options.PATH)
@click.option(
    "--vectors",
    metavar="ITEMS",
    type=options.PATH,
    help="The items' vectors: adds distortion and neighbourhoods. Joined by id where MAP and "
    "ITEMS have ids, else in the map's order.",
)
@click.option(
    "--published",
    type=click.Path(),
    metavar="MAP",
    help="If MAP holds added items ('append --delta'): the map before. Adds, for every length, "
    "the share of added items whose prefix no published item has.",
)
@click.option(
    "--fail-if",
    "conditions",
    multiple=True,
    callback=_conditions,
    metavar="CONDITION",
    help="Exit with 1 if this holds, such as collision_rate>0.01; may be given several times. "
    "The names of figures are those of --json; 'before.' in front of a name means the tokens "
    "before collisions were resolved. Other names are prefixes.1.largest_group and "
    "levels.0.coverage.",
)
@options.foreign
@loading.model
@options.vector_column
@click.option(
    "--vector-id-column",
    metavar="NAME",
    help="Parquet: column of the ids of ITEMS.  [default: item_id or id, if there is one]",
)
@options.ids
@options.compose(options.threads, options.seed, options.quiet, options.as_json)
def command(
    map_path: str,
    vectors: str | None,
    published: str | None,
    conditions: list[Condition],
    model_path: str | None,
    vector_column: str | None,
    vector_id_column: str | None,
    ids_path: str | None,
    threads: int | None,
    seed: int,
    quiet: bool,
    as_json: bool,
    **foreign: Any,
) -> None:
    """Measure MAP, own or foreign: collisions, use of codes, and neighbours that the codes keep.

    entropy_ratio is the entropy of the IDs over log n, 1 if all are unique; entropy_capacity_ratio
    is over the log of the number of possible IDs, as in TorchEasyRec. same_vector_share
    is the share of the collisions between items that have the same vector, which no codes could
    tell apart.
    """
    sids = loading.with_model(loading.read_any(map_path, **foreign), map_path, model_path)
    source = None
    if vectors is not None:
        source = options.open_source(vectors, vector_column, vector_id_column, ids_path)
    with thread_limit(threads):
        before = None if published is None else loading.read_any(published)
        figures = sids.evaluate(source, published=before, seed=seed)
    try:
        failed = holding(figures, conditions)
    except InputError as error:
        raise click.UsageError(f"--fail-if: {error}") from None
    if sids.sizes_guessed:
        say(
            "the map does not say how many codes its levels have: the largest code plus one is "
            "used; give --code-sizes",
            quiet,
        )
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        _print(place(map_path).name, figures)
    for condition, value in failed:
        click.echo(f"failed: {condition.figure} is {value:g}, and so {condition}", err=True)
    if failed:
        sys.exit(1)


def _print(name: str, figures: dict[str, Any]) -> None:
    stages = [stage for stage in ("before", "after") if stage in figures]
    rows = [
        [figure, *(_text(figures[stage].get(figure)) for stage in stages)]
        for figure in FIGURES
        if any(figure in figures[stage] for stage in stages)
    ]
    information = figures["after"]["mutual_information"]
    if information is not None:
        between = " and ".join(str(level) for level in information["between"])
        rows += [
            [
                "mutual information, mean",
                *(_text(figures[stage]["mutual_information"]["mean"]) for stage in stages),
            ],
            [
                f"mutual information, largest (levels {between})",
                *(_text(figures[stage]["mutual_information"]["largest"]) for stage in stages),
            ],
        ]
    table(f"{name}: {figures['n']:,} items", ["figure", *stages], rows)
    table(
        "Levels (sizes guessed)" if figures["sizes_guessed"] else "Levels",
        ["level", "size", "coverage", "dead", "perplexity"],
        [
            [
                place,
                level["size"],
                f"{level['coverage']:.2%}",
                level["dead"],
                f"{level['perplexity']:.1f}",
            ]
            for place, level in enumerate(figures["after"]["levels"])
        ],
    )
    _print_groups(figures["after"])


def _print_groups(figures: dict[str, Any]) -> None:
    """How many items share the start of an ID, and which share all of one."""
    unseen = "unseen_share" in figures["prefixes"][0]
    table(
        "Prefixes",
        ["tokens", "unique share", "largest group", *(["never published"] if unseen else [])],
        [
            [
                prefix["length"],
                f"{prefix['unique_share']:.2%}",
                prefix["largest_group"],
                *([f"{prefix['unseen_share']:.2%}"] if unseen else []),
            ]
            for prefix in figures["prefixes"]
        ],
    )
    if figures["worst_groups"]:
        table(
            "IDs that most items share",
            ["codes", "items", "ids"],
            [
                [
                    " ".join(map(str, group["codes"])),
                    group["items"],
                    " ".join(map(str, group["ids"]))
                    + " ..." * (group["items"] > len(group["ids"])),
                ]
                for group in figures["worst_groups"]
            ],
        )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
