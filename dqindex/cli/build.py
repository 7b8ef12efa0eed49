"""``dqindex build``."""

from __future__ import annotations

import json
from typing import Any

import click
from click.core import ParameterSource

from dqindex._types import Progress
from dqindex.cli import options
from dqindex.cli.terminal import progress, say, table
from dqindex.index.build import build_index
from dqindex.index.candidates import FAMILIES
from dqindex.index.folder import write_folder
from dqindex.index.index import DQIndex
from dqindex.index.labels import check_embeddable
from dqindex.index.merging import build_like
from dqindex.index.names import Names
from dqindex.index.spec import make_index, parse_spec
from dqindex.index.target import build_to_target
from dqindex.storage.outputs import refuse_inputs
from dqindex.vectors import VectorSource

# What of the vectors' own training an index that is built like another does not take.
TRAINING = (
    "spec",
    "target_recall",
    "family",
    "metric",
    "balance",
    "covariance",
    "polish",
    "score_aware",
    "train_rows",
    "seed",
)


@click.command("build")
@click.argument("vectors", type=options.PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="DIR",
    type=options.PATH,
    help="Folder to write the index to.",
)
@click.option(
    "--spec",
    metavar="SPEC",
    help="FAISS index_factory grammar, with DQ{L} or DQ{L}_{d_out} wherever OPQ could stand: "
    "DQ16,IVF1024,PQ16.",
)
@click.option(
    "--like",
    metavar="DIR0",
    type=options.PATH,
    help="Instead of --spec: use the training of the index at DIR0, and train nothing, for a "
    "shard that 'merge' takes, or for a rebuild.",
)
@click.option(
    "--target-recall",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="R",
    help="Choose the spec and the search parameters by measuring: the fastest that finds this "
    "share of the 10 nearest neighbours.  With --spec, only the parameters.",
)
@click.option(
    "--max-bytes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="B",
    help="With --target-recall: the most bytes a vector, with ids, centroids and all other parts.",
)
@click.option(
    "--family",
    type=click.Choice(FAMILIES),
    default="all",
    show_default=True,
    help="With --target-recall: which specs to try; dq leaves out those of FAISS without DQ.",
)
@options.metric("l2")
@options.balance("log-variance")
@click.option(
    "--covariance",
    type=click.Choice(["raw", "residual"]),
    help="Covariance from which DQ learns its axes: of the vectors, or of their residuals.  "
    "[default: residual where the index encodes residuals]",
)
@click.option(
    "--polish",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Most rounds of OPQ, which start from DQ: more recall if a code has few bits for many "
    "dimensions.",
)
@click.option(
    "--score-aware",
    type=float,
    default=1.0,
    show_default=True,
    metavar="ETA",
    help="For cosine and ip: weight of the error of a product code along its vector, which "
    "changes scores; 2 to 4 often give more recall for the same bytes, 1 is the nearest codeword.",
)
@click.option(
    "--train-rows",
    type=click.IntRange(min=1),
    help="Vectors to train on.  [default: by the spec]",
)
@click.option(
    "--embed-ids",
    is_flag=True,
    help="Put the ids, integers from 0 on, into the lists of an IVF, so that stock FAISS returns "
    "them.",
)
@options.source
@options.skip_invalid
@options.compose(options.block_rows, options.threads, options.seed, options.quiet, options.as_json)
def command(
    vectors: str,
    output: str,
    like: str | None,
    embed_ids: bool,
    vector_column: str | None,
    id_column: str | None,
    ids_path: str | None,
    skip_invalid: bool,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Build an index of VECTORS that stock FAISS reads.

    DIR holds manifest.json, which names the FAISS index, the ids and the model. It is replaced in
    one step: a build that fails or is interrupted leaves the old index unchanged.
    """
    _check_usage(like, embed_ids, settings)
    refuse_inputs(output, vectors, ids_path, like)
    options.check_skipped(skip_invalid, output, vectors, ids_path, like)
    with progress(quiet) as report:
        source = options.open_source(vectors, vector_column, id_column, ids_path, skip_invalid)
        with write_folder(output) as writer:
            index = _made(source, like, embed_ids, report, settings)
            index.save(writer)
    options.tell_skipped(source, output, quiet)
    if as_json:
        click.echo(json.dumps({**index.manifest, "training_seconds": index.training_seconds}))
        return
    if settings["target_recall"] is not None:
        _show_target(index.manifest)
    spent = ", ".join(f"{name} {took:.1f} s" for name, took in index.training_seconds.items())
    trained = f"trained: {spent}" if like is None else f"under the training of {like}"
    say(
        f"{output}: {index.n:,} x {index.d}, {index.spec}, "
        f"{index.manifest['bytes_per_vector']} bytes a vector; {trained}",
        quiet,
    )


def _check_usage(like: str | None, embed_ids: bool, settings: dict[str, Any]) -> None:
    """Refuse options that do not go together.

    Raises
    ------
    click.UsageError
    """
    spec, target_recall = settings["spec"], settings["target_recall"]
    if like is not None:
        context = click.get_current_context()
        for name in TRAINING:
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
                option = f"--{name.replace('_', '-')}"
                raise click.UsageError(
                    f"{option} is for a training, and --like has none; leave it out"
                )
    elif spec is None and target_recall is None:
        raise click.UsageError("give --spec, --like, or --target-recall to have a spec chosen")
    if settings["max_bytes"] is not None and (target_recall is None or spec is not None):
        raise click.UsageError("--max-bytes is for --target-recall without --spec")
    if settings["family"] != "all" and (target_recall is None or spec is not None):
        raise click.UsageError("--family is for --target-recall without --spec")
    if embed_ids and spec is None and like is None:
        raise click.UsageError("--embed-ids needs --spec or --like: not every index can hold ids")


def _made(
    source: VectorSource,
    like: str | None,
    embed_ids: bool,
    report: Progress,
    settings: dict[str, Any],
) -> DQIndex:
    """The index that the options describe."""
    given = dict(settings)
    spec, target_recall, most, family = (
        given.pop(name) for name in ("spec", "target_recall", "max_bytes", "family")
    )
    if embed_ids and like is None:
        # Before hours of training: afterwards the index says the same.
        unmade = make_index(parse_spec(spec, source.d), source.d, given["metric"])
        check_embeddable(unmade, Names(source.ids, source.n), spec)
    if like is not None:
        how = {name: given[name] for name in ("block_rows", "threads")}
        index = build_like(source, like, progress=report, **how)
    elif target_recall is not None:
        index = build_to_target(
            source,
            target_recall,
            max_bytes=most,
            spec=spec,
            family=family,
            progress=report,
            **given,
        )
    else:
        index = build_index(source, spec, progress=report, **given)
    if embed_ids:
        index.embed_ids()
    return index


def _show_target(manifest: dict[str, Any]) -> None:
    """The table that the choice was made from, and what was confirmed."""
    target = manifest["target"]
    table(
        f"recall {target['recall']:g} of {target['k']} neighbours, on a sample, one thread",
        ["spec", "bytes a vector", "parameters", "recall", "queries/s", "chosen"],
        [
            [
                one["spec"],
                f"{one['bytes_per_vector']:.1f}",
                _parameters(one["parameters"]),
                f"{one['recall']:.3f}",
                f"{one['qps']:,.0f}",
                "yes" if one["spec"] == manifest["spec"] else "",
            ]
            for one in target["candidates"]
        ],
    )
    say(f"chosen: {target['why']}")
    chosen = _parameters(manifest["search_parameters"]) or "no parameters"
    say(
        f"confirmed on all vectors: recall {target['confirmed_recall']:.3f} ± "
        f"{target['confirmed_error']:.3f} of {target['confirmed_queries']} held-out queries, "
        f"{target['qps_one_thread']:,.0f} a second, with {chosen}"
    )


def _parameters(parameters: dict[str, float]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in parameters.items())
