"""The tables of `recommend.py`'s results: columns and rows."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean, stdev
from typing import Any

Run = dict[str, Any]
Table = tuple[list[str], list[list[Any]]]

# What a row of no augmentation is called, and the tokens of another system.
ALONE, PUBLISHED = "ids alone", {"published": "LETTER 4"}


def short(record: dict[str, Any]) -> Table:
    """What each augmentation is worth beside ids alone, of the same model and seeds."""
    rows = []
    alone: dict[str, dict[int, Run]] = {}
    for runs in by_row(record):
        one = runs[0]
        by_seed = {run["seed"]: run for run in runs}
        if one["augmentation"] == ALONE:
            alone[one["model"]] = by_seed
        beside = [
            run["test"]["recall_20"] - alone[one["model"]][seed]["test"]["recall_20"]
            for seed, run in by_seed.items()
            if one["augmentation"] != ALONE and seed in alone.get(one["model"], {})
        ]
        rows.append(
            [
                *_names(one),
                spread([run["test"]["recall_20"] for run in runs]),
                spread([run["test"]["ndcg_20"] for run in runs]),
                f"{mean(beside):+.4f}" if beside else "",
                len(runs),
            ]
        )
    return [*HEAD, "recall@20", "NDCG@20", "recall@20 beyond ids alone", "seeds"], rows


def shortest(record: dict[str, Any]) -> Table:
    """Recall of each model: ids alone, with tokens, and with the control."""
    shown = {
        "ids alone": (ALONE, ""),
        "with DQ tokens": ("item tokens", "DQ 8"),
        "with RQ tokens": ("item tokens", "RQ 8"),
        "with shuffled tokens": ("shuffled item tokens", "RQ 8"),
    }
    found: dict[str, dict[tuple[str, str], str]] = {}
    for runs in by_row(record):
        one = runs[0]
        recall = f"{mean(run['test']['recall_20'] for run in runs):.3f}"
        found.setdefault(one["model"], {})[one["augmentation"], one["tokens"]] = recall
    rows = [
        [model, *(cells.get(place, "") for place in shown.values())]
        for model, cells in found.items()
        if shown["with RQ tokens"] in cells
    ]
    return ["Amazon Beauty, recall@20", *shown], rows


def wide(record: dict[str, Any]) -> Table:
    """All figures, by the popularity of the item as well."""
    figures: dict[str, Callable[[Run], float]] = {
        "recall@10": lambda run: float(run["test"]["recall_10"]),
        "NDCG@10": lambda run: float(run["test"]["ndcg_10"]),
        "recall@20": lambda run: float(run["test"]["recall_20"]),
        "NDCG@20": lambda run: float(run["test"]["ndcg_20"]),
        "head": lambda run: float(run["groups"]["head"]["recall_20"]),
        "middle": lambda run: float(run["groups"]["middle"]["recall_20"]),
        "tail": lambda run: float(run["groups"]["tail"]["recall_20"]),
        "unseen": lambda run: float(run["groups"]["unseen"]["recall_20"]),
    }
    rows = []
    for runs in by_row(record):
        one = runs[0]
        rows.append(
            [
                *_names(one),
                "" if one["lost"] is None or _control(one) else f"{one['lost']:.3f}",
                *(spread([figure(run) for run in runs]) for figure in figures.values()),
                f"{one['parameters']:,}",
                f"{mean(run['epochs'] for run in runs):.0f}",
                f"{mean(run['seconds'] for run in runs):.0f}",
                len(runs),
            ]
        )
    columns = [*HEAD, "variance lost", *figures, "parameters", "epochs", "CPU, s", "seeds"]
    return columns, rows


HEAD = ["model", "beside the ids", "tokens"]


def by_row(record: dict[str, Any]) -> list[list[Run]]:
    """The runs of each row: models as they were first measured, ids alone first, then the best."""
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in record["rows"]:
        found.setdefault((run["model"], run["augmentation"], run["tokens"]), []).append(run)
    models = list(dict.fromkeys(run["model"] for run in record["rows"]))

    def place(runs: list[Run]) -> tuple[int, bool, float]:
        best = mean(run["test"]["recall_20"] for run in runs)
        return models.index(runs[0]["model"]), runs[0]["augmentation"] != ALONE, -best

    return sorted(found.values(), key=place)


def _control(run: Run) -> bool:
    return str(run["augmentation"]).startswith(("shuffled", "random"))


def _names(run: Run) -> list[str]:
    beside = "" if run["augmentation"] == ALONE else run["augmentation"]
    return [run["model"], beside, PUBLISHED.get(run["tokens"], run["tokens"])]


def spread(values: list[float]) -> str:
    """The mean, and the standard deviation of one run where there are several."""
    middle = f"{mean(values):.4f}"
    return middle if len(values) == 1 else f"{middle} ± {stdev(values):.4f}"
