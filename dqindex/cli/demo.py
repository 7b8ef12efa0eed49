"""``dqindex demo``: real data, start to end."""

from __future__ import annotations

import time
import warnings
from typing import Any

import click
import numpy as np

import dqindex
from dqindex.cli import options
from dqindex.cli.terminal import progress, say, table
from dqindex.errors import DQWarning
from dqindex.evaluation import without_self
from dqindex.parallel.threads import thread_limit
from dqindex.vectors.packaged import open_packaged

SPEC = "DQ16,IVF512,PQ16"
# The same bytes a vector, with no rotation, and with FAISS's iterated one.
PEERS = {"PQ, no rotation": "Pad64,IVF512,PQ16", "OPQ, 50 rounds": "OPQ16_64,IVF512,PQ16"}
WORDS = ("frog", "paris", "monday", "guitar", "physics")
NPROBE = 64
N_QUERIES = 1000


@click.command("demo")
@options.compose(options.threads, options.seed, options.quiet)
def command(threads: int | None, seed: int, quiet: bool) -> None:
    """Show it all on 400,000 real word vectors: index, neighbours, recall, semantic IDs, losses."""
    began = time.perf_counter()
    source = open_packaged("glove-50")
    vectors = source.read()
    words = source.ids.to_pylist() if source.ids is not None else []
    row = {word: place for place, word in enumerate(words)}
    asked = np.array([row[word] for word in WORDS])
    held = np.sort(np.random.default_rng(seed).choice(source.n, N_QUERIES, replace=False))
    queries = vectors[held]
    with progress(quiet) as report, thread_limit(threads) as used, warnings.catch_warnings():
        # Without a rotation, padding makes subspaces of nothing: that is the peer's handicap.
        warnings.simplefilter("ignore", DQWarning)
        report("exact search", 0, 0)
        # One more than asked for: the query itself is in the index, and is left out below.
        exact, _ = dqindex.exact_neighbors(vectors, np.concatenate([queries, vectors[asked]]), 11)
        rows = []
        for name, spec in {"DQ, one SVD": SPEC, **PEERS}.items():
            report(name, 0, 0)
            index = dqindex.build_index(source, spec, seed=seed, threads=used)
            found = index.search(queries, 11, parameters={"nprobe": NPROBE}, threads=used)
            recall = dqindex.recall_at(
                without_self(found.positions, held), without_self(exact[:N_QUERIES], held)
            )
            spent = index.training_seconds
            rows.append(
                [
                    name,
                    spec,
                    index.manifest["bytes_per_vector"],
                    f"{recall:.3f}",
                    f"{spent['rotation']:.2f}",
                    f"{sum(spent.values()):.2f}",
                ]
            )
            if spec == SPEC:
                shown = index
        report("semantic IDs", 0, 0)
        model = dqindex.DQModel(n_subspaces=8, seed=seed).fit(source)
        losses = model.losses(vectors[::10])
    _print_neighbors(words, asked, shown, vectors, exact[N_QUERIES:])
    table(
        f"10-recall@10 of {N_QUERIES:,} words, nprobe {NPROBE}",
        ["method", "spec", "bytes a vector", "recall", "rotation, s", "training, s"],
        rows,
    )
    _print_sids(words, asked, model, vectors, exact[N_QUERIES:])
    table(
        "Losses of every tenth word (mean): the note's claim L_R = L_C",
        ["L_R, original space", "L_C, subspaces", "largest relative difference"],
        [
            [
                f"{losses.reconstruction.mean():.9f}",
                f"{losses.codebook.mean():.9f}",
                f"{_relative(losses):.1e}",
            ]
        ],
    )
    say(f"done in {time.perf_counter() - began:.0f} s", quiet)


def _relative(losses: Any) -> float:
    gap = abs(losses.reconstruction - losses.codebook)
    return float((gap / losses.reconstruction.clip(min=1e-300)).max())


def _print_neighbors(words: list[str], asked: Any, index: Any, vectors: Any, exact: Any) -> None:
    found = without_self(index.search(vectors[asked], 11).positions, asked)
    true = without_self(exact, asked)
    rows = []
    for place, word in enumerate(WORDS):
        rows.append([word, "found", " ".join(words[one] for one in found[place][:8])])
        rows.append(["", "exact", " ".join(words[one] for one in true[place][:8])])
    table(f"Neighbours by {index.spec}", ["word", "", "nearest"], rows)


def _print_sids(words: list[str], asked: Any, model: Any, vectors: Any, exact: Any) -> None:
    rows = []
    for place, (word, near) in enumerate(zip(WORDS, without_self(exact, asked), strict=True)):
        shown = [asked[place], *near[:2]]
        own = model.encode(vectors[asked[place]][None])[0]
        for one, codes in zip(shown, model.encode(vectors[shown]), strict=True):
            shared = "" if words[one] == word else f"{int((codes == own).sum())} shared"
            rows.append([words[one], " ".join(f"{code:3d}" for code in codes), shared])
    table("Semantic IDs (8 x 256) of words and of their two nearest", ["word", "tokens", ""], rows)
