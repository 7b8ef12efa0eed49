"""The tables that `benchmarks/readme.py` makes of `results/generator.json`."""

from __future__ import annotations

from typing import Any

Table = tuple[list[str], list[list[Any]]]

FIGURES = ("recall_10", "ndcg_10", "recall_20", "ndcg_20")


def figures(record: dict[str, Any]) -> Table:
    """What the lists are worth; of rows with several seeds the mean, the least and the most."""
    rows = []
    for runs in by_row(record):
        one = runs[0]
        rows.append(
            [
                name(one),
                one["unique"],
                f"{one['unique_before']:.1%}",
                "" if one["distortion"] is None else f"{one['distortion']:.3f}",
                *(spread([run[figure] for run in runs]) for figure in FIGURES),
                f"{mean(runs, 'valid_share'):.0%}",
                f"{mean(runs, 'best_epoch'):.0f}",
                f"{mean(runs, 'train_cpu_seconds'):.0f}",
            ]
        )
    columns = [
        "IDs",
        "collisions",
        "unique before",
        "variance lost",
        "recall@10",
        "NDCG@10",
        "recall@20",
        "NDCG@20",
        "valid if searched without the trie",
        "best epoch",
        "training, s of CPU",
    ]
    return columns, rows


def tokens(record: dict[str, Any]) -> Table:
    """How well each token is told, given those before it."""
    rows = []
    for runs in by_row(record):
        one = runs[0]
        rows.append(
            [
                name(one),
                one["unique"],
                f"{sum(one['token_losses']):.2f}",
                ", ".join(f"{loss:.2f}" for loss in one["token_losses"]),
                ", ".join(f"{share:.1%}" for share in one["token_right"]),
                *(f"{group['recall_20']:.3f}" for group in one["groups"].values()),
            ]
        )
    groups = record["rows"][0]["groups"]
    columns = ["IDs", "collisions", "nats an item", "token by token", "tokens told right"]
    columns += [f"recall@20, {group} ({found['users']:,})" for group, found in groups.items()]
    return columns, rows


def by_row(record: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The runs of each row, in the order of the rows."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in record["rows"]:
        found.setdefault((run["ids"], run["unique"], run["change"]), []).append(run)
    return list(found.values())


def name(run: dict[str, Any]) -> str:
    """The IDs, and what was done to them."""
    return ", ".join(part for part in (run["ids"], run["change"]) if part)


def mean(runs: list[dict[str, Any]], key: str) -> float:
    """Of one figure, over the seeds."""
    return float(sum(run[key] for run in runs) / len(runs))


def spread(values: list[float]) -> str:
    """The mean, and from where to where if there are several."""
    middle = f"{sum(values) / len(values):.4f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.4f} to {max(values):.4f})"
