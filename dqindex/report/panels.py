"""What each library reaches, a panel a data set and size, as one Plotly figure."""

from __future__ import annotations

from math import log10

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dqindex.report.families import Record
from dqindex.report.figures import BOTTOM, best_points, recall, recall_range

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
    "glass": "#A0522D",
    "svs": "#2F6F73",
}

# Without a trace a panel has no axes.
EMPTY = go.Scatter(x=[None], y=[None], name="")


def panels(datasets: list[list[Record]], tiers: list[float]) -> go.Figure:
    """Recall against queries a second: data sets as rows, largest sizes as columns."""
    titles = [
        f"{records[0]['data']['name']}, {_limit(tier)}" for records in datasets for tier in tiers
    ]
    figure = make_subplots(
        rows=len(datasets),
        cols=len(tiers),
        subplot_titles=titles,
        horizontal_spacing=0.18 / len(tiers),
        vertical_spacing=0.2 / len(datasets),
    )
    shown: set[str] = set()
    for row, records in enumerate(datasets, start=1):
        for column, tier in enumerate(tiers, start=1):
            within = [one for one in records if one["bytes"]["per_vector"] <= tier]
            for trace in _traces(within) or [EMPTY]:
                trace.showlegend = trace.name not in shown and trace is not EMPTY
                shown.add(trace.name)
                figure.add_trace(trace, row=row, col=column)
        rates = [one["batch"]["qps"] for one in records if recall(one) >= BOTTOM]
        figure.update_xaxes(range=recall_range(records), row=row)
        figure.update_yaxes(
            type="log", range=[log10(min(rates)) - 0.1, log10(max(rates)) + 0.1], row=row
        )
    figure.update_xaxes(title={"text": "recall", "standoff": 4}, row=len(datasets))
    figure.update_yaxes(title={"text": "queries/s", "standoff": 4}, col=1)
    figure.update_annotations(font_size=13)
    return figure.update_layout(legend={"orientation": "h", "y": -0.08})


def _limit(tier: float) -> str:
    return "any size" if tier == float("inf") else f"≤ {tier:g} bytes a vector"


def _traces(records: list[Record]) -> list[go.Scatter]:
    """The frontier of each library."""
    traces = []
    for library, colour in COLOURS.items():
        points = best_points([one for one in records if one["library"] == library])
        if points:
            traces.append(
                go.Scatter(
                    mode="lines+markers",
                    name=library,
                    legendgroup=library,
                    x=[recall(one) for one in points],
                    y=[one["batch"]["qps"] for one in points],
                    line={"color": colour, "width": 3 if library == "dqindex" else 1.5},
                    marker={"size": 5},
                )
            )
    return traces
