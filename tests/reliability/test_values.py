"""Numbers of any size, and sets of any kind: what exact search answers, or one clear refusal.

Every case runs in a child, as what goes wrong here ends a process. Vectors are scaled by powers of
two, which change no bit of a mantissa: so an index of scaled vectors must find what that of the
vectors themselves finds, and a map must give the same tokens.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from dqindex import (
    DQModel,
    DQTransform,
    ProductCodebooks,
    build_index,
    exact_neighbors,
    semantic_ids,
)
from dqindex.errors import DQWarning, NonFiniteError, RangeError
from dqindex.parallel.threads import thread_limit
from dqindex.vectors.extent import LARGEST_NORM, LEAST_NORM

N, D, K = 160, 8, 5
EXPONENTS = [-126, -100, -83, -66, -54, -49, -40, -20, 0, 10, 20, 25, 31, 40, 55, 66, 100, 120]
GATE = [-126, -83, -49, -20, 0, 25, 31, 66, 120]
SPECS = ["Flat", "IVF4,Flat", "DQ4,PQ4x4", "DQ4,IVF4,PQ4x4", "DQ4,SQ8", "DQ2,PQ2x4fs", "HNSW8"]


def points(kind: str) -> np.ndarray:
    """Sets of vectors of about unit size, float32."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(N, D)) @ np.linalg.qr(rng.normal(size=(D, D)))[0] + 0.5
    if kind == "one outlier":
        x[17] *= 1000
    elif kind == "one tiny row":
        x[17] *= 2.0**-30
    elif kind == "constant":
        x[:] = x[0]
    elif kind == "duplicates":
        x = np.repeat(x[: N // 4], 4, axis=0)
    elif kind == "near-duplicates":
        x = x[0] + 1e-3 * x
    elif kind == "few distinct":
        x = x[rng.integers(3, size=N)]
    elif kind == "zeros among them":
        x[::5] = 0
    elif kind.startswith("width"):
        d = int(kind.split()[1])
        x = rng.normal(size=(64, d)) if d > 100 else rng.normal(size=(N, d))
    made: np.ndarray = x.astype(np.float32)
    return made


KINDS = (
    "normal, one outlier, one tiny row, constant, duplicates, near-duplicates, few distinct, "
    "zeros among them, width 1, width 2, width 4096"
).split(", ")


def truth(x: np.ndarray, queries: np.ndarray, metric: str) -> np.ndarray:
    """How far every vector is from every query, the nearest least, in float64 of unit size."""
    a, b = queries.astype(np.float64), x.astype(np.float64)
    if metric == "cosine":
        a, b = (
            side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-300)
            for side in (a / np.maximum(np.abs(a).max(), 1e-300), b)
        )
    if metric == "ip":
        return np.asarray(-a @ b.T)
    return np.asarray(((a[:, None] - b[None]) ** 2).sum(axis=2))


def judge(x: np.ndarray, queries: np.ndarray, metric: str, found: np.ndarray) -> str:
    """What is wrong with exact answers, beyond the rounding of float32; nothing if nothing is."""
    if (found < 0).any():
        return "a position of -1"
    if any(len(set(row)) < len(row) for row in found.tolist()):
        return "a row twice"
    far = truth(x, queries, metric)
    answered = np.take_along_axis(far, found, axis=1)
    best = np.sort(far, axis=1)[:, : found.shape[1]]
    sizes = [np.linalg.norm(side.astype(np.float64), axis=1).max() for side in (queries, x)]
    grain = 4.0 if metric == "cosine" else 4 * max(sizes) ** 2
    worst = float((answered - best).max())
    return f"worse than exact by {worst:.3g}" if worst > 1e-6 * max(grain, 1e-30) else ""


def share(x: np.ndarray, queries: np.ndarray, metric: str, found: np.ndarray) -> float:
    """Share of answers that are as near as the K nearest, ties counted as right."""
    far = truth(x, queries, metric)
    farthest = np.sort(far, axis=1)[:, K - 1 : K]
    answered = np.take_along_axis(far, np.maximum(found, 0), axis=1)
    return float(((answered <= farthest + 1e-6 * np.abs(far).max()) & (found >= 0)).mean())


def refused(work: Any, *args: Any, **settings: Any) -> Any:
    """What `work` gives, or the name of the refusal."""
    try:
        with warnings.catch_warnings(), thread_limit(1):
            warnings.simplefilter("ignore", DQWarning)
            return work(*args, **settings)
    except (RangeError, NonFiniteError) as error:
        return type(error).__name__


def try_index(kind: str, exponents: list[int], metric: str, spec: str) -> list[tuple[str, str]]:
    """Build and search at each scale: (outcome, violation) of each."""
    x = points(kind)
    if x.shape[1] > 100:
        # Eigenvectors of 4,096 dimensions take half a minute.
        spec = spec.replace("DQ4,", "").replace("DQ2,", "")
    queries = x[:20]
    plain = refused(build_index, x, spec, metric=metric).search(queries, K)
    ended = []
    for exponent in exponents:
        with np.errstate(over="ignore"):
            scaled = np.ldexp(x, exponent)
        norms = np.linalg.norm(scaled.astype(np.float64), axis=1)
        served = metric == "cosine" or LEAST_NORM <= norms.max() <= LARGEST_NORM
        served = served and bool(np.isfinite(scaled).all())
        index = refused(build_index, scaled, spec, metric=metric)
        if isinstance(index, str):
            ended.append((index, f"{index} of what is served" if served else ""))
            continue
        # For ip and cosine the scale of a query changes no ranking.
        asked = scaled[:20] if metric == "l2" else queries
        found = index.search(asked, K)
        wrong = "" if served else "served beyond the range"
        if spec in ("Flat", "HNSW8"):
            # float32 may hold a scaled vector in fewer bits: judged as it is, at a size of one.
            held = np.ldexp(scaled.astype(np.float64), -exponent)
            wrong = wrong or judge(held, queries, metric, found.positions) * (spec == "Flat")
        shares = [share(x, queries, metric, one.positions) for one in (found, plain)]
        if exponent > -100 and shares[0] < shares[1] - 0.1:
            wrong = wrong or f"recall {shares[0]:.2f}, of the unscaled vectors {shares[1]:.2f}"
        if not np.isfinite(found.distances[found.positions >= 0]).all():
            wrong = wrong or "a distance that is not finite"
        ended.append(("answer", wrong))
    return ended


def try_model(kind: str, exponents: list[int]) -> list[tuple[str, str]]:
    """Transform, codebooks, model and map at each scale."""
    x = points(kind)
    if x.shape[1] > 100:
        x = x[:, :64]

    def work(x: np.ndarray) -> list[float]:
        """Distortion of each, in double precision."""
        transform = DQTransform(2).fit(x)
        books = ProductCodebooks(1, 16).fit(x)
        model = DQModel(2, 16, coarse=(4,)).fit(x)
        sids = semantic_ids(x, n_subspaces=2, n_codewords=16)
        assert sids.model is not None
        decoded = [
            transform.inverse_transform(transform.transform(x)),
            books.decode(books.encode(x)),
            model.decode(model.encode(x)),
            sids.model.decode(sids.codes),
        ]
        return [float(((one - x.astype(np.float64)) ** 2).sum()) for one in decoded]

    plain = refused(work, x)
    ended = []
    for exponent in exponents:
        with np.errstate(over="ignore"):
            scaled = np.ldexp(x, exponent)
        norm = np.linalg.norm(scaled.astype(np.float64), axis=1).max()
        found = refused(work, scaled)
        served = LEAST_NORM <= norm <= LARGEST_NORM
        if isinstance(found, str):
            ended.append((found, f"{found} of what is served" if served else ""))
            continue
        wrong = "" if served else "served beyond the range"
        ratios = [
            one / 4.0**exponent / max(other, 1e-9) for one, other in zip(found, plain, strict=True)
        ]
        # Starts of k-means and deals may be others; what they come to must be about the same.
        if max(ratios) > 1.25:
            wrong = wrong or f"{max(ratios):.3g} times the distortion of the unscaled vectors"
        ended.append(("answer", wrong))
    return ended


def collect(count: Any, outcome: Any, names: list[str]) -> None:
    """Count the cases of a child."""
    if outcome.kind != "answer":
        count.tried(outcome.kind)
        count.violation(f"{names[0]} ...: {outcome.said}")
        return
    for name, (ended, wrong) in zip(names, outcome.value, strict=True):
        count.tried("refused" if ended != "answer" else "answered")
        if wrong:
            count.violation(f"{name}: {wrong}")


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_indexes(children, tally, long, metric):
    with tally("values") as count:
        for kind in KINDS:
            specs = SPECS if long or kind == "normal" else SPECS[0:4:3]
            for spec in specs:
                exponents = EXPONENTS if long else GATE if kind == "normal" else GATE[::2]
                outcome = children.run(try_index, kind, exponents, metric, spec)
                collect(count, outcome, [f"{kind}, {metric}, {spec}, 2^{e}" for e in exponents])


def test_models_and_maps(children, tally, long):
    with tally("values") as count:
        for kind in KINDS:
            exponents = EXPONENTS if long else GATE
            outcome = children.run(try_model, kind, exponents)
            collect(count, outcome, [f"{kind}, model, 2^{e}" for e in exponents])


def try_queries(metric: str) -> list[tuple[str, str]]:
    """Queries of any size against an index, and against exact search."""
    x = points("normal")
    index = refused(build_index, x, "Flat", metric=metric)
    plain = index.search(x[:20], K).positions
    ended = []
    for scale in [1e-300, 1e-40, 1e-25, 1e-12, 1e8, 1e20, 1e38, 1e300]:
        for dtype in (np.float32, np.float64):
            with np.errstate(over="ignore", under="ignore"):
                queries = (x[:20].astype(np.float64) * scale).astype(dtype)
            norms = np.linalg.norm(queries.astype(np.float64), axis=1)
            # Those of 1e300 have no norm in float64, and are finite all the same.
            finite, zero = np.isfinite(queries).all(), not queries.any()
            served = finite and (metric == "cosine" or zero or (norms.max() <= LARGEST_NORM))
            if metric == "ip" and not zero and norms.min() < LEAST_NORM:
                served = False
            for name, search in (
                ("index", lambda q: index.search(q, K).positions),
                ("exact", lambda q: exact_neighbors(x, q, K, metric=metric)[0]),
            ):
                found = refused(search, queries)
                if isinstance(found, str):
                    text = f"{name} x{scale}: {found} of what is served"
                    ended.append((found, text if served else ""))
                    continue
                wrong = "" if served else f"{name} x{scale}: served beyond the range"
                # Bits are lost below 1e-38, the only ones that scaling changes.
                kept = metric != "l2" and not zero and (dtype == np.float64 or scale > 1e-38)
                if kept and (found == plain).mean() < 0.97:
                    wrong = wrong or f"{name} x{scale}: other neighbours"
                if metric == "l2" and not wrong:
                    wrong = judge(x, queries, metric, found)
                ended.append(("answer", wrong))
    return ended


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_queries(children, tally, metric):
    with tally("values") as count:
        outcome = children.run(try_queries, metric)
        collect(count, outcome, [f"queries, {metric}"] * 32)


def try_rows(spec: str, row_scale: float, dtype: str) -> tuple[int, float]:
    """The nearest of a row that is scaled alone, under cosine."""
    x = points("normal").astype(dtype)
    x[100] *= row_scale
    index = refused(build_index, x, spec, metric="cosine")
    found = index.search(x[100:101], 1)
    return int(found.positions[0, 0]), float(found.distances[0, 0])


@pytest.mark.parametrize("spec", ["Flat", "DQ4,SQ8", "IVF4,Flat", "DQ8,Flat,Refine(SQfp16)"])
def test_cosine_serves_every_row(children, tally, spec):
    scales = [("float32", 1e-25), ("float32", 1e-38), ("float32", 1e37), ("float64", 1e300)]
    scales += [("float64", 1e-300), ("float64", 1e-150)]
    with tally("values") as count:
        for dtype, scale in scales:
            outcome = children.run(try_rows, spec, scale, dtype)
            count.tried(outcome.kind)
            if outcome.kind != "answer" or outcome.value[0] != 100 or outcome.value[1] > 1e-3:
                count.violation(f"{spec}, one row x{scale} in {dtype}: {outcome.said}")


def try_codec(spec: str, metric: str) -> list[tuple[str, str]]:
    """A codec with a range of its own, and vectors within it and beyond."""
    ended = []
    for scale in (1e-12, 1e-6, 1.0, 1e3, 1e6):
        x = points("normal") * np.float32(scale)
        index = refused(build_index, x, spec, metric=metric)
        if isinstance(index, str):
            # The codec of integers takes none of these.
            may = scale != 1.0 or spec == "SQ8_direct"
            ended.append((index, "" if may else f"{spec}, {metric}, x{scale}: {index}"))
            continue
        if "IVF" in spec:
            index.set_parameters({"nprobe": 4})
        right = share(x, x[:20], metric, index.search(x[:20], K).positions)
        wrong = right < 0.75 or spec == "SQ8_direct"
        ended.append(("answer", f"{spec}, {metric}, x{scale}: {right}" if wrong else ""))
    return ended


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_codecs_hold_the_values_or_refuse_them(children, tally, metric):
    specs = ["SQfp16", "IVF4,SQfp16", "DQ4,SQfp16", "HNSW8_SQfp16", "SQ8,Refine(SQfp16)"]
    specs += ["SQbf16", "SQ8", "SQ8_direct"]
    with tally("values") as count:
        for spec in specs:
            outcome = children.run(try_codec, spec, metric)
            collect(count, outcome, [spec] * 5)
