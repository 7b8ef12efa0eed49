"""Exact neighbours, to the last bit of float64, and the cache that keeps them."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dqindex._parameters import integer, text
from dqindex._types import Float32, Float64, Int64
from dqindex.errors import DQIndexError
from dqindex.evaluation import exact_neighbors
from dqindex.storage.files import refusals
from dqindex.storage.records import Format, Record
from dqindex.storage.tensors import load_tensors, save_tensors
from dqindex.vectors import ArrayVectors

FORMAT = Format(
    name="dqindex-truth",
    version=2,
    what="exact neighbours that 'dqindex bench' keeps",
    short="truth",
    remedy="remove it",
    schema={"key": text(), "k": integer(1), "metric": text()},
)
# Candidates that float32 finds beyond the neighbours wanted.
MARGIN = 2
QUERY_BLOCK = 256


class Truth(NamedTuple):
    """Exact neighbours: (q, k) positions, and distances that ascend (-<x, y> for ``ip``)."""

    positions: Int64
    distances: Float64


def pair_distances(base: Float32, queries: Float32, positions: Int64, metric: str) -> Float64:
    """Float64 distance of every query to the base rows at its positions; NaN where that is -1."""
    out = np.empty(positions.shape)
    for start in range(0, len(queries), QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        found = base[np.maximum(positions[rows], 0)].astype(np.float64)
        wanted = queries[rows].astype(np.float64)
        if metric == "cosine":
            found /= np.maximum(np.linalg.norm(found, axis=2, keepdims=True), 1e-300)
            wanted /= np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1e-300)
        if metric == "ip":
            out[rows] = -np.einsum("qkd,qd->qk", found, wanted)
        else:
            found -= wanted[:, None]
            out[rows] = np.einsum("qkd,qkd->qk", found, found)
    out[positions < 0] = np.nan
    return out


def exact_truth(base: Float32, queries: Float32, k: int, metric: str) -> Truth:
    """The `k` nearest of every query: found in float32, ordered and verified in float64.

    A query whose k-th neighbour lies within float32's rounding of the last candidate is searched
    again in float64, over all vectors; so duplicates and vectors far from the origin are right.
    Of equally near vectors the first comes first.
    """
    k = min(k, len(base))
    shifted, wanted = base, queries
    if metric == "l2":
        # Distances keep; rounding is smaller near the origin.
        mean = base.mean(axis=0, dtype=np.float64)
        shifted, wanted = (base - mean).astype(np.float32), (queries - mean).astype(np.float32)
    candidates = min(MARGIN * k + 10, len(base))
    positions, rough = exact_neighbors(ArrayVectors(shifted), wanted, candidates, metric=metric)
    distances = pair_distances(base, queries, positions, metric)
    truth = _ordered(positions, distances, k)
    if candidates < len(base):
        worst = -rough[:, -1] if metric == "ip" else rough[:, -1]
        unsafe = truth.distances[:, -1] > worst - _rounding(shifted, wanted, metric)
        for query in np.flatnonzero(unsafe):
            everywhere = all_distances(base, queries[query], metric)
            # The best k with all ties of the k-th, so that the first positions win.
            edge = np.partition(everywhere, k - 1)[k - 1]
            near = np.flatnonzero(everywhere <= edge)
            one = _ordered(near[None], everywhere[near][None], k)
            truth.positions[query], truth.distances[query] = one.positions[0], one.distances[0]
    return truth


def _ordered(positions: Int64, distances: Float64, k: int) -> Truth:
    order = np.lexsort((positions, distances), axis=1)[:, :k]
    return Truth(
        np.take_along_axis(positions, order, axis=1), np.take_along_axis(distances, order, axis=1)
    )


def _rounding(base: Float32, queries: Float32, metric: str) -> Float64:
    """Bound of float32's error in a distance of each query: that of a sum of d products."""
    unit = float(base.shape[1] * np.finfo(np.float32).eps)
    if metric == "cosine":
        return np.full(len(queries), 4 * unit, dtype=np.float64)
    largest = float(np.sqrt(np.einsum("nd,nd->n", base, base).max()))
    norms: Float64 = np.sqrt(np.einsum("qd,qd->q", queries, queries)).astype(np.float64)
    bound: Float64 = norms * largest if metric == "ip" else (norms + largest) ** 2
    return unit * bound


def all_distances(base: Float32, query: Float32, metric: str) -> Float64:
    """Float64 distance of one query to every row of `base`."""
    rows = np.arange(len(base), dtype=np.int64)
    parts = [
        pair_distances(base, query[None], part[None], metric)[0]
        for part in np.array_split(rows, max(1, base.size // 2**23))
    ]
    return np.concatenate(parts)


def content_key(*parts: Any) -> str:
    """SHA-256 of arrays and words: the name of what is derived from them."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(f"{part}\0".encode())
    return digest.hexdigest()


def cached_truth(
    base: Float32, queries: Float32, k: int, metric: str, key: str, beside: Path | None
) -> tuple[Truth, Path]:
    """`exact_truth`, kept in a file by `key` beside the data, or in the user's cache folder.

    A cached file that is damaged, or that holds the neighbours of anything else, is made again.
    """
    name = f"truth-{key[:20]}-{k}.safetensors"
    folders = [_user_cache()] if beside is None else [beside / ".dqindex-bench", _user_cache()]
    record = {"key": key, "k": k, "metric": metric}
    for folder in folders:
        found = _kept(folder / name, record, len(queries), len(base))
        if found is not None:
            return found, folder / name
    truth = exact_truth(base, queries, k, metric)
    if beside is not None:
        with suppress(DQIndexError):
            return truth, _keep(truth, folders[0], name, record)
    return truth, _keep(truth, _user_cache(), name, record)


def _kept(path: Path, record: Record, n_queries: int, n: int) -> Truth | None:
    """The truth in a cached file, if it is whole and that of `record`."""
    try:
        tensors, stored = load_tensors(path, FORMAT)
    except DQIndexError:
        return None
    if {name: stored[name] for name in record} != record:
        return None
    shape = (n_queries, min(record["k"], n))
    forms = {name: (tensor.dtype.str, tensor.shape) for name, tensor in tensors.items()}
    if forms != {"positions": ("<i8", shape), "distances": ("<f8", shape)}:
        return None
    return Truth(tensors["positions"], tensors["distances"])


def _keep(truth: Truth, folder: Path, name: str, record: Record) -> Path:
    with refusals(folder, "be made"):
        folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / name, truth._asdict(), record, FORMAT)
    return folder / name


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dqindex"
