"""Tables of what `cluster.py` measured, and of what follows for a billion vectors."""

from __future__ import annotations

from typing import Any

STEPS = {"fit": "`fit`", "sids": "`semantic_ids`", "index": "`build_index`"}
BILLION = 10**9
# A cluster that the hours are told for.
CORES = 400


KINDS = ("jvm", "worker_python", "driver_python")


def measured(record: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """A row a step and size."""
    rows = []
    for one in record["rows"]:
        for name, label in STEPS.items():
            step = one[name]
            rows.append(
                [
                    f"{one['rows']:,}",
                    label,
                    f"{step['seconds']:,.0f}",
                    *(f"{step['cpu_seconds'][kind]:,.0f}" for kind in KINDS),
                    f"{step['shuffled_mib']:,.0f}",
                    *(f"{step['peak_mib'][kind]:,}" for kind in KINDS),
                ]
            )
    columns = ["vectors", "step", "clock, s", "JVM, s of CPU", "workers", "driver's Python"]
    return [*columns, "shuffled, MiB", "JVM, MiB", "a worker", "driver's Python"], rows


def outcome(record: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """A row a size: what came out."""
    rows = [
        [
            f"{one['rows']:,}",
            f"{one['shared']:,}",
            f"{one['largest_group']:,}",
            f"{one['moved']:,}",
            one["rounds"],
            f"{one['distinct']:,}",
            f"{one['index_mib']:,.0f}",
        ]
        for one in record["rows"]
    ]
    columns = ["vectors", "items that share a tuple", "most in one", "items moved", "rounds"]
    return [*columns, "distinct IDs", "index, MiB"], rows


def billion(record: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """A row a step: what each further vector took, times a billion."""
    least, most = record["rows"][0], record["rows"][-1]
    more = most["rows"] - least["rows"]
    rows = []
    for name, label in STEPS.items():
        seconds, shuffled = (
            [
                sum(one[name]["cpu_seconds"][kind] for kind in ("jvm", "worker_python"))
                for one in (least, most)
            ],
            [one[name]["shuffled_mib"] for one in (least, most)],
        )
        each = max(0.0, seconds[1] - seconds[0]) / more
        bytes_each = max(0.0, shuffled[1] - shuffled[0]) * 2**20 / more
        hours = each * BILLION / 3600
        rows.append(
            [
                label,
                f"{each * 1e6:.0f}",
                f"{bytes_each:.0f}",
                f"{hours:.0f}",
                f"{hours / CORES * 60:.0f}",
                f"{bytes_each * BILLION / 1e9:,.0f}",
            ]
        )
    columns = ["step", "µs of CPU a vector", "bytes shuffled a vector", "core hours"]
    return [*columns, f"minutes on {CORES} cores", "shuffled, GB"], rows
