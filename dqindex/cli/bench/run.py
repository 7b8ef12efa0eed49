"""``dqindex bench run``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from dqindex.bench.dataset import Description
from dqindex.bench.peers import PEERS
from dqindex.bench.run import DEFAULT_THREADS, run
from dqindex.cli import options
from dqindex.cli.terminal import progress, say
from dqindex.places.place import shown
from dqindex.storage.outputs import refuse_inputs


def _numbers(words: str) -> list[float]:
    return [float(word) for word in words.split(",")]


@click.command("run")
@click.option(
    "--data",
    required=True,
    metavar="DATA",
    type=options.PATH,
    help="Vectors of any format, an HDF5 file of ann-benchmarks, or a set that a package carries: "
    "glove-50, fr-300.",
)
@click.option(
    "--queries",
    metavar="Q",
    type=options.PATH,
    help="Queries.  [default: those of the HDF5 file, else rows held out of DATA]",
)
@click.option(
    "--truth",
    metavar="FILE",
    type=options.PATH,
    help="The true neighbours of the queries: a file of big-ann-benchmarks (.ibin, or without a "
    "suffix), .ivecs, .npy or FILE.hdf5:NAME.  [default: those of the HDF5 file, else computed]",
)
@click.option(
    "--n-queries",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="How many rows to hold out, or how many of the queries to use.",
)
@options.metric(None, "  [default: the HDF5 file's, else l2]")
@click.option(
    "--spec",
    "specs",
    multiple=True,
    metavar="SPEC",
    help="Any spec of 'dqindex build'; may be repeated.",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="PEER[:OPTIONS]",
    help=f"A library and its options: faiss:OPQ16,IVF512,PQ16 or hnswlib:M=16; may be repeated. "
    f"There are {', '.join(PEERS)}.",
)
@click.option(
    "--param",
    "grid",
    multiple=True,
    callback=options.pairs(_numbers, "NAME=VALUE,VALUE, as in nprobe=1,4,16"),
    metavar="NAME=V,V",
    help="Values of a search parameter (nprobe, efSearch, k_factor_rf, ht, ef, …) instead of the "
    "default sweep; may be repeated.",
)
@click.option(
    "--auto",
    is_flag=True,
    help="Measure only the points that no other of the same method beats in recall and speed.",
)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours.")
@click.option(
    "--threads",
    multiple=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads of the searches; may be repeated, for a pass each.  [default: 1, then all CPUs]",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="RESULTS.jsonl",
    type=options.PATH,
    help="File of results; new ones are appended, and those that it has are not measured again.",
)
@options.vector_column
@options.compose(options.seed, options.quiet)
def command(
    data: str,
    queries: str | None,
    truth: str | None,
    n_queries: int,
    metric: str | None,
    specs: tuple[str, ...],
    peers: tuple[str, ...],
    grid: dict[str, list[float]],
    auto: bool,
    k: int,
    threads: tuple[int, ...],
    output: str,
    vector_column: str | None,
    seed: int,
    quiet: bool,
) -> None:
    """Measure indexes on DATA: recall, throughput, latency, build time, bytes and memory.

    Each method runs in a process of its own on the same vectors and queries. A run that was
    interrupted goes on where it stopped. A peer that is not installed is skipped:
    pip install 'dqindex[bench]'.
    """
    if not specs and not peers:
        raise click.UsageError("nothing to measure; give --spec or --peer")
    refuse_inputs(output, data, queries, truth)
    description = Description(data, queries, metric, n_queries, seed, vector_column, truth)
    with progress(quiet) as report:
        outcome = run(
            description,
            [*(f"dqindex:{spec}" for spec in specs), *peers],
            output,
            k=k,
            threads=threads or DEFAULT_THREADS,
            grid=grid,
            auto=auto,
            seed=seed,
            command=shlex.join([Path(sys.argv[0]).name, *map(shown, sys.argv[1:])]),
            progress=report,
            say=lambda line: say(line, quiet),
        )
    if outcome.failed:
        names = ", ".join(outcome.failed)
        raise click.ClickException(f"{len(outcome.failed)} methods failed: {names}")
