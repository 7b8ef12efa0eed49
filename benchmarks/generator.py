"""A generator of semantic IDs in the manner of TIGER: what IDs are worth to it.

python benchmarks/generator.py --sequences FILE --vectors FILE [--map FILE]

Leave-one-out: the last item of each user is the test, the last but one the validation. Rows that
``results/generator.json`` has already, under the same settings, are not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np
import torch
from baselines.quantizer import NeuralQuantizer
from generation.batches import batches, histories
from generation.branches import Branches
from generation.model import Shape
from generation.ranking import item_lists, valid_share
from generation.search import search
from generation.training import BATCH, BATCH_ASKED, EPOCHS, RATE, Trained, told, train
from interactions import (
    CUTS,
    NONE,
    Sequences,
    Split,
    figures,
    figures_by_group,
    leave_one_out,
    places_in_lists,
    popularity_groups,
    read_sequences,
)

from dqindex._types import Float32, Int64
from dqindex.sids.semantic_ids import SemanticIds, read_sids, semantic_ids
from dqindex.sids.trie import trie_of
from dqindex.sids.tuples import count_distinct

MADE: dict[str, dict[str, Any]] = {
    "DQ": {"n_subspaces": 4},
    "DQ, 8 tokens": {"n_subspaces": 8},
    "1 + DQ": {"n_subspaces": 3, "coarse": (256,)},
    "RQ": {"method": "rq", "n_subspaces": 4},
}
NEURAL, FOREIGN = "RQ-VAE", "LETTER"
NEURAL_STEPS = 1500
BEAMS = 30
# Users whose tuples are also searched without the trie, and tuples of each.
FREE_USERS, FREE_TUPLES = 1000, 10


# The control: the same IDs, but of other items. The last token first. Training in which a token
# competes with all of its level. Three times as many epochs.
SHUFFLED, REVERSED, WITHOUT = "items shuffled", "levels reversed", "trained without the trie"
LONGER = f"{3 * EPOCHS} epochs"


class Row(NamedTuple):
    """What is measured: IDs, how collisions are resolved, and what else is done to the map.

    Attributes
    ----------
    ids : str
    unique : str
    change : str
        Nothing, or one of the four above.
    """

    ids: str
    unique: str
    change: str = ""


# The first of these first, should time run out.
ROWS = [
    Row("RQ", "reassign"),
    Row("DQ", "reassign"),
    Row("1 + DQ", "reassign"),
    Row(FOREIGN, "none"),
    Row("DQ", "suffix"),
    Row("DQ", "none"),
    Row(NEURAL, "reassign"),
    Row("DQ", "reassign", SHUFFLED),
    Row("RQ", "reassign", REVERSED),
    Row("DQ, 8 tokens", "reassign"),
    Row("RQ", "none"),
    Row("RQ", "suffix"),
    Row("RQ", "reassign", WITHOUT),
    Row("DQ", "reassign", WITHOUT),
    Row("DQ", "reassign", REVERSED),
    Row("1 + DQ", "suffix"),
    Row("1 + DQ", "none"),
    Row(NEURAL, "suffix"),
    Row(NEURAL, "none"),
    Row("RQ", "reassign", LONGER),
    Row("DQ", "reassign", LONGER),
    Row(FOREIGN, "none", LONGER),
]
# Rows that are measured with more seeds, to show the spread.
SPREAD = ROWS[:2]


class Catalogue:
    """Vectors of items, and their maps, whose rows are those of the vectors.

    Parameters
    ----------
    vectors : (items, d) float32
    foreign : path, optional
        LETTER's map.
    """

    def __init__(self, vectors: Float32, foreign: Path | None = None) -> None:
        self.vectors, self.foreign = vectors, foreign

    def map_of(self, row: Row) -> SemanticIds:
        """The map of a row."""
        if row.ids == FOREIGN:
            made = self._published()
        elif row.ids == NEURAL:
            made = self._neural.semantic_ids(self.vectors, unique=row.unique)
        else:
            made = semantic_ids(self.vectors, unique=row.unique, **MADE[row.ids])
        return changed(made, row.change)

    def lost(self, sids: SemanticIds) -> float | None:
        """The share of the variance that a map loses, if it is known."""
        energy = float(self.vectors.var(axis=0, dtype=np.float64).sum())
        found = float(sids.distortion.mean(dtype=np.float64)) / energy
        return None if np.isnan(found) else round(found, 4)

    @cached_property
    def _neural(self) -> NeuralQuantizer:
        return NeuralQuantizer("rq", 4, most_steps=NEURAL_STEPS).fit(self.vectors)

    def _published(self) -> SemanticIds:
        if self.foreign is None:
            raise SystemExit(f"the row {FOREIGN} needs --map")
        found = read_sids(self.foreign, "lc-rec")
        codes = found.codes[found.rows_of(np.arange(len(self.vectors)))]
        unknown = np.full(len(codes), np.nan, dtype=np.float32)
        return SemanticIds(codes, codes, unknown, found.sizes)


def changed(made: SemanticIds, change: str) -> SemanticIds:
    """The same IDs for other items, or with their levels the other way round."""
    if change == SHUFFLED:
        order = np.random.default_rng(0).permutation(len(made))
        unknown = np.full_like(made.distortion, np.nan)
        return replace(made, codes=made.codes[order], distortion=unknown)
    if change == REVERSED:
        return replace(made, codes=made.codes[:, ::-1].copy(), sizes=made.sizes[::-1])
    return made


class Asked(NamedTuple):
    """Users of the test.

    Attributes
    ----------
    before : Sequences
        All that they had before.
    targets : (m,) int64
    popularity : (items,) int64
        How often each item is in the training parts.
    """

    before: Sequences
    targets: Int64
    popularity: Int64


def asked(split: Split, users: int | None) -> Asked:
    """All users who have a test item, or so many of them at random."""
    some = np.flatnonzero(split.test != NONE)
    if users is not None and users < len(some):
        some = np.sort(np.random.default_rng(0).choice(some, users, replace=False))
    before = Sequences.of(
        [split.before_test[user].tolist() for user in some.tolist()], split.training.n_items
    )
    return Asked(before, split.test[some], split.training.counts())


def searched(
    trained: Trained, before: Sequences, branches: Branches | None, beams: int
) -> tuple[Int64, Float32]:
    """Tuples, (users, W, T), and their scores, (users, W)."""
    parts = histories(before, trained.model.shape.length)
    codes = np.zeros((len(parts), beams, len(trained.model.sizes)), dtype=np.int64)
    scores = np.full((len(parts), beams), -np.inf, dtype=np.float32)
    for batch in batches(parts, trained.table, BATCH_ASKED):
        found = search(trained.model, batch.codes, batch.lengths, beams, branches)
        width = found.codes.shape[1]
        codes[batch.rows, :width], scores[batch.rows, :width] = found.codes, found.scores
    return codes, scores


def measured(
    sids: SemanticIds, trained: Trained, branches: Branches, test: Asked
) -> dict[str, Any]:
    """Figures of a generator; `branches` are those of the map."""
    began = time.process_time()
    codes, scores = searched(trained, test.before, branches, BEAMS)
    lists = item_lists(sids, codes, scores, test.popularity, test.before, max(CUTS))
    seconds = time.process_time() - began
    places = places_in_lists(lists, test.targets)
    found, groups = figures(places), popularity_groups(test.popularity)[test.targets]
    m = len(test.targets)
    errors = {
        f"error_{cut}": np.sqrt(found[f"recall_{cut}"] * (1 - found[f"recall_{cut}"]) / m)
        for cut in CUTS
    }
    few = Sequences.of(
        [test.before[user].tolist() for user in range(min(m, FREE_USERS))], len(sids)
    )
    free, _ = searched(trained, few, None, BEAMS)
    parts = histories(test.before, trained.model.shape.length)
    losses, right = told(trained, parts, test.targets)
    return {
        **{name: round(float(value), 5) for name, value in {**found, **errors}.items()},
        "valid_share": round(valid_share(sids, free[:, :FREE_TUPLES]), 4),
        "token_losses": [round(float(one), 3) for one in losses.mean(axis=0)],
        "token_right": [round(float(one), 4) for one in right.mean(axis=0)],
        "groups": {
            name: {"users": one["users"], "recall_20": round(one["recall_20"], 4)}
            for name, one in figures_by_group(places, groups).items()
        },
        "search_cpu_seconds": round(seconds, 1),
    }


def run(
    row: Row, seed: int, catalogue: Catalogue, split: Split, test: Asked, shape: Shape
) -> dict[str, Any]:
    """Train and measure one row."""
    sids = catalogue.map_of(row)
    base = sids.base_codes
    sizes = [int(base.max()) + 1] * base.shape[1]
    branches = Branches(trie_of(sids.codes, sids.sizes))
    within = None if row.change == WITHOUT else branches
    epochs = 3 * EPOCHS if row.change == LONGER else EPOCHS
    trained = train(sids, split, shape, within, seed=seed, epochs=epochs)
    return {
        **row._asdict(),
        "seed": seed,
        "sizes": sids.sizes,
        "unique_before": round(count_distinct(base, sizes) / len(base), 4),
        "distortion": catalogue.lost(sids),
        "parameters": sum(one.numel() for one in trained.model.parameters()),
        "epochs": len(trained.losses),
        "best_epoch": trained.best,
        "validation_losses": [round(one, 3) for one in trained.losses],
        "train_cpu_seconds": round(trained.seconds, 1),
        **measured(sids, trained, branches, test),
    }


def wanted(chosen: list[str] | None, seeds: int) -> Iterator[tuple[Row, int]]:
    """Rows and seeds: one of all rows, then the others of those in `SPREAD`."""
    for seed in range(seeds):
        for row in ROWS if seed == 0 else SPREAD:
            if not chosen or row.ids in chosen:
                yield row, seed


def main() -> None:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sequences", required=True, help="user item item …, ids from 1")
    parser.add_argument("--vectors", required=True, help="row i is item i + 1")
    parser.add_argument("--map", type=Path, help="a published map of the same items, by row")
    parser.add_argument("--ids", action="append", help="only rows with these IDs")
    parser.add_argument("--seeds", type=int, default=3, help="of the first two rows")
    parser.add_argument("--users", type=int, help="ask only so many users in the test")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    name, x = common.load(arguments.vectors)
    split = leave_one_out(read_sequences(arguments.sequences, len(x)))
    catalogue = Catalogue(x, arguments.map)
    test, shape = asked(split, arguments.users), Shape()
    settings = {
        "data": name,
        "shape": asdict(shape),
        "rate": RATE,
        "epochs": EPOCHS,
        "batch": BATCH,
        "rq_vae_steps": NEURAL_STEPS,
        "beams": BEAMS,
        "test_users": len(test.targets),
        "threads": arguments.threads,
        "torch": str(torch.__version__),
    }
    rows = known(settings)
    for row, seed in wanted(arguments.ids, arguments.seeds):
        if any(
            (Row(one["ids"], one["unique"], one["change"]), one["seed"]) == (row, seed)
            for one in rows
        ):
            continue
        rows.append(run(row, seed, catalogue, split, test, shape))
        print(json.dumps(rows[-1]), flush=True)
        common.write("generator", rows, **settings)


def known(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows that were measured before under the same settings."""
    path = common.RESULTS / "generator.json"
    if not path.exists():
        return []
    record = json.loads(path.read_text())
    rows: list[dict[str, Any]] = record["rows"] if record["settings"] == settings else []
    return rows


if __name__ == "__main__":
    main()
