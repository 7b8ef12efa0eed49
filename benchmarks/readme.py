"""Fill the tables and pictures of the documents from benchmarks/results; --check finds stale ones.

    python benchmarks/readme.py [--check]

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; NAME is a function here. A
picture is drawn anew where its results are others than those that its line names.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cluster_tables
import generator_tables
import life_tables
import recommend_tables
import tuning_tables

from dqindex.bench.results import read_results
from dqindex.report.families import label
from dqindex.report.figures import recall
from dqindex.report.picture import write_picture

ROOT = Path(__file__).parent.parent
MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def result(name: str) -> dict[str, Any]:
    """One result file."""
    found: dict[str, Any] = json.loads(
        (ROOT / "benchmarks" / "results" / f"{name}.json").read_text()
    )
    return found


def markdown(columns: list[str], rows: list[list[Any]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def made_by(record: dict[str, Any]) -> str:
    """The line below a table."""
    machine, versions = record["machine"], record["versions"]
    return (
        f"\n`{record['command']}` on {machine['cores']} cores ({machine['cpu']}), "
        f"faiss {versions['faiss']}, numpy {versions['numpy']}.\n"
    )


def _compared(
    name: str = "dq_vs_opq",
) -> tuple[dict[str, Any], dict[tuple[Any, ...], dict[str, dict[str, Any]]]]:
    """The results of `dq_vs_opq.py`, and its methods by data, kind of index and bytes."""
    record = result(name)
    groups: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in record["rows"]:
        key = (row["data"], row["kind"], row["bytes"])
        groups.setdefault(key, {})[row["method"]] = row
    return record, groups


def _place(key: tuple[Any, ...], methods: dict[str, dict[str, Any]]) -> list[Any]:
    """Data, index and bytes."""
    data, kind, size = key
    return [data, f"IVF{methods['OPQ']['lists']}" if kind == "ivf" else "flat", size]


def _named(kind: str) -> dict[str, str]:
    """The methods of the tables: their names there, and in the results."""
    suffix = " residual" if kind == "ivf" else ""
    return {
        "PQ": "PQ",
        "DQ variance": f"DQ{suffix}",
        "DQ log-variance": f"DQ log{suffix}",
        "polished": "DQ polished",
        "OPQ": "OPQ",
    }


def _marked(figures: list[float], best: float, digits: int) -> list[str]:
    """Figures of a row, the best in bold."""
    return [f"**{one:.{digits}f}**" if one == best else f"{one:.{digits}f}" for one in figures]


def dq_vs_opq() -> str:
    """Recall of PQ, DQ and OPQ."""
    record, groups = _compared()
    rows = []
    for key, methods in groups.items():
        recalls = [methods[name]["recall_10_at_10"] for name in _named(key[1]).values()]
        rows.append([*_place(key, methods), *_marked(recalls, max(recalls), 3)])
    return markdown(["data", "index", "bytes", *_named("")], rows) + made_by(record)


def dq_vs_opq_dictionary() -> str:
    """Recall and distortion of PQ, DQ and OPQ on real texts that anyone can embed."""
    record, groups = _compared("dq_vs_opq_dictionary")
    rows = []
    for key, methods in groups.items():
        for measure, figure in (("recall", "recall_10_at_10"), ("distortion", "distortion")):
            found = [methods[name][figure] for name in _named(key[1]).values()]
            best, digits = (max(found), 3) if measure == "recall" else (min(found), 4)
            rows.append([*_place(key, methods), measure, *_marked(found, best, digits)])
    return markdown(["data", "index", "bytes", "", *_named("")], rows) + made_by(record)


def dq_vs_opq_training() -> str:
    """Distortion and training time of PQ, DQ and OPQ."""
    record, groups = _compared()
    rows = []
    for key, methods in groups.items():
        ours = methods[_named(key[1])["DQ log-variance"]]
        polished, opq = methods["DQ polished"], methods["OPQ"]
        rows.append(
            [
                *_place(key, methods),
                f"{polished['distortion']:.4f}",
                f"{opq['distortion']:.4f}",
                f"{ours['seconds_total']:.2f}",
                f"{polished['seconds_total']:.1f}",
                f"{opq['seconds_total']:.1f}",
                f"{opq['seconds_total'] / ours['seconds_total']:.0f}×",
                f"{opq['seconds_total'] / polished['seconds_total']:.0f}×",
                f"{rotation(opq) / rotation(ours):.0f}×",
                f"{rotation(opq) / rotation(polished):.0f}×",
            ]
        )
    columns = (
        "data | index | bytes | distortion, polished | OPQ | DQ, s | polished, s | OPQ, s | "
        "all training: DQ | polished | rotation alone: DQ | polished"
    ).split(" | ")
    return markdown(columns, rows) + made_by(record)


# What the README shows of all this: vectors that anyone can make, and one map of a real catalogue.
SHOWN_VECTORS, SHOWN_BYTES = "fr-300", 20
SHOWN_ITEMS, SHOWN_TOKENS = "beauty", 4
SHOWN_SIDS = {
    "RQ-VAE": "RQ-VAE",
    "FAISS RQ, beam 5": "FAISS RQ, beam 5",
    "1 + DQ": "`--coarse 256 -L 3`",
    "RQ": "`--method rq`",
}


def readme_index() -> str:
    """PQ, OPQ, DQ and polished, at one size."""
    record, groups = _compared()
    flat, ivf = (groups[SHOWN_VECTORS, kind, SHOWN_BYTES] for kind in ("flat", "ivf"))
    rows = []
    for shown in ("PQ", "OPQ", "DQ log-variance", "polished"):
        one, other = flat[_named("flat")[shown]], ivf[_named("ivf")[shown]]
        rows.append(
            [
                {"DQ log-variance": "DQ", "polished": "DQ, `--polish 25`"}.get(shown, shown),
                f"{one['recall_10_at_10']:.3f}",
                f"{other['recall_10_at_10']:.3f}",
                f"{one['distortion']:.3f}",
                f"{one['seconds_total']:.2f}",
            ]
        )
    columns = [
        f"{SHOWN_VECTORS}, {SHOWN_BYTES} bytes a vector",
        "10-recall@10, flat",
        f"in IVF{ivf['OPQ']['lists']}",
        "distortion, flat",
        "training, s",
    ]
    return markdown(columns, rows) + made_by(record)


def readme_sids() -> str:
    """Quantisers of one catalogue, before collisions are resolved."""
    record = result("sids_methods")
    found = {
        row["method"]: row
        for row in record["rows"]
        if (row["data"], row["tokens"]) == (SHOWN_ITEMS, SHOWN_TOKENS)
    }
    rows = [
        [
            name,
            f"{found[method]['unique_before']:.2%}",
            f"{found[method]['distortion']:.3f}",
            f"{found[method]['neighbors']:.3f}",
            f"{found[method]['seconds']:.1f}",
        ]
        for method, name in SHOWN_SIDS.items()
        if method in found
    ]
    columns = [
        f"Amazon Beauty, {SHOWN_TOKENS} tokens of 256",
        "unique before",
        "distortion",
        "10-NN kept",
        "seconds",
    ]
    return markdown(columns, rows) + made_by(record)


def rotation(row: dict[str, Any]) -> float:
    """Seconds to learn the rotation."""
    return float(row["seconds"]["rotation"] + row["seconds"].get("polish", 0.0))


def scale() -> str:
    """Time and memory by the number of vectors."""
    record = result("scale")
    rows = [
        [
            f"`{row['job']}`",
            f"{row['rows']:,}",
            row["threads"],
            f"{row['seconds']:.1f} s",
            f"{row['microseconds_a_row']:.2f} µs",
            f"{row['output_mib']} MiB",
            f"{row['beyond_output_mib']} MiB",
        ]
        for row in record["rows"]
    ]
    columns = ["command", "vectors", "threads", "time", "a vector", "output", "peak beyond output"]
    found = record["settings"]["limits"]
    return (
        markdown(columns, rows)
        + made_by(record)
        + f"\nThe machine: sgemm {found['sgemm_gflops_1_thread']:.0f} GFlop/s on one thread, "
        f"{found['sgemm_gflops_2_threads']:.0f} on two; copies memory at {found['copy_gib_s']} "
        f"GiB/s, reads the (cached) file at {found['read_gib_s']} GiB/s.\n"
    )


def encode() -> str:
    """Encoding against FAISS's add."""
    record = result("encode")
    rows = [
        [
            row["index"],
            row["d"],
            row["M"],
            row["bits"],
            row["dsub"],
            row["threads"],
            f"{row['rows_a_second']:,}",
            f"{row['faiss_rows_a_second']:,}",
            f"{row['ratio']:.2f}×",
            f"{row['ratio_at_sgemm']:.1f}×",
            f"{row['gflops']:.0f}",
        ]
        for row in record["rows"]
    ]
    columns = (
        "index | d | M | bits | dsub | threads | rows/s | FAISS, rows/s | ratio | "
        "at sgemm's rate | GFlop/s"
    ).split(" | ")
    rates = record["settings"]["sgemm_gflops"]
    return (
        markdown(columns, rows)
        + made_by(record)
        + f"\nThe machine's sgemm: {rates['1']:.0f} GFlop/s on one thread, "
        f"{rates['2']:.0f} on two.\n"
    )


def gains() -> str:
    """What each step of training is worth."""
    record = result("gains")
    rows = [
        [
            row["step"],
            f"{row['distortion']:+.2%}",
            f"{row['recall']:+.4f}",
            f"{row['recall_least']:+.4f} to {row['recall_most']:+.4f}",
            f"{row['time']:.1f}×",
            row["unused"],
        ]
        for row in record["settings"]["summary"]
    ]
    columns = [
        "step",
        "distortion",
        "recall, mean",
        "recall, least to most",
        "time",
        "unused codewords",
    ]
    return markdown(columns, rows) + made_by(record)


def tuned(name: str, make: Callable[[dict[str, Any]], tuple[list[str], list[list[Any]]]]) -> str:
    """One of `tuning_tables`."""
    record = result(name)
    return markdown(*make(record)) + made_by(record)


def claim_identity() -> str:
    """The identity, the gradients and β, and the controls."""
    record = result("claim")
    names = {
        "identity_float64": "largest |L_R − L_C| / L_R, float64",
        "identity_float32": "the same, float32",
        "gradients": "largest |∇L_R − ∇L_C|, relative",
        "beta_sgd": "β from 0 to 10, SGD: largest difference of codewords",
        "beta_adam": "β from 0 to 10, Adam: the same (nothing is claimed)",
        "dropped": "half the axes dropped: |L_R − L_C − dropped| / L_R",
        "control_dropped": "control, half the axes dropped: |L_R − L_C| / L_R",
        "control_whitened": "control, axes whitened",
        "control_skewed": "control, W not orthonormal",
    }
    rows = [[text, *(f"{row[key]:.1e}" for row in record["rows"])] for key, text in names.items()]
    heads = [f"{row['data']} ({row['n']:,} × {row['d']})" for row in record["rows"]]
    return markdown(["figure", *heads], rows) + made_by(record)


def claim_training() -> str:
    """PQ against DQ-VAE."""
    record = result("claim")
    rows = [
        [
            row["data"],
            run["method"],
            run["distortion"],
            run["held out"],
            run["seconds"],
            run["same codes"],
            run["fixed point"],
            run["dead"],
        ]
        for row in record["rows"]
        for run in row["runs"]
    ]
    columns = [
        "data",
        "method",
        "distortion",
        "held out",
        "seconds",
        "same codes",
        "fixed point",
        "dead",
    ]
    outcome = "\n".join(f"- {row['data']}: {row['statement']}" for row in record["rows"])
    return f"{markdown(columns, rows)}\n{outcome}\n{made_by(record)}"


def sids_scale() -> str:
    """Cost of extraction by the number of items."""
    record = result("sids_scale")
    rows = [
        [
            f"{row['n']:,}",
            row["method"],
            f"{row['unique_before']:.2%}" if "unique_before" in row else "",
            f"{row['unique_after']:.2%}" if "unique_after" in row else "",
            f"{row['seconds']:.1f} s",
            f"{row['microseconds_an_item']} µs",
            f"{row['peak_mib']} MiB",
        ]
        for row in record["rows"]
    ]
    columns = [
        "items",
        "method",
        "unique before",
        "unique after",
        "time",
        "an item",
        "peak memory",
    ]
    return markdown(columns, rows) + made_by(record)


def sids_methods() -> str:
    """Quantisers at equal token counts, by distortion; the best of each set in bold."""
    record = result("sids_methods")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in sorted(record["rows"], key=lambda row: -row["distortion"]):
        groups.setdefault((row["data"], row["tokens"]), []).append(row)
    rows = []
    for (data, tokens), ones in sorted(groups.items()):
        best = {
            "distortion": min(one["distortion"] for one in ones),
            "held_out": min(one["held_out"] for one in ones),
            "unique_before": max(one["unique_before"] for one in ones),
            "neighbors": max(one["neighbors"] for one in ones),
            "seconds": min(one["seconds"] for one in ones),
        }
        for one in ones:
            cells = {
                "distortion": f"{one['distortion']:.4f}",
                "held_out": f"{one['held_out']:.4f}",
                "unique_before": f"{one['unique_before']:.2%}",
                "prefixes": ", ".join(f"{one:.1%}" for one in one.get("unique_prefixes", [])[1:3]),
                "neighbors": f"{one['neighbors']:.3f}",
                "seconds": f"{one['seconds']:.1f}",
            }
            marked = [
                f"**{text}**" if k in best and one[k] == best[k] else text
                for k, text in cells.items()
            ]
            rows.append([data, tokens, one["method"], *marked])
    columns = [
        "data",
        "tokens",
        "method",
        "distortion",
        "held out",
        "unique before",
        "different prefixes of 2, 3 tokens",
        "10-NN kept",
        "seconds",
    ]
    return markdown(columns, rows) + made_by(record)


def sids_churn() -> str:
    """Items that a refit changes, and the distortion after it, by what a new ID must be worth."""
    record = result("sids_churn")
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in record["rows"]:
        found.setdefault((row["change"], row["method"]), []).append(row)
    worths = [row["worth"] for row in next(iter(found.values()))]
    rows = [
        [
            change.replace("a tenth of the items is others", "a tenth of the items is replaced"),
            method,
            *(f"{row['items_changed']:.1%}, {row['distortion']:.3f}" for row in some),
            f"{some[0]['fresh_fit']:.3f}",
        ]
        for (change, method), some in found.items()
    ]
    columns = ["what has changed", "map", *(f"worth {worth:g}" for worth in worths), "fresh fit"]
    return markdown(columns, rows) + made_by(record)


def sids_shares() -> str:
    """The largest share of vectors that one code has, and the distortion, under a bound."""
    record = result("sids_shares")
    rows = [
        [
            row["data"],
            row["method"],
            "none" if row["max_share"] is None else f"{row['max_share']:.1%}",
            f"{row['largest']:.2%} ({row['largest_held_out']:.2%})",
            f"{row['distortion']:.4f} ({row['held_out']:.4f})",
            f"{row['seconds']:.1f} s",
        ]
        for row in record["rows"]
    ]
    columns = ["data", "method", "bound", "largest share", "distortion", "time"]
    return markdown(columns, rows) + made_by(record)


def sids_life() -> str:
    """A map, a foreign map, new items, and a refit."""
    record = result("sids_life")
    rows = []
    for row in record["rows"]:
        own = "refit" in row
        kept, fresh = (row["refit"]["kept"], row["refit"]["fresh"]) if own else ({}, {})
        rows.append(
            [
                row["map"],
                f"{row['unique_before']:.2%}",
                f"{row['unique_after']:.2%}" if own else "",
                f"{row['distortion_added']:+.2%}" if own else "",
                f"{row['seconds']:.1f} s" if own else "",
                f"{row['neighbors_tokens']:.3f}",
                row["append"]["published_changed"] if own else "",
                f"{kept['tokens']:.0%} ({fresh['tokens']:.0%})" if own else "",
                f"{kept['distortion']:.3f} ({fresh['distortion']:.3f})" if own else "",
            ]
        )
    columns = [
        "map",
        "unique before",
        "after",
        "distortion added",
        "time",
        "10-NN by shared tokens",
        "published IDs changed by append",
        "tokens changed by refit (fresh fit)",
        "distortion after refit (fresh fit)",
    ]
    return markdown(columns, rows) + made_by(record)


FRONTIER = ROOT / "benchmarks" / "results" / "frontier.jsonl"
PICTURE = ROOT / "docs" / "pictures" / "frontier.png"
# The README is shown where paths lead nowhere, as on PyPI.
PICTURE_ADDRESS = (
    "https://raw.githubusercontent.com/dqindex/dqindex/main/docs/pictures/frontier.png"
)
RECALLS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
SIZES = (16.0, 32.0, 64.0, float("inf"))


def frontier() -> str:
    """The fastest of ours, of FAISS's own and of the others; a table a machine."""
    files = sorted(FRONTIER.parent.glob(f"{FRONTIER.stem}*.jsonl"))
    return "\n".join(map(_frontier_of, files))


def _frontier_of(file: Path) -> str:
    """By size and recall."""
    records = read_results([file])
    rows = []
    for data in dict.fromkeys(one["data"]["name"] for one in records):
        for size in SIZES:
            fit = [
                one
                for one in records
                if one["data"]["name"] == data and one["bytes"]["per_vector"] <= size
            ]
            for least in RECALLS:
                reached = [one for one in fit if recall(one) >= least]
                if reached and (size != SIZES[-1] or least >= 0.8):
                    limit = "any" if size == SIZES[-1] else f"{size:.0f}"
                    rows.append([data, limit, f"{least:.2f}", *_fastest(reached)])
    columns = ["data", "at most, bytes", "recall at least", "DQ", "FAISS's own", "the others"]
    one = records[-1]
    versions: dict[str, str] = {}
    for record in records:
        versions |= record["versions"]
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "dqindex")
    return (
        markdown(columns, rows)
        + f"\n`{one['command']}` on one thread of {one['machine']['cores']} cores "
        f"({one['machine']['cpu']}), {told}.\n"
    )


def _fastest(records: list[dict[str, Any]]) -> list[str]:
    """Queries a second and method of the fastest of each kind; the fastest of all in bold."""
    kinds: dict[str, list[dict[str, Any]]] = {"dqindex": [], "faiss": [], "others": []}
    for one in records:
        kinds[one["library"] if one["library"] in kinds else "others"].append(one)
    best = max(one["batch"]["qps"] for one in records)
    cells = []
    for ones in kinds.values():
        if not ones:
            cells.append("")
            continue
        one = max(ones, key=lambda each: each["batch"]["qps"])
        rate = f"{one['batch']['qps']:,.0f}"
        rate = f"**{rate}**" if one["batch"]["qps"] == best else rate
        name = label(one).removeprefix("faiss:")
        cells.append(f"{rate} `{name}` {one['bytes']['per_vector']:.0f} B")
    return cells


def frontier_build() -> str:
    """Build seconds of indexes of the same kind: ours, and with FAISS's OPQ."""
    records = {(one["data"]["name"], one["method"]): one for one in read_results([FRONTIER])}
    rows = []
    for (data, method), ours in records.items():
        if ours["library"] != "dqindex":
            continue
        head, _, tail = method.removeprefix("dqindex:").partition(",")
        for (other, name), peer in records.items():
            opq = name.startswith(f"faiss:O{head.replace('DQ', 'PQ')}")
            if other == data and opq and name.endswith(f",{tail}"):
                ratio = peer["build"]["total"] / ours["build"]["total"]
                rows.append(
                    [
                        data,
                        f"`{label(ours)}`",
                        f"{ours['build']['total']:.1f}",
                        f"{peer['build']['total']:.0f}",
                        f"{ratio:.0f}×",
                    ]
                )
    return markdown(["data", "index", "DQ, s", "FAISS's OPQ, s", "ratio"], rows)


def readme_picture() -> str:
    """The picture, and the results that it was drawn from."""
    return f"![Recall against queries a second]({PICTURE_ADDRESS})\n\n{_drawn()}\n"


def _drawn() -> str:
    digest = hashlib.sha256(FRONTIER.read_bytes()).hexdigest()[:16]
    return f"<!-- drawn from frontier.jsonl {digest} -->"


def life() -> str:
    """What changes of an index cost."""
    record = result("life")
    found = record["settings"]
    [merge] = life_tables.of(record, "merge")
    used = merge["cpu_seconds"]
    ratio = (used["merge"] + used["write"]) / (used["read"] + used["write"])
    return (
        markdown(*life_tables.changes(record))
        + "\n"
        + markdown(*life_tables.mapping(record))
        + "\n"
        + markdown(*life_tables.filters(record))
        + made_by(record)
        + f"\n`{found['spec']}`, {found['vectors']:,} × {found['dim']}, a file of "
        f"{found['file_mib']:.0f} MiB; building it took {found['build_cpu_seconds']:.0f} s of CPU. "
        f"Merging the shards and writing takes {ratio:.1f} times the CPU of reading them and "
        "writing. "
        f"Other work ran on the machine (a load of {found['load'][0]:.0f} to "
        f"{found['load'][1]:.0f} on {record['machine']['cores']} cores): seconds of the clock are "
        "the least of several runs, and still too long; seconds of CPU are the median.\n"
    )


def generator() -> str:
    """What IDs are worth to a generator."""
    record = result("generator")
    found = record["settings"]
    errors = [row["error_20"] for row in record["rows"]]
    return (
        markdown(*generator_tables.figures(record))
        + made_by(record)
        + f"\n{found['test_users']:,} users of `{found['data']}`: the standard error of recall@20 "
        f"is {min(errors):.4f} to {max(errors):.4f}. Of several seeds: the mean, the least, the "
        "most.\n"
    )


def generator_tokens() -> str:
    """How well a generator tells each token."""
    record = result("generator")
    return markdown(*generator_tables.tokens(record)) + made_by(record)


def recommend() -> str:
    """What tokens and links are worth to a recommender."""
    record = result("recommend")
    return markdown(*recommend_tables.short(record)) + recommended(record)


def recommend_wide() -> str:
    """The same with all figures."""
    record = result("recommend")
    return markdown(*recommend_tables.wide(record)) + recommended(record)


def readme_recommend() -> str:
    """What tokens are worth, in one line a model."""
    record = result("recommend")
    return markdown(*recommend_tables.shortest(record)) + made_by(record)


def recommended(record: dict[str, Any]) -> str:
    """The lines below a table of recommenders."""
    found = record["settings"]
    return (
        made_by(record)
        + f"\n{found['users']:,} users, {found['items']:,} items, {found['interactions']:,} "
        f"interactions to train on; torch {found['torch']}. Mean ± standard deviation of the "
        "seeds.\n"
    )


def cluster(tokens: int) -> str:
    """What Spark took on one machine."""
    record = result(f"cluster-{tokens}-tokens")
    found, rows = record["settings"], record["rows"]
    lacking = [one for one in found["asked"] if one not in {row["rows"] for row in rows}]
    loads = [row[step]["load"] for row in rows for step in cluster_tables.STEPS]
    return (
        markdown(*cluster_tables.measured(record))
        + "\n"
        + markdown(*cluster_tables.outcome(record))
        + made_by(record)
        + f"\n{rows[0]['dim']} dimensions, {tokens} tokens of 256, `{found['spec']}`. Other work "
        f"ran beside: the load was {min(loads):.0f} to {max(loads):.0f} on "
        f"{record['machine']['cores']} cores, so seconds of the clock are far too long, and those "
        "of CPU are the measure."
        + "".join(f" {one:,} vectors were asked for and not done." for one in lacking)
        + "\n"
    )


def cluster_billion() -> str:
    """What follows for a billion vectors."""
    return markdown(*cluster_tables.billion(result("cluster-8-tokens")))


TABLES: dict[str, Callable[[], str]] = {
    "dq_vs_opq": dq_vs_opq,
    "dq_vs_opq-training": dq_vs_opq_training,
    "dq_vs_opq-dictionary": dq_vs_opq_dictionary,
    "scale": scale,
    "encode": encode,
    "gains": gains,
    "score-aware": lambda: tuned("score_aware", tuning_tables.score_aware),
    "score-aware-parts": lambda: tuned("score_aware", tuning_tables.score_aware_parts),
    "scan": lambda: tuned("scan", tuning_tables.scan),
    "scan-shares": lambda: tuned("scan", tuning_tables.scan_shares),
    "spilling": lambda: tuned("spilling", tuning_tables.spilling),
    "chooser": lambda: tuned("chooser", tuning_tables.chooser),
    "wide": lambda: tuned("wide", tuning_tables.wide),
    "frontier": frontier,
    "frontier-build": frontier_build,
    "readme-index": readme_index,
    "readme-picture": readme_picture,
    "readme-sids": readme_sids,
    "readme-recommend": readme_recommend,
    "claim-identity": claim_identity,
    "claim-training": claim_training,
    "recommend": recommend,
    "recommend-wide": recommend_wide,
    "sids-scale": sids_scale,
    "sids-methods": sids_methods,
    "sids-life": sids_life,
    "sids-churn": sids_churn,
    "sids-shares": sids_shares,
    "life": life,
    "cluster-4": lambda: cluster(4),
    "cluster-8": lambda: cluster(8),
    "cluster-billion": cluster_billion,
    "generator": generator,
    "generator-tokens": generator_tokens,
}


def main() -> None:
    """Fill, or check."""
    stale = []
    pages = [ROOT / "README.md", ROOT / "benchmarks" / "README.md"]
    for page in [*pages, *sorted((ROOT / "docs").rglob("*.md"))]:
        text = page.read_text()
        if "table: readme-picture" in text and _drawn() not in text and "--check" not in sys.argv:
            write_picture(read_results([FRONTIER]), PICTURE)
        filled = MARKED.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)
        if filled != text:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(filled)
    if stale and "--check" in sys.argv:
        sys.exit(f"stale tables in {', '.join(stale)}: run python benchmarks/readme.py")


if __name__ == "__main__":
    main()
