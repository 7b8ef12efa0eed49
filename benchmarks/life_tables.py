"""The tables that `benchmarks/readme.py` makes of `results/life.json`."""

from __future__ import annotations

from typing import Any

Table = tuple[list[str], list[list[Any]]]


def of(record: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """The rows of one table."""
    return [row for row in record["rows"] if row["table"] == table]


def spent(seconds: float) -> str:
    """Seconds, or milliseconds where there are few."""
    return f"{1e3 * seconds:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def changes(record: dict[str, Any]) -> Table:
    """Read, change, write: ours beside FAISS's."""
    rows = []
    for row in [*of(record, "changes"), *of(record, "merge")]:
        clock, used = row["seconds"], row["cpu_seconds"]
        middle = "merge" if row["table"] == "merge" else "change"
        cells = [row["job"]]
        for prefix in ("", "faiss_"):
            parts = [f"{prefix}{part}" for part in ("read", middle, "write")]
            cells += [spent(clock[part]) for part in parts]
            # A merge reads; reading them alone stands beside it to compare.
            counted = parts[1:] if middle == "merge" else parts
            cells.append(spent(sum(used[part] for part in counted)))
        rows.append(cells)
    columns = ["change", *("read | change | write | all, CPU").split(" | ")]
    columns += ["FAISS: read", *("change | write | all, CPU").split(" | ")]
    return columns, rows


def mapping(record: dict[str, Any]) -> Table:
    """Opening, and the searches that follow."""
    [row] = of(record, "mmap")
    clock = row["seconds"]
    flag = "faiss IO_FLAG_MMAP"
    rows = [
        ["mapped the first time, hashes checked", clock["open, verified"], "", ""],
        ["mapped", clock["open"], clock["first search"], clock["next search"]],
        ["read whole, hashes checked", clock["read"], "", ""],
        [
            "FAISS, `IO_FLAG_MMAP`",
            clock[flag],
            clock[f"{flag} first search"],
            clock[f"{flag} next search"],
        ],
        [
            "FAISS, `IO_FLAG_MMAP_IFC`",
            clock[f"{flag}_IFC"],
            clock[f"{flag}_IFC first search"],
            clock[f"{flag}_IFC next search"],
        ],
        ["FAISS, read whole", clock["faiss read"], "", ""],
    ]
    told = [[name, *(one and spent(one) for one in times)] for name, *times in rows]
    return ["opened", "open", "first search", "next search"], told


def filters(record: dict[str, Any]) -> Table:
    """Search among some."""
    rows = [
        [
            f"{100 * row['allowed'] / record['settings']['vectors']:g} %",
            f"{row['allowed']:,}",
            f"{row['recall']:.3f}",
            f"{row['short']:.1%}",
            f"{row['ms_cpu']:.2f}",
            f"{row['faiss_recall']:.3f}",
            f"{row['faiss_short']:.1%}",
            f"{row['faiss_ms_cpu']:.2f}",
        ]
        for row in of(record, "filter")
    ]
    columns = (
        "filter | vectors | recall | answers short of k | ms of CPU a query | FAISS: recall | "
        "answers short of k | ms of CPU a query"
    ).split(" | ")
    return columns, rows
