"""``dqindex sids evaluate``."""

from __future__ import annotations

import json
from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.sids import loading
from dqindex.cli.terminal import say, table
from dqindex.parallel.threads import thread_limit
from dqindex.places.place import place

FIGURES = (
    "unique_share",
    "collision_rate",
    "singleton_share",
    "largest_group",
    "gini",
    "entropy_ratio",
    "distortion",
    "r_squared",
    "neighbors_decoded",
    "neighbors_tokens",
)


@click.command("evaluate")
@click.argument("map_path", metavar="MAP", type=options.PATH)
@click.option(
    "--vectors",
    metavar="ITEMS",
    type=options.PATH,
    help="The items' vectors: adds distortion and neighbourhoods. Joined by id where MAP and "
    "ITEMS have ids, else in the map's order.",
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
    """Measure MAP, own or foreign: collisions, use of codes, and what it keeps of the geometry."""
    sids = loading.with_model(loading.read_any(map_path, **foreign), map_path, model_path)
    source = None
    if vectors is not None:
        source = options.open_source(vectors, vector_column, vector_id_column, ids_path)
    with thread_limit(threads):
        figures = sids.evaluate(source, seed=seed)
    if sids.sizes_guessed:
        say(
            "the map does not say how many codes its levels have: the largest code plus one is "
            "taken; give --code-sizes",
            quiet,
        )
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        _print(place(map_path).name, figures)


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


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
