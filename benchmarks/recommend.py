"""What semantic IDs are worth to a recommender: as features, as links, beside rivals and controls.

    python benchmarks/recommend.py --sequences FILE --vectors FILE [--attributes FILE] [--map FILE]

Sequences have one user a line, ``user item item …``, ids from 1; row i of the vectors is item
i + 1. Attributes are a JSON object of lists by item; MAP is the LC-Rec JSON of another system. Runs
that the file of results has are not repeated.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np
import torch
from interactions import (
    Split,
    figures,
    figures_by_group,
    leave_one_out,
    popularity_groups,
    ranks,
    read_sequences,
)
from recommenders.augmentation import AUGMENTATIONS, Catalogue
from recommenders.codes import Coded
from recommenders.light_gcn import LightGCN
from recommenders.recommender import Recommender
from recommenders.sasrec import SASRec
from recommenders.training import train
from recommenders.two_tower import TwoTower
from threadpoolctl import threadpool_limits

from dqindex.errors import DQWarning
from dqindex.sids.semantic_ids import read_sids

MODELS = ["two-tower", "LightGCN", "SASRec"]
SHOWN = ("model", "augmentation", "tokens", "seed", "epochs", "seconds", "test")


class Row(NamedTuple):
    """What is measured, once a seed."""

    model: str
    augmentation: str
    tokens: str = ""


# What matters most stands first: a campaign that is broken off has that.
ROWS = [
    Row("two-tower", "ids alone"),
    Row("two-tower", "item tokens", "RQ 8"),
    Row("two-tower", "item tokens", "DQ 8"),
    Row("two-tower", "shuffled item tokens", "RQ 8"),
    Row("two-tower", "random item hashes", "RQ 8"),
    Row("two-tower", "item vectors"),
    Row("two-tower", "item tokens", "RQ 4"),
    Row("two-tower", "item tokens", "DQ 4"),
    Row("two-tower", "user and item tokens", "RQ 8"),
    Row("two-tower", "item linkage", "RQ 8"),
    Row("two-tower", "item attributes"),
    Row("SASRec", "ids alone"),
    Row("SASRec", "item tokens", "RQ 8"),
    Row("SASRec", "shuffled item tokens", "RQ 8"),
    Row("LightGCN", "ids alone"),
    Row("LightGCN", "user and item tokens", "RQ 8"),
    Row("LightGCN", "user and item linkage", "RQ 8"),
    Row("two-tower", "item tokens", "DQ 16"),
    Row("two-tower", "item tokens", "published"),
    Row("two-tower", "item tokens and linkage", "RQ 8"),
    Row("two-tower", "shuffled item linkage", "RQ 8"),
    Row("two-tower", "user tokens", "RQ 8"),
    Row("two-tower", "user and item tokens", "DQ 8"),
    Row("two-tower", "shuffled user and item tokens", "RQ 8"),
    Row("two-tower", "item tokens", "1 + DQ 3"),
    Row("two-tower", "item attributes and tokens", "RQ 8"),
    Row("SASRec", "item tokens", "DQ 8"),
    Row("SASRec", "item vectors"),
    Row("LightGCN", "shuffled user and item tokens", "RQ 8"),
    Row("two-tower", "item tokens", "RQ-VAE 4"),
    Row("two-tower", "item popularity"),
    Row("two-tower", "user and item vectors"),
    Row("two-tower", "user and item linkage", "RQ 8"),
    Row("two-tower", "item tokens", "OPQ 8"),
    Row("two-tower", "item tokens", "DQ 4, collisions left"),
    Row("two-tower", "item tokens", "RQ 4, collisions left"),
    Row("two-tower", "item tokens", "OPQ 4"),
    Row("two-tower", "random user and item hashes", "RQ 8"),
    Row("two-tower", "shuffled item tokens", "DQ 8"),
    Row("two-tower", "item linkage", "DQ 8"),
    Row("two-tower", "user and item tokens and linkage", "RQ 8"),
    Row("LightGCN", "user and item tokens and linkage", "RQ 8"),
    Row("LightGCN", "shuffled user and item linkage", "RQ 8"),
    Row("SASRec", "item linkage", "RQ 8"),
    Row("SASRec", "item tokens", "published"),
]


def build(row: Row, catalogue: Catalogue, split: Split, seed: int) -> Recommender:
    """The model of a row."""
    torch.manual_seed(seed)
    parts = AUGMENTATIONS[row.augmentation]
    graph = row.model == "LightGCN"
    wanted = {"kind": row.tokens, "seed": seed}
    items = catalogue.items.features(parts.items, **wanted, smoothed=not graph)
    if row.model == "SASRec":
        return SASRec(items, split.training)
    users = catalogue.users.features(parts.users, **wanted, smoothed=not graph)
    if not graph:
        return TwoTower(users, items, split.training)
    edges = [
        side.edges(some, **wanted)
        for side, some in zip((catalogue.users, catalogue.items), parts, strict=True)
    ]
    return LightGCN(users, items, split.training, *edges)


# Models are made one at a time, from torch's one generator.
MAKING = threading.Lock()


def measure(row: Row, catalogue: Catalogue, split: Split, seed: int) -> dict[str, Any]:
    """Train and test."""
    torch.set_num_threads(1)
    with MAKING:
        model = build(row, catalogue, split, seed)
    trained = train(model, split, seed)
    places = ranks(*model.rankers(split.before_test), split.test, split.before_test)
    groups = popularity_groups(split.training.counts())[split.test]
    lost = catalogue.items.coded(row.tokens).lost if row.tokens else None
    return {
        **row._asdict(),
        "seed": seed,
        "parameters": model.size(),
        "lost": lost and round(lost, 4),
        "epochs": trained.epoch,
        "seconds": round(trained.seconds, 1),
        "validation": rounded(trained.validation),
        "test": rounded(figures(places)),
        "groups": {name: rounded(one) for name, one in figures_by_group(places, groups).items()},
    }


def rounded(found: dict[str, float]) -> dict[str, float]:
    """To five places."""
    return {key: round(value, 5) for key, value in found.items()}


def read(arguments: argparse.Namespace) -> tuple[Catalogue, Split]:
    """What the files hold."""
    _, vectors = common.load(arguments.vectors)
    split = leave_one_out(read_sequences(arguments.sequences, len(vectors)))
    attributes = published = None
    if arguments.attributes:
        by_item = json.loads(arguments.attributes.read_text())
        attributes = [by_item.get(str(item + 1), []) for item in range(len(vectors))]
    if arguments.map:
        sids = read_sids(arguments.map, "lc-rec")
        order = sids.rows_of(np.arange(len(vectors)))
        published = Coded(sids.codes[order], sids.sizes, None)
    return Catalogue(split.training, vectors, attributes, published), split


def wanted(arguments: argparse.Namespace) -> list[Row]:
    """The rows of the models asked for, of which the files are there."""
    missing = set()
    if not arguments.attributes:
        missing |= {"item attributes", "item attributes and tokens"}
    if not arguments.map:
        missing |= {"published"}
    return [
        row for row in ROWS if row.model in (arguments.model or MODELS) and not missing & set(row)
    ]


def main() -> None:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sequences", type=Path, required=True)
    parser.add_argument("--vectors", required=True)
    parser.add_argument("--attributes", type=Path)
    parser.add_argument("--map", type=Path, help="another system's map of the same items")
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no run after these")
    parser.add_argument("--threads", type=int, default=1, help="runs at a time")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DQWarning)
    end = time.monotonic() + 60 * arguments.minutes
    catalogue, split = read(arguments)
    path = common.RESULTS / "recommend.json"
    runs = json.loads(path.read_text())["rows"] if path.exists() else []
    done = {(run["model"], run["augmentation"], run["tokens"], run["seed"]) for run in runs}

    def one(work: tuple[Row, int]) -> dict[str, Any] | None:
        late = time.monotonic() > end
        return None if late else measure(work[0], catalogue, split, work[1])

    todo = [(row, seed) for seed in range(arguments.seeds) for row in wanted(arguments)]
    todo = [(row, seed) for row, seed in todo if (*row, seed) not in done]
    with threadpool_limits(1), ThreadPoolExecutor(arguments.threads) as pool:
        for run in pool.map(one, todo):
            if run is not None:
                runs.append(run)
                print({key: run[key] for key in SHOWN}, flush=True)
                common.write("recommend", runs, **settings(catalogue, split))


def settings(catalogue: Catalogue, split: Split) -> dict[str, Any]:
    """Of the data and of the models."""
    counts = split.training.counts()
    groups = popularity_groups(counts)
    return {
        "users": len(split.test),
        "items": len(counts),
        "interactions": len(split.training.items),
        "groups": np.bincount(groups, minlength=4).tolist(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
