"""Results as Plotly figures: plain dictionaries, the same for the page and for pictures."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from dqindex.bench.measure import pareto

Record = dict[str, Any]
Figure = dict[str, Any]

# Okabe and Ito's colours, which stay apart for most eyes and on both grounds.
COLOURS = {
    "dqindex": "#0072B2",
    "faiss": "#D55E00",
    "hnswlib": "#009E73",
    "usearch": "#E69F00",
    "scann": "#CC79A7",
    "nanopq": "#8C6D31",
    "voyager": "#56B4E9",
    "turbovec": "#8E63CE",
    "rabitqlib": "#7F7F7F",
}
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "pentagon", "cross")
STEPS = ("rotation", "polish", "coarse", "codebooks", "refine", "add", "all")
STEP_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#7F7F7F")
BOTTOM = 0.3


def label(record: Record) -> str:
    """Method as a reader calls it: our specs without a prefix."""
    method = str(record["method"])
    return method.removeprefix("dqindex:")


def recall(record: Record) -> float:
    """k-recall@k by distance: what the charts show."""
    return float(record["recall"]["distance"]["{0}@{0}".format(record["k"])])


def by_method(records: list[Record]) -> dict[str, list[Record]]:
    """Records of each method, ours first, the others by library, in the order of the file."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[str(record["method"])].append(record)
    libraries = list(COLOURS)
    return dict(sorted(groups.items(), key=lambda pair: libraries.index(pair[1][0]["library"])))


def best_points(records: list[Record]) -> list[Record]:
    """Those that no other beats in recall and speed, by recall."""
    kept = pareto([(recall(one), one["batch"]["qps"]) for one in records])
    return sorted((records[place] for place in kept), key=recall)


def frontier(records: list[Record]) -> list[dict[str, Any]]:
    """Traces of recall against queries a second: each method's points that no other of it beats."""
    traces = []
    used: dict[str, int] = defaultdict(int)
    for group in by_method(records).values():
        points = best_points(group)
        library = points[0]["library"]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label(points[0]),
                "x": [recall(one) for one in points],
                "y": [one["batch"]["qps"] for one in points],
                "text": [hover(one) for one in points],
                "hovertemplate": "%{text}<extra></extra>",
                "line": {"color": COLOURS[library], "width": 2.5 if library == "dqindex" else 1.5},
                "marker": {"symbol": SYMBOLS[used[library] % len(SYMBOLS)], "size": 7},
            }
        )
        used[library] += 1
    return traces


def hover(record: Record) -> str:
    """What a point says."""
    parameters = ", ".join(f"{name} {value:g}" for name, value in record["parameters"].items())
    batch, single, k = record["batch"], record["single"], record["k"]
    return "<br>".join(
        [
            f"<b>{label(record)}</b>" + (f", {parameters}" if parameters else ""),
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
    )


def frontier_figure(records: list[Record]) -> Figure:
    """Recall against queries a second."""
    k = records[0]["k"]
    return {
        "data": frontier(records),
        "layout": {
            "xaxis": {"title": {"text": f"recall {k}@{k}"}, "range": recall_range(records)},
            "yaxis": {"title": {"text": "queries a second"}, "type": "log"},
        },
    }


def recall_range(records: list[Record]) -> list[float]:
    """From the lowest recall that is worth a look to 1."""
    return [max(BOTTOM, min(map(recall, records)) - 0.02), 1.005]


def bytes_figure(records: list[Record]) -> Figure:
    """The best recall of every method against its bytes a vector."""
    traces: list[dict[str, Any]] = []
    shown: set[str] = set()
    for group in by_method(records).values():
        best = max(group, key=recall)
        library = best["library"]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": library,
                "legendgroup": library,
                "showlegend": library not in shown,
                "x": [best["bytes"]["per_vector"]],
                "y": [recall(best)],
                "text": [hover(best)],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {"color": COLOURS[library], "size": 10},
            }
        )
        shown.add(library)
    k = records[0]["k"]
    return {
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": "bytes a vector, all counted"}, "type": "log"},
            "yaxis": {"title": {"text": f"best recall {k}@{k}"}},
        },
    }


def build_figure(records: list[Record]) -> Figure:
    """Seconds of every step of the build, stacked."""
    groups = list(by_method(records).values())[::-1]
    names = [label(group[0]) for group in groups]
    traces = []
    for step, colour in zip(STEPS, STEP_COLOURS, strict=True):
        seconds = [group[0]["build"].get(step, 0.0) for group in groups]
        if any(seconds):
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": "not told apart" if step == "all" else step,
                    "x": seconds,
                    "y": names,
                    "marker": {"color": colour},
                    "hovertemplate": "%{y}: %{x:.2f} s<extra>%{fullData.name}</extra>",
                }
            )
    return {
        "data": traces,
        "layout": {
            "barmode": "stack",
            "height": 140 + 24 * len(names),
            "xaxis": {"title": {"text": f"seconds on {groups[0][0]['build']['threads']} threads"}},
            "yaxis": {"automargin": True, "type": "category"},
        },
    }


def subspaces_figure(record: Record) -> Figure:
    """Variance of each subspace before and after, and how much of each codebook is used."""
    found = record["subspaces"]
    places = list(range(1, len(found["after"]) + 1))
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": "original axes",
            "x": places,
            "y": found["before"],
            "marker": {"color": "#D55E00"},
            "hovertemplate": "%{y:.4g}<extra>before</extra>",
        },
        {
            "type": "bar",
            "name": "balanced",
            "x": places,
            "y": found["after"],
            "marker": {"color": "#0072B2"},
            "hovertemplate": "%{y:.4g}<extra>after</extra>",
        },
    ]
    layout: dict[str, Any] = {
        "barmode": "group",
        "xaxis": {"title": {"text": "subspace"}},
        "yaxis": {"title": {"text": "variance"}},
    }
    if "codebooks" in found:
        use = [one["perplexity"] / one["size"] for one in found["codebooks"]]
        tell = [f"{one['used']} of {one['size']} codewords used" for one in found["codebooks"]]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "codebook use",
                "x": places,
                "y": use,
                "yaxis": "y2",
                "text": tell,
                "marker": {"color": "#009E73", "size": 7},
                "hovertemplate": "%{text}, use %{y:.0%}<extra></extra>",
            }
        )
        layout["yaxis2"] = {
            "title": {"text": "codebook use (perplexity / size)"},
            "overlaying": "y",
            "side": "right",
            "range": [0, 1.05],
            "dtick": 0.25,
            "tickformat": ".0%",
            "showgrid": False,
        }
    return {"data": traces, "layout": layout}


def tokens_figure(counts: list[list[int]]) -> Figure:
    """Items at each code of each level, the most used code first."""
    traces = []
    for level, one in enumerate(counts, start=1):
        ordered = sorted(one, reverse=True)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"token {level}",
                "x": list(range(1, len(ordered) + 1)),
                "y": ordered,
                "hovertemplate": "rank %{x}: %{y:,} items<extra>%{fullData.name}</extra>",
            }
        )
    return {
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": "codes, the most used first"}},
            "yaxis": {"title": {"text": "items"}, "rangemode": "tozero"},
        },
    }
