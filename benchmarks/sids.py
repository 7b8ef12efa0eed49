"""Semantic IDs: what it costs at scale, against other quantisers, and over time.

python benchmarks/sids.py scale
python benchmarks/sids.py methods --data FILE [--data FILE]
python benchmarks/sids.py life --data FILE [--foreign MAP]
python benchmarks/sids.py churn --data FILE [--data FILE]
python benchmarks/sids.py shares --data FILE [--data FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import common
import faiss
import numpy as np
from generate import apart, phrases

import dqindex
from dqindex.errors import DQWarning
from dqindex.quantizer.family import new_model
from dqindex.sids.semantic_ids import SemanticIds, read_sids, semantic_ids
from dqindex.sids.tuples import count_distinct

# What is measured at scale: options of `sids extract`.
AT_SCALE = {
    "dq, 8 tokens": ["-L", "8"],
    "dq, 4 tokens": ["-L", "4"],
    "1 + dq, 4 tokens, plain": ["-L", "3", "--coarse", "256", "--polish", "0", "--beam", "1"],
    "1 + dq, 4 tokens": ["-L", "3", "--coarse", "256"],
    "rq, 4 tokens, plain": ["-L", "4", "--method", "rq", "--polish", "0", "--beam", "1"],
    "rq, 4 tokens": ["-L", "4", "--method", "rq"],
}


def scale(arguments: argparse.Namespace) -> None:
    """Seconds and memory of `sids extract`, and of `sids neighbors`, on made-up phrases."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        output, told = Path(folder) / "sids.parquet", Path(folder) / "told.json"
        for n in arguments.sizes or (100_000, 1_000_000):
            vectors = Path(folder) / "vectors.npy"
            apart(phrases, vectors, n)
            for method, options in AT_SCALE.items():
                files = [str(vectors), "-o", str(output)]
                row = {"n": n, "method": method, **timed("extract", [*files, *options], n, told)}
                sids = SemanticIds.load(output)
                base = count_distinct(sids.base_codes, sids.sizes) / n
                row["unique_before"] = round(base, 4)
                row["unique_after"] = json.loads(told.read_text())["unique_share"]
                rows.append(row)
                print(row, flush=True)
                if method == "dq, 8 tokens":
                    files = [str(output), "-o", str(Path(folder) / "edges.parquet")]
                    timing = timed("neighbors", [*files, "-k", "10"], n, told)
                    rows.append({"n": n, "method": "neighbors, 8 tokens, k = 10", **timing})
                    print(rows[-1], flush=True)
    common.write("sids_scale", rows)


def timed(what: str, options: list[str], n: int, told: Path) -> dict[str, float]:
    """Seconds and peak memory of a command of `sids`."""
    as_json = ["--json"] if what == "extract" else []
    began = time.perf_counter()
    peak = common.run([sys.executable, "-m", "dqindex", "sids", what, *options, *as_json], told)
    seconds = time.perf_counter() - began
    return {
        "seconds": round(seconds, 2),
        "microseconds_an_item": round(seconds / n * 1e6, 1),
        "peak_mib": round(peak / 2**20),
    }


# Quantisers: trained on vectors for a number of tokens, they code others: codes, decoded vectors.

Coder = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Quantizer = Callable[[np.ndarray, int], Coder]


def of_faiss(quantizer: Any, x: np.ndarray) -> Coder:
    """A trained ``faiss.AdditiveQuantizer``."""
    quantizer.train(x)

    def code(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = quantizer.compute_codes(x)
        return codes, quantizer.decode(codes)

    return code


def faiss_rq(beam: int) -> Quantizer:
    """faiss.ResidualQuantizer; beam 1 is k-means on residuals, as recommenders do it."""

    def train(x: np.ndarray, tokens: int) -> Coder:
        quantizer = faiss.ResidualQuantizer(x.shape[1], tokens, 8)
        quantizer.max_beam_size = beam
        return of_faiss(quantizer, x)

    return train


def faiss_lsq(x: np.ndarray, tokens: int) -> Coder:
    """faiss.LocalSearchQuantizer with its defaults."""
    return of_faiss(faiss.LocalSearchQuantizer(x.shape[1], tokens, 8), x)


def pq(x: np.ndarray, tokens: int) -> Coder:
    """Product quantisation of the vectors as they are, padded with zeros."""
    d = x.shape[1]
    width = -(-d // tokens) * tokens

    def padded(x: np.ndarray) -> np.ndarray:
        return np.pad(x, ((0, 0), (0, width - d)))

    books = dqindex.ProductCodebooks(tokens).fit(padded(x))

    def code(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = books.encode(padded(x))
        return codes, books.decode(codes)[:, :d]

    return code


def opq(x: np.ndarray, tokens: int) -> Coder:
    """FAISS's OPQ, 50 rounds, and the same training of codebooks."""
    width = -(-x.shape[1] // tokens) * tokens
    rotation = faiss.OPQMatrix(x.shape[1], tokens, width)
    rotation.train(x)
    books = dqindex.ProductCodebooks(tokens).fit(rotation.apply(x))
    matrix = faiss.vector_to_array(rotation.A).reshape(width, x.shape[1])

    def code(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = books.encode(rotation.apply(x))
        return codes, books.decode(codes) @ matrix

    return code


def ours(method: str = "dq", coarse: int = 0, **settings: Any) -> Quantizer:
    """A model of the family, with `coarse` residual tokens in place of as many of its own."""

    def train(x: np.ndarray, tokens: int) -> Coder:
        model = new_model(method, tokens - coarse, coarse=(256,) * coarse, **settings).fit(x)

        def code(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            codes = model.encode(x)
            return codes, model.decode(codes)

        return code

    return train


def neural(kind: str, **settings: Any) -> Quantizer:
    """RQ-VAE or VQ-VAE; torch is imported when one is trained."""

    def train(x: np.ndarray, tokens: int) -> Coder:
        from baselines.quantizer import NeuralQuantizer

        quantizer = NeuralQuantizer(kind, tokens, **settings).fit(x)

        def code(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            codes = quantizer.encode(x)
            return codes, quantizer.decode(codes)

        return code

    return train


PLAIN = {"polish": 0, "beam": 1}
METHODS: dict[str, Quantizer] = {
    "PQ": pq,
    "OPQ": opq,
    "FAISS RQ, beam 1": faiss_rq(1),
    "FAISS RQ, beam 5": faiss_rq(5),
    "FAISS LSQ": faiss_lsq,
    "DQ": ours(),
    "DQ log": ours(balance="log-variance"),
    "DQ, polish 25": ours(polish=25),
    "1 + DQ, plain": ours(coarse=1, **PLAIN),
    "1 + DQ": ours(coarse=1),
    "2 + DQ, plain": ours(coarse=2, **PLAIN),
    "2 + DQ": ours(coarse=2),
    "RQ, plain": ours("rq", **PLAIN),
    "RQ": ours("rq"),
}
if find_spec("torch"):
    METHODS |= {"RQ-VAE": neural("rq"), "VQ-VAE": neural("vq")}
HELD_OUT = 0.1


def methods(arguments: argparse.Namespace) -> None:
    """Distortion, unique share, neighbourhoods and seconds at equal token counts.

    A row takes the place of the one measured before for its data, tokens and method.
    """
    chosen = arguments.method or list(METHODS)
    for data in arguments.data:
        name, x = common.load(data)
        rng = np.random.default_rng(0)
        asked = rng.choice(len(x), 500, replace=False)
        held = rng.random(len(x)) < HELD_OUT
        true = neighbors(x, asked)
        energy = float(x.var(axis=0, dtype=np.float64).sum())
        for tokens in arguments.tokens or (4, 8):
            for method in chosen:
                began = time.perf_counter()
                coder = METHODS[method](x, tokens)
                codes, decoded = coder(x)
                seconds = time.perf_counter() - began
                _, unseen = METHODS[method](x[~held], tokens)(x[held])
                *prefixes, whole = unique_shares(codes)
                row = {
                    "data": name,
                    "n": len(x),
                    "d": x.shape[1],
                    "tokens": tokens,
                    "method": method,
                    "distortion": round(dqindex.distortion(x, decoded) / energy, 4),
                    "held_out": round(dqindex.distortion(x[held], unseen) / energy, 4),
                    "unique_before": whole,
                    "unique_prefixes": prefixes,
                    "neighbors": round(dqindex.recall_at(neighbors(decoded, asked), true), 4),
                    "seconds": round(seconds, 2),
                }
                print(row, flush=True)
                key = ("data", "tokens", "method")
                common.write("sids_methods", [row], key=key, held_out=HELD_OUT)


def unique_shares(codes: np.ndarray) -> list[float]:
    """Different prefixes of 1, 2, … tokens, as a share of the items."""
    shares = []
    for length in range(1, codes.shape[1] + 1):
        distinct = count_distinct(codes[:, :length], [256] * length)
        shares.append(round(distinct / len(codes), 4))
    return shares


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


# Models whose maps are refitted, and shares of the distortion that an ID must gain to be changed.
REFITTED: dict[str, dict[str, Any]] = {
    "dq, 4 tokens": {"n_subspaces": 4},
    "1 + dq, 4 tokens": {"n_subspaces": 3, "coarse": (256,)},
    "rq, 4 tokens": {"method": "rq", "n_subspaces": 4},
}
WORTHS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def changes(x: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What may become of a catalogue: published rows, rows as they are now, and their vectors."""
    rng = np.random.default_rng(0)
    everyone, order = np.arange(len(x)), rng.permutation(len(x))
    tenth = len(x) // 10
    noise = rng.normal(size=x.shape).astype(np.float32) * x.std(axis=0)
    return {
        "nothing": (everyone, everyone, x),
        "a tenth of the items is others": (order[:-tenth], order[tenth:], x[order[tenth:]]),
        "each vector moves by a tenth": (everyone, everyone, x + np.float32(0.1) * noise),
        "each vector moves by a third": (everyone, everyone, x + np.float32(1 / 3) * noise),
    }


def churn(arguments: argparse.Namespace) -> None:
    """What a refit changes and what it gains, by the share that a new ID must be worth."""
    rows = []
    for data in arguments.data:
        name, x = common.load(data)
        for change, (published, now, vectors) in changes(x).items():
            energy = float(vectors.var(axis=0, dtype=np.float64).sum())
            for method, settings in REFITTED.items():
                old = semantic_ids(x[published], published, **settings)
                for worth in WORTHS:
                    result = old.refit(vectors, now, worth=worth)
                    row = {
                        "data": name,
                        "change": change,
                        "method": method,
                        "worth": worth,
                        "items_changed": round(result.churn.items, 4),
                        "distortion": round(result.churn.distortion / energy, 4),
                        "fresh_fit": round(result.fresh.distortion / energy, 4),
                        "model_kept": result.sids.fingerprint == old.fingerprint,
                    }
                    rows.append(row)
                    print(row, flush=True)
    common.write("sids_churn", rows)


SHARES = (None, 0.02, 0.01, 0.006)


def shares(arguments: argparse.Namespace) -> None:
    """What it costs to bound the share of vectors that one code has; also on held-out vectors."""
    rows = []
    for data in arguments.data:
        name, x = common.load(data)
        if arguments.sizes:
            x = x[: arguments.sizes[0]]
        held = np.random.default_rng(0).random(len(x)) < HELD_OUT
        energy = float(x.var(axis=0, dtype=np.float64).sum())
        for method, settings in REFITTED.items():
            for share in SHARES:
                kind, plain = settings.get("method", "dq"), {"polish": 0, "beam": 1}
                shape = {key: value for key, value in settings.items() if key != "method"}
                model = new_model(kind, **shape, **plain, max_share=share)
                began = time.perf_counter()
                model.fit(x[~held])
                seconds = time.perf_counter() - began
                lost, largest = [], []
                for part in (x[~held], x[held]):
                    codes = model.encode(part)
                    lost.append(dqindex.distortion(part, model.decode(codes)) / energy)
                    largest.append(max(np.bincount(one).max() for one in codes.T) / len(part))
                row = {
                    "data": name,
                    "n": len(x),
                    "method": method,
                    "max_share": share,
                    "largest": round(float(largest[0]), 4),
                    "largest_held_out": round(float(largest[1]), 4),
                    "distortion": round(lost[0], 4),
                    "held_out": round(lost[1], 4),
                    "seconds": round(seconds, 2),
                }
                rows.append(row)
                print(row, flush=True)
    common.write("sids_shares", rows, held_out=HELD_OUT)


def main() -> None:
    """One of the five."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["scale", "methods", "life", "churn", "shares"])
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--method", action="append", choices=list(METHODS))
    parser.add_argument("--tokens", action="append", type=int)
    parser.add_argument("--sizes", action="append", type=int)
    parser.add_argument("--foreign", help="another system's map of the same items")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DQWarning)
    commands = {"scale": scale, "methods": methods, "life": life, "churn": churn, "shares": shares}
    commands[arguments.what](arguments)


if __name__ == "__main__":
    main()
