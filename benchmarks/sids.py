"""Semantic IDs: what it costs at scale, against other quantisers, and over time.

python benchmarks/sids.py scale
python benchmarks/sids.py methods --data FILE [--data FILE]
python benchmarks/sids.py life --data FILE [--foreign MAP]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import faiss
import numpy as np
from generate import generate_apart

import dqindex
from dqindex.errors import DQWarning
from dqindex.sids.semantic_ids import SemanticIds, read_sids, semantic_ids
from dqindex.sids.tuples import count_distinct


def scale(arguments: argparse.Namespace) -> None:
    """Seconds and memory of `sids extract` for 10k, 100k and 1M vectors of width 64."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in (10_000, 100_000, 1_000_000):
            vectors = Path(folder) / "vectors.npy"
            generate_apart(vectors, n, 64, duplicates=0.02)
            for levels in (8, 4):
                output, told = Path(folder) / "sids.parquet", Path(folder) / "told.json"
                began = time.perf_counter()
                command = [sys.executable, *"-m dqindex sids extract".split(), str(vectors)]
                settings = f"-L {levels} -K 256 --json".split()
                peak = common.run([*command, "-o", str(output), *settings], told)
                seconds = time.perf_counter() - began
                sids = SemanticIds.load(output)
                base = count_distinct(sids.base_codes, sids.sizes) / n
                row = {
                    "n": n,
                    "tokens": levels,
                    "seconds": round(seconds, 2),
                    "microseconds_an_item": round(seconds / n * 1e6, 1),
                    "peak_mib": round(peak / 2**20),
                    "unique_before": round(base, 4),
                    "unique_after": json.loads(told.read_text())["unique_share"],
                }
                rows.append(row)
                print(row, flush=True)
    common.write("sids_scale", rows)


# Quantisers: vectors and number of tokens in, codes and decoded vectors out.

Coded = tuple[np.ndarray, np.ndarray]


def rq(beam: int) -> Callable[[np.ndarray, int], Coded]:
    """faiss.ResidualQuantizer; beam 1 is k-means on residuals, as recommenders do it."""

    def quantise(x: np.ndarray, tokens: int) -> Coded:
        quantizer = faiss.ResidualQuantizer(x.shape[1], tokens, 8)
        quantizer.max_beam_size = beam
        quantizer.train(x)
        codes = quantizer.compute_codes(x)
        return codes, quantizer.decode(codes)

    return quantise


def pq(x: np.ndarray, tokens: int) -> Coded:
    """Product quantisation of the vectors as they are, padded with zeros."""
    width = -(-x.shape[1] // tokens) * tokens
    padded = np.zeros((len(x), width), dtype=np.float32)
    padded[:, : x.shape[1]] = x
    books = dqindex.ProductCodebooks(tokens).fit(padded)
    codes = books.encode(padded)
    return codes, books.decode(codes)[:, : x.shape[1]]


def opq(x: np.ndarray, tokens: int) -> Coded:
    """FAISS's OPQ, 50 rounds, and the same training of codebooks."""
    width = -(-x.shape[1] // tokens) * tokens
    rotation = faiss.OPQMatrix(x.shape[1], tokens, width)
    rotation.train(x)
    y = rotation.apply(x)
    books = dqindex.ProductCodebooks(tokens).fit(y)
    codes = books.encode(y)
    matrix = faiss.vector_to_array(rotation.A).reshape(width, x.shape[1])
    return codes, books.decode(codes) @ matrix


def dq(balance: str, coarse: bool) -> Callable[[np.ndarray, int], Coded]:
    """DQ, with one coarse token in place of one of its own."""

    def quantise(x: np.ndarray, tokens: int) -> Coded:
        model = dqindex.DQModel(
            tokens - coarse, coarse=(256,) if coarse else (), balance=balance
        ).fit(x)
        codes = model.encode(x)
        return codes, model.decode(codes)

    return quantise


METHODS: dict[str, Callable[[np.ndarray, int], Coded]] = {
    "PQ": pq,
    "OPQ": opq,
    "RQ-KMeans": rq(1),
    "RQ, beam 5": rq(5),
    "DQ": dq("variance", False),
    "DQ log": dq("log-variance", False),
    "coarse + DQ": dq("variance", True),
    "coarse + DQ log": dq("log-variance", True),
}


def methods(arguments: argparse.Namespace) -> None:
    """Distortion, unique share, neighbourhoods and seconds at equal token counts."""
    rows = []
    for data in arguments.data:
        name, x = common.load(data)
        rng = np.random.default_rng(0)
        asked = rng.choice(len(x), 500, replace=False)
        true = neighbors(x, asked)
        energy = float(x.var(axis=0, dtype=np.float64).sum())
        for tokens in (4, 8):
            for method, quantise in METHODS.items():
                began = time.perf_counter()
                codes, decoded = quantise(x, tokens)
                seconds = time.perf_counter() - began
                row = {
                    "data": name,
                    "n": len(x),
                    "d": x.shape[1],
                    "tokens": tokens,
                    "method": method,
                    "distortion": round(dqindex.distortion(x, decoded) / energy, 4),
                    "unique_before": round(count_distinct(codes, [256] * tokens) / len(x), 4),
                    "neighbors": round(dqindex.recall_at(neighbors(decoded, asked), true), 4),
                    "seconds": round(seconds, 2),
                }
                rows.append(row)
                print(row, flush=True)
    common.write("sids_methods", rows)


def neighbors(x: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """10-NN of some items, without themselves."""
    found, _ = dqindex.exact_neighbors(x, np.ascontiguousarray(x[asked]), 11)
    order = np.argsort(found == asked[:, None], axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)[:, :10]


def life(arguments: argparse.Namespace) -> None:
    """A catalogue's life: extraction, 5 % new items, a tenth replaced; and a foreign map."""
    name, x = common.load(arguments.data[0])
    ids = np.array([f"item-{row}" for row in range(len(x))])
    rows: list[dict[str, Any]] = []
    for settings in ({"n_subspaces": 4}, {"n_subspaces": 3, "coarse": (256,)}):
        began = time.perf_counter()
        sids = semantic_ids(x, **settings)
        seconds = time.perf_counter() - began
        figures = sids.evaluate(x)
        before, after = figures.get("before", figures["after"]), figures["after"]
        shape = "4 x 256" if "coarse" not in settings else "256 + 3 x 256"
        row = {
            "data": name,
            "map": shape,
            "seconds": round(seconds, 2),
            "unique_before": before["unique_share"],
            "unique_after": after["unique_share"],
            "distortion_added": after["distortion"] / before["distortion"] - 1,
            "r_squared": after["r_squared"],
            "neighbors_decoded": after["neighbors_decoded"],
            "neighbors_tokens": after["neighbors_tokens"],
            "perplexity": [round(level["perplexity"], 1) for level in after["levels"]],
        }
        cut = int(len(x) * 0.95)
        old = semantic_ids(x[:cut], ids[:cut], **settings)
        whole, _ = old.append(x[cut:], ids[cut:])
        row["append"] = {
            "new": len(x) - cut,
            "published_changed": int((whole.codes[:cut] != old.codes).any(axis=1).sum()),
            "unique_share": whole.unique_share(),
        }
        order = np.random.default_rng(0).permutation(len(x))
        tenth = len(x) // 10
        published, now = order[:-tenth], order[tenth:]
        old = semantic_ids(x[published], ids[published], **settings)
        result = old.refit(x[now], ids[now])
        row["refit"] = {"kept": result.churn._asdict(), "fresh": result.fresh._asdict()}
        rows.append(row)
        print(json.dumps(row, indent=1), flush=True)
    if arguments.foreign:
        figures = read_sids(arguments.foreign).evaluate(x)["after"]
        rows.append(
            {
                "data": name,
                "map": Path(arguments.foreign).name,
                "unique_before": figures["unique_share"],
                "neighbors_tokens": figures["neighbors_tokens"],
                "perplexity": [round(level["perplexity"], 1) for level in figures["levels"]],
            }
        )
        print(json.dumps(rows[-1], indent=1))
    common.write("sids_life", rows)


def main() -> None:
    """One of the three."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["scale", "methods", "life"])
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--foreign", help="another system's map of the same items")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DQWarning)
    {"scale": scale, "methods": methods, "life": life}[arguments.what](arguments)


if __name__ == "__main__":
    main()
