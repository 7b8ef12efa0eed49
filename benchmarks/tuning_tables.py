"""The tables of `docs/tuning.md`, from their results: columns, and rows."""

from __future__ import annotations

from typing import Any

Table = tuple[list[str], list[list[Any]]]
FIRST = (10, 20, 30)


def by(record: dict[str, Any], *names: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Rows by the values of some fields."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in record["rows"]:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def score_aware(record: dict[str, Any]) -> Table:
    """What is found by the weight; the best of each line in bold."""
    weights = sorted({one["eta"] for one in record["rows"]})
    rows: list[list[Any]] = []
    for (data, spec), ones in by(record, "data", "spec").items():
        own = {one["eta"]: one for one in ones if one["metric"] == "cosine" and not one["part"]}
        for place, first in enumerate(FIRST):
            found = {eta: one["recall"][place] for eta, one in own.items()}
            best = max(found.values())
            cells = [_marked(found.get(eta), best) for eta in weights]
            ahead = [data, f"`{spec}`"] if place == 0 else ["", ""]
            rows.append([*ahead, first, *cells])
    return ["data", "spec", "10 in the first", *(f"weight {eta:g}" for eta in weights)], rows


def _marked(value: float | None, best: float) -> str:
    if value is None:
        return ""
    return f"**{value:.3f}**" if value == best else f"{value:.3f}"


def score_aware_parts(record: dict[str, Any]) -> Table:
    """What the parts are worth at one weight, and what they cost."""
    rows = []
    weight = max(one["eta"] for one in record["rows"] if one["part"])
    for (data, spec), ones in by(record, "data", "spec").items():
        parts = {one["part"]: one for one in ones if one["part"]}
        if not parts:
            continue
        found = {(one["metric"], one["eta"]): one for one in ones if not one["part"]}
        plain, aware = found["cosine", 1.0], found["cosine", weight]
        told = [aware, *(parts.get(name) for name in parts)]
        inner = [found.get(("ip", eta)) for eta in (1.0, weight)]
        rows.append(
            [
                data,
                f"`{spec}`",
                f"{plain['recall'][1]:.3f}",
                *(
                    f"{one['recall'][1]:.3f}, {one['encoding_ratio']:.1f}×" if one else ""
                    for one in told
                ),
                f"{aware['build_cpu_seconds'] / plain['build_cpu_seconds']:.1f}×",
                ", ".join(f"{one['recall'][1]:.3f}" for one in inner if one),
            ]
        )
    columns = [
        "data",
        "spec",
        "nearest codewords",
        f"weight {weight:g}, encoding",
        "with codewords of k-means",
        "one sweep",
        "four sweeps",
        "build",
        f"`ip`: nearest, weight {weight:g}",
    ]
    return columns, rows


def scan(record: dict[str, Any]) -> Table:
    """What each idea is worth at one recall."""
    rows = [
        [
            row["data"],
            row["idea"],
            f"`{row['spec']}`",
            f"{row['parameters']['nprobe']:.0f}",
            f"{row['parameters']['k_factor_rf']:.0f}",
            f"{row['recall']:.3f}",
            f"{row['us']:.0f} µs",
            f"{row['qps_ratio']:.2f}×" if row["recall"] >= 0.9 else "not reached",
        ]
        for row in record["rows"]
    ]
    columns = ["data", "idea", "spec", "nprobe", "k_factor", "recall", "a query", "queries/s"]
    return columns, rows


def scan_shares(record: dict[str, Any]) -> Table:
    """Where the time of the base goes."""
    shares = record["settings"]["shares"]
    names = list(next(iter(shares.values())))
    rows = [[data, *(f"{found[name]:.1f} µs" for name in names)] for data, found in shares.items()]
    return ["data", *names], rows


def spilling(record: dict[str, Any]) -> Table:
    """Codes to scan, by the way of spilling."""
    shares = sorted({one["coverage"] for one in record["rows"]})
    rows = []
    for (data, way), ones in by(record, "data", "way").items():
        found = {one["coverage"]: one for one in ones}
        cells = [f"{found[share]['codes']:,} in {found[share]['nprobe']}" for share in shares]
        rows.append([data, way, ones[0]["entries"], *cells])
    return ["data", "second lists", "entries a vector", *(f"{one:.0%}" for one in shares)], rows


def chooser(record: dict[str, Any]) -> Table:
    """The choice beside the best."""
    rows = [
        [
            f"{row['data']}, {row['rows']:,}",
            row["what"],
            f"`{row['spec']}`",
            " ".join(f"{name}={value:g}" for name, value in row["parameters"].items()),
            f"{row['recall']:.3f}",
            f"{row['us']:.1f} µs",
            f"{row['qps_ratio']:.2f}×",
        ]
        for row in record["rows"]
    ]
    return ["data", "", "spec", "parameters", "recall", "a query", "queries/s"], rows


def wide(record: dict[str, Any]) -> Table:
    """Large dimensions."""
    rows = [
        [
            row["d"],
            row["method"],
            f"`{row['spec']}`",
            f"{row['bytes']:.0f}",
            f"{row['recall']:.3f}",
            f"{row['qps']:,}" if row["qps"] else "",
            f"{row['rotation_us']:.1f} of {1e6 / row['qps']:.0f} µs" if row["qps"] else "",
            f"{row['build_cpu_seconds']:.0f} s",
        ]
        for row in sorted(record["rows"], key=lambda row: int(row["d"]))
    ]
    columns = ["d", "method", "spec", "bytes", "recall", "queries/s", "rotation", "build, CPU"]
    return columns, rows
