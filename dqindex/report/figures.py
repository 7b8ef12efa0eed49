"""Results as figures that charts.js draws: plain dictionaries of axes, and series of points."""

from __future__ import annotations

from typing import Any

from dqindex.bench.measure import pareto
from dqindex.report.families import FAMILIES, OURS, Record, by_method, family, label

Figure = dict[str, Any]

STEPS = ("rotation", "polish", "coarse", "codebooks", "refine", "add", "all")
BOTTOM = 0.3


def recall(record: Record) -> float:
    """k-recall@k by distance: what the charts show."""
    return float(record["recall"]["distance"]["{0}@{0}".format(record["k"])])


def best_points(records: list[Record]) -> list[Record]:
    """Those that no other beats in recall and speed, by recall."""
    kept = pareto([(recall(one), one["batch"]["qps"]) for one in records])
    return sorted((records[place] for place in kept), key=recall)


def recall_range(records: list[Record]) -> list[float]:
    """From the lowest recall that is worth a look to 1."""
    return [max(BOTTOM, min(map(recall, records)) - 0.02), 1.005]


def tip(record: Record) -> list[str]:
    """What a point says, line by line."""
    parameters = ", ".join(f"{name} {value:g}" for name, value in record["parameters"].items())
    batch, single, k = record["batch"], record["single"], record["k"]
    return [
        label(record) + (f", {parameters}" if parameters else ""),
        f"recall {k}@{k} {recall(record):.4f} "
        f"(by id {record['recall']['id'][f'{k}@{k}']:.4f}), "
        f"1@1 {record['recall']['distance']['1@1']:.4f}",
        f"{batch['qps']:,.0f} queries/s (middle half {batch['qps_low']:,.0f} to "
        f"{batch['qps_high']:,.0f})",
        f"single query: {single['p50_ms']:.3g} ms, p95 {single['p95_ms']:.3g}, "
        f"p99 {single['p99_ms']:.3g}",
        f"{record['bytes']['per_vector']:.1f} bytes a vector, built in "
        f"{record['build']['total']:.1f} s",
    ]


def _series(
    records: list[Record], xs: list[float], ys: list[float], *, line: bool
) -> dict[str, Any]:
    """Points of one method, in the colour of its family and with its spec as the label."""
    own = family(records[0])
    return {
        "label": label(records[0]),
        "family": own,
        "tone": FAMILIES.index(own),
        "strong": own in OURS,
        "line": line,
        "dots": True,
        "xs": xs,
        "ys": ys,
        "tips": [tip(one) for one in records],
    }


def frontier_figure(records: list[Record]) -> Figure:
    """Recall against queries a second: each method's points that no other of it beats."""
    k = records[0]["k"]
    groups = [best_points(group) for group in by_method(records).values()]
    return {
        "kind": "points",
        "x": {"title": f"recall {k}@{k}", "range": recall_range(records)},
        "y": {"title": "queries a second", "log": True},
        "series": [
            _series(group, [*map(recall, group)], [one["batch"]["qps"] for one in group], line=True)
            for group in groups
        ],
    }


def bytes_figure(records: list[Record]) -> Figure:
    """The best recall of every method against its bytes a vector."""
    k = records[0]["k"]
    best = [max(group, key=recall) for group in by_method(records).values()]
    return {
        "kind": "points",
        "x": {"title": "bytes a vector, all counted", "log": True},
        "y": {"title": f"best recall {k}@{k}"},
        "series": [
            _series([one], [one["bytes"]["per_vector"]], [recall(one)], line=False) for one in best
        ],
    }


def build_figure(records: list[Record]) -> Figure:
    """Seconds of every step of the build, stacked."""
    groups = [group[0] for group in by_method(records).values()]
    steps = [step for step in STEPS if any(one["build"].get(step, 0.0) for one in groups)]
    return {
        "kind": "stacks",
        "x": {"title": f"seconds on {groups[0]['build']['threads']} threads"},
        "unit": "s",
        "parts": [
            {"name": "all steps" if step == "all" else step, "tone": STEPS.index(step)}
            for step in steps
        ],
        "rows": [
            {
                "name": label(one),
                "strong": family(one) in OURS,
                "values": [one["build"].get(step, 0.0) for step in steps],
            }
            for one in groups
        ],
    }


def subspaces_figures(record: Record) -> list[Figure]:
    """Variance of each subspace before and after, and how much of each codebook is used."""
    found = record["subspaces"]
    figures: list[Figure] = [
        {
            "kind": "bars",
            "x": {"title": "subspace"},
            "y": {"title": "variance"},
            "parts": [{"name": "original axes", "tone": 4}, {"name": "balanced", "tone": 0}],
            "values": [found["before"], found["after"]],
        }
    ]
    if "codebooks" in found:
        figures.append(
            {
                "kind": "bars",
                "x": {"title": "subspace"},
                "y": {"title": "codebook use: perplexity / size", "range": [0, 1]},
                "parts": [{"name": "codebook use", "tone": 1}],
                "values": [[one["perplexity"] / one["size"] for one in found["codebooks"]]],
                "tips": [
                    f"{one['used']} of {one['size']} codewords used" for one in found["codebooks"]
                ],
            }
        )
    return figures


def tokens_figure(counts: list[list[int]]) -> Figure:
    """Items at each code of each level, the most used code first."""
    return {
        "kind": "points",
        "x": {"title": "codes, the most used first"},
        "y": {"title": "items", "zero": True},
        "series": [
            {
                "label": f"token {level}",
                "family": f"token {level}",
                "tone": (level - 1) % len(FAMILIES),
                "strong": True,
                "line": True,
                "dots": False,
                "xs": list(range(1, len(one) + 1)),
                "ys": sorted(one, reverse=True),
            }
            for level, one in enumerate(counts, start=1)
        ],
    }
