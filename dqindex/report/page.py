"""The page: one HTML file with its charts, its table, its explorer and all their data."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from dqindex.errors import InputError, MissingDependencyError
from dqindex.report import figures
from dqindex.report.explorer import counts, pack
from dqindex.report.figures import Record, label, recall
from dqindex.report.picture import tiers_of
from dqindex.sids.semantic_ids import SemanticIds
from dqindex.storage.files import atomic_file

INFINITY = float("inf")


def write_page(
    records: list[Record],
    output: str | Path,
    *,
    sids: SemanticIds | None = None,
    titles: Any = None,
    source: Any = None,
) -> None:
    """Write results, and a map of semantic IDs if there is one, as one self-contained page.

    Parameters
    ----------
    records : list of dict
        From `dqindex.bench.results.read_results`; may be empty where there is a map.
    output : path
        The HTML file; replaced in one step.
    sids, titles, source
        A map, what to call its items, and their vectors; see `dqindex.report.explorer.pack`.

    Raises
    ------
    InputError
        If there is nothing to show, or titles or vectors do not match the map.
    MissingDependencyError
        If plotly is not installed.
    StorageError
        If the page can't be written.
    """
    if not records and sids is None:
        raise InputError("nothing to show; give results of 'dqindex bench run', or a map")
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingDependencyError(
            "a report needs plotly; pip install 'dqindex[bench]'"
        ) from None
    data: dict[str, Any] = {"views": views(records), "about": _about(records)}
    data["subspaces"] = {
        label(group[0]): figures.subspaces_figure(group[0])
        for group in figures.by_method(records).values()
        if "subspaces" in group[0]
    }
    blobs: dict[str, str] = {}
    if sids is not None:
        data["map"], blobs = pack(sids, titles, source)
        data["tokens"] = figures.tokens_figure(counts(sids))
    assets = files("dqindex.report") / "assets"
    parts = {
        "css": (assets / "page.css").read_text(),
        "plotly": get_plotlyjs(),
        "script": "\n".join((assets / name).read_text() for name in ("charts.js", "explorer.js")),
        "data": _embedded(data),
        "blobs": "\n".join(
            f'<script type="application/gzip" id="blob-{name}">{blob}</script>'
            for name, blob in blobs.items()
        ),
    }
    page = (assets / "page.html").read_text()
    with atomic_file(output) as file:
        # Piece by piece, so that nothing in one part is taken for the place of another.
        for piece in page.split("{{"):
            name, closed, rest = piece.partition("}}")
            file.write((parts[name] + rest if closed else piece).encode())


def views(records: list[Record]) -> list[dict[str, Any]]:
    """What the page can show: each data set, number of threads and limit of bytes."""
    found: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        found.setdefault((record["data"]["key"], record["threads"]), []).append(record)
    out = []
    for (_, threads), everything in found.items():
        for tier in tiers_of(everything):
            within = [one for one in everything if one["bytes"]["per_vector"] <= tier]
            described = everything[0]["data"]
            out.append(
                {
                    "data": f"{described['name']} ({described['n']:,} × {described['d']}, "
                    f"{described['metric']})",
                    "threads": threads,
                    "tier": None if tier == INFINITY else tier,
                    "frontier": figures.frontier_figure(within),
                    "bytes": figures.bytes_figure(within),
                    "build": figures.build_figure(within),
                    "rows": [_row(one) for one in within],
                }
            )
    return out


def _row(record: Record) -> list[Any]:
    """A row of the table; see the columns in page.html."""
    parameters = " ".join(f"{name}={value:g}" for name, value in record["parameters"].items())
    memory = record["memory"]
    grown = (memory["build_peak"] - memory["before"]) / 2**20 if memory.get("before") else None
    exact = record["recall"]["distance"]
    return [
        label(record),
        parameters,
        recall(record),
        exact["1@1"],
        exact[f"1@{record['k']}"],
        record["batch"]["qps"],
        record["single"]["p50_ms"],
        record["single"]["p95_ms"],
        record["single"]["p99_ms"],
        record["bytes"]["per_vector"],
        record["build"]["total"],
        grown,
    ]


def _about(records: list[Record]) -> dict[str, Any]:
    """Where the figures come from."""
    versions: dict[str, str] = {}
    for record in records:
        versions |= record["versions"]
    machines = {f"{one['machine']['cores']} cores, {one['machine']['cpu']}" for one in records}
    commands = {one["command"] for one in records if one["command"]}
    return {
        "machines": sorted(machines),
        "versions": versions,
        "commands": sorted(commands),
        "k": records[0]["k"] if records else None,
        "queries": sorted({one["data"]["queries"] for one in records}),
    }


def _embedded(data: Any) -> str:
    """JSON that can't end the script element it stands in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
