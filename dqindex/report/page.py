"""The page: one HTML file with its charts, its table, its explorer and all their data."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from dqindex.errors import InputError
from dqindex.report import figures
from dqindex.report.explorer import counts, pack
from dqindex.report.families import Record, by_method, label
from dqindex.report.figures import recall
from dqindex.report.picture import tiers_of
from dqindex.sids.semantic_ids import SemanticIds
from dqindex.storage.files import atomic_file

INFINITY = float("inf")
SCRIPTS = ("axes.js", "labels.js", "figures.js", "charts.js", "explorer.js")


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
    StorageError
        If the page can't be written.
    """
    if not records and sids is None:
        raise InputError("nothing to show; give results of 'dqindex bench run', or a map")
    data: dict[str, Any] = {"views": views(records), "about": _about(records)}
    data["subspaces"] = {
        label(group[0]): figures.subspaces_figures(group[0])
        for group in by_method(records).values()
        if "subspaces" in group[0]
    }
    blobs: dict[str, str] = {}
    if sids is not None:
        data["map"], blobs = pack(sids, titles, source)
        data["tokens"] = figures.tokens_figure(counts(sids))
    assets = files("dqindex.report") / "assets"
    parts = {
        "css": (assets / "page.css").read_text(),
        "title": escape(_title(records, sids)),
        "measured": escape(_measured(records)),
        "script": "\n".join((assets / name).read_text() for name in SCRIPTS),
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


def _title(records: list[Record], sids: SemanticIds | None) -> str:
    """What was measured, and on what."""
    said = []
    if records:
        methods = len({one["method"] for one in records})
        names = list(dict.fromkeys(str(one["data"]["name"]) for one in records))
        listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        said.append(f"Recall and speed of {methods} indexes of {listed}")
    if sids is not None:
        said.append(f"{'semantic' if said else 'Semantic'} IDs of {len(sids):,} items")
    return ", and ".join(said)


def _measured(records: list[Record]) -> str:
    """How it was measured, in a line."""
    if not records:
        return ""
    about = _about(records)
    queries = " and ".join(f"{count:,}" for count in about["queries"])
    machines = "; ".join(about["machines"])
    return f"The {about['k']} nearest neighbours of {queries} queries, on {machines}."


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
