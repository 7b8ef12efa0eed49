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
        clock, used = row["least_seconds"], row["cpu_seconds"]
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
    clock, used = row["least_seconds"], row["cpu_seconds"]
    names = {
        "mapped the first time, hashes checked": "open, verified",
        "mapped": "open",
        "read whole, hashes checked": "read",
        "FAISS, `IO_FLAG_MMAP`": "faiss IO_FLAG_MMAP",
        "FAISS, `IO_FLAG_MMAP_IFC`": "faiss IO_FLAG_MMAP_IFC",
        "FAISS, read whole": "faiss read",
    }
    rows = []
    for name, part in names.items():
        head = f"{part} " if part.startswith("faiss IO") else ""
        searched = head or part == "open"
        searches = [clock[f"{head}{one} search"] for one in ("first", "next")] if searched else []
        cells = [*map(spent, (clock[part], used[part])), *map(spent, searches)]
        rows.append([name, *cells, *[""] * (4 - len(cells))])
    return ["opened", "open", "of CPU", "first search", "next search"], rows


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
