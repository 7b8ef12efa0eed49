"""The tables of `generator.py`'s results: columns and rows."""

from __future__ import annotations

from typing import Any

FIGURES = ("recall_10", "ndcg_10", "recall_20", "ndcg_20")
COLUMNS = [
    "IDs",
    "collisions",
    "unique before",
    "variance lost",
    "recall@10",
    "NDCG@10",
    "recall@20",
    "NDCG@20",
    "valid without the trie",
    "training, s",
]


def figures(record: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """What the lists are worth; of rows with several seeds the mean, the least and the most."""
    rows = []
    for ones in _by_row(record):
        one = ones[0]
        rows.append(
            [
                _name(one),
                one["unique"],
                f"{one['unique_before']:.1%}",
                "" if one["distortion"] is None else f"{one['distortion']:.3f}",
                *(_spread([seed[figure] for seed in ones]) for figure in FIGURES),
                f"{_mean([seed['valid_share'] for seed in ones]):.0%}",
                f"{_mean([seed['train_seconds'] for seed in ones]):.0f}",
            ]
        )
    return COLUMNS, rows


def tokens(record: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """How well each token is told, given those before it."""
    rows = []
    for ones in _by_row(record):
        one = ones[0]
        rows.append(
            [
                _name(one),
                one["unique"],
                f"{sum(one['token_losses']):.2f}",
                ", ".join(f"{loss:.2f}" for loss in one["token_losses"]),
                ", ".join(f"{share:.0%}" for share in one["token_right"]),
            ]
        )
    columns = ["IDs", "collisions", "nats an item", "nats, token by token", "tokens told right"]
    return columns, rows


def _by_row(record: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The runs of each row, in the order of the rows."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in record["rows"]:
        found.setdefault((run["ids"], run["unique"], run["change"]), []).append(run)
    return list(found.values())


def _name(run: dict[str, Any]) -> str:
    return ", ".join(part for part in (run["ids"], run["change"]) if part)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _spread(values: list[float]) -> str:
    mean = f"{_mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.4f} to {max(values):.4f})"
