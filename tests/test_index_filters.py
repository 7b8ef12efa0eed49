"""Search among chosen vectors, and within a radius, against all of them compared one by one."""

from __future__ import annotations

import copy
import pickle
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import clustered

from dqindex import build_index, open_vectors
from dqindex.errors import InputError, SpecError
from dqindex.index import searching
from dqindex.index.anatomy import dissect

N, D, K = 10_000, 8, 10
SPECS = (
    "Flat",
    "DQ4,PQ4x6",
    "DQ4,PQ4x4fs",
    "DQ4,IVF64,PQ4x6",
    "DQ4,IVF64,PQ4x4fs",
    "IVF64,PQ4x4fsr",
    "DQ4,IVF64,PQ4x4fs,Refine(SQ8)",
    "DQ4,IVF64,PQ4x4fs,RFlat",
    "DQ4,IVF64_HNSW8,PQ4x6",
    "IVF64,SQ8",
    "HNSW8",
    "DQ4_6,IVF64,PQ4x4",
)
CASES = [(spec, "l2") for spec in SPECS]
CASES += [(spec, metric) for spec in SPECS[2:7:2] for metric in ("ip", "cosine")]
X = clustered(N, D, seed=3)
QUERIES = clustered(6, D, seed=3, clusters=6)
SHARES = {"50 %": 2, "1 %": 100, "0.01 %": 10_000}


@cache
def built(spec: str, metric: str) -> Any:
    return build_index(X, spec, metric=metric)


@cache
def decoded(spec: str, metric: str) -> np.ndarray:
    every: np.ndarray = built(spec, metric).reconstruct(np.arange(N))
    return every


def compared(spec: str, metric: str) -> np.ndarray:
    """Of every query to every vector, as its code has it: smaller is nearer."""
    if "DQ4_6" in spec:
        return projected(spec, metric)
    queries, coded = QUERIES.astype(np.float64), decoded(spec, metric).astype(np.float64)
    if metric == "cosine":
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    if metric == "ip":
        return -queries @ coded.T
    apart: np.ndarray = ((queries[:, None] - coded) ** 2).sum(2)
    return apart


def projected(spec: str, metric: str) -> np.ndarray:
    """Where a transform drops directions, queries lose them as well."""
    queries, coded = QUERIES, decoded(spec, metric)
    for link in dissect(built(spec, metric).index).chain:
        queries, coded = link.apply(queries), link.apply(coded)
    apart: np.ndarray = ((queries[:, None].astype(np.float64) - coded) ** 2).sum(2)
    return apart


def slack(spec: str, near: np.ndarray) -> float:
    """By how much a table of bytes may be wrong."""
    fast = "fs" in spec and "RFlat" not in spec and "Refine" not in spec
    return float(np.ptp(near) * 0.02 if fast else 1e-3 * (1 + np.abs(near).max()))


def everything(spec: str) -> dict[str, float]:
    found: dict[str, float] = {"nprobe": 64} if "IVF" in spec else {}
    if "Refine" in spec or "RFlat" in spec:
        found["k_factor_rf"] = N / K
    return found | ({"efSearch": 400} if spec == "HNSW8" else {})


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("spec", "metric"), CASES)
def test_the_nearest_of_those_that_are_chosen(spec, metric, share):
    index, near = built(spec, metric), compared(spec, metric)
    chosen = np.zeros(N, dtype=bool)
    chosen[np.random.default_rng(5).permutation(N)[: N // SHARES[share]]] = True
    most, loose = min(K, int(chosen.sum())), slack(spec, near)
    best = np.sort(np.where(chosen, near, np.inf), axis=1)[:, :most]
    for given in ({}, everything(spec)):
        result = index.search(QUERIES, K, filter=chosen, parameters=given)
        rows = result.positions[:, :most]
        assert chosen[rows].all()
        assert all(len(set(row)) == most for row in rows.tolist())
        assert (result.positions[:, most:] == -1).all()
        found = np.take_along_axis(near, rows, axis=1)
        shown = result.distances[:, :most] * (-1 if metric == "ip" else 1)
        np.testing.assert_allclose(shown, found, atol=loose)
        exhausted = most == chosen.sum()
        graph = spec == "HNSW8" and not exhausted
        if (given or exhausted) and not graph:
            assert (found[:, -1] <= best[:, -1] + 2 * loose).all()
        if graph and given:
            assert np.isclose(found, best, atol=loose).mean() > 0.9


@pytest.mark.parametrize(("spec", "metric"), CASES)
def test_what_is_excluded_is_not_found(spec, metric):
    index = built(spec, metric)
    before = index.search(QUERIES, K).positions
    out = np.unique(before[:, ::2])
    after = index.search(QUERIES, K, exclude=out).positions
    assert not np.isin(after, out).any()
    assert (after >= 0).all()
    some = np.arange(0, N, 2)
    both = index.search(QUERIES, K, filter=some, exclude=out).positions
    assert np.isin(both, np.setdiff1d(some, out)).all()
    assert np.array_equal(index.search(QUERIES, K).positions, before)


def test_more_lists_are_probed_than_were_asked_for():
    """All that are chosen lie in the list that is farthest from the query."""
    index = built("DQ4,IVF64,PQ4x6", "l2")
    query = QUERIES[:1]
    farthest = np.argsort(-compared("DQ4,IVF64,PQ4x6", "l2")[0])[:K]
    plain = index.search(query, K, parameters={"nprobe": 1}).positions
    assert not np.isin(plain, farthest).any()
    found = index.search(query, K, filter=farthest, parameters={"nprobe": 1}).positions
    assert sorted(found[0].tolist()) == sorted(farthest.tolist())


@pytest.mark.parametrize("spec", ["DQ4,IVF64,PQ4x6", "DQ4,IVF64,PQ4x4fs,Refine(SQ8)"])
def test_more_lists_are_probed_before_all_codes_are_compared(spec, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(searching, "scan", never)
    chosen = np.arange(N) % 3 == 0
    plain = built(spec, "l2").search(QUERIES, 90, parameters={"nprobe": 1})
    assert (chosen[plain.positions].sum(1) < 60).any()
    found = built(spec, "l2").search(QUERIES, 60, filter=chosen, parameters={"nprobe": 1})
    assert chosen[found.positions].all()
    assert (found.positions >= 0).all()


def test_filters_by_ids():
    ids = [f"item {row}" for row in range(400)]
    index = build_index(open_vectors(X[:400], ids=ids), "DQ2,IVF4,PQ2x4")
    some = ["item 7", "item 300", "nobody"]
    for given in (
        some,
        tuple(some),
        set(some),
        np.array(some),
        pa.array(some),
        pa.chunked_array([some]),
    ):
        assert set(index.search(QUERIES, 5, filter=given).ids.ravel()) == {*some[:2], None}
    assert (index.search(QUERIES, 5, filter=[]).positions == -1).all()
    assert (index.search(QUERIES, 5, exclude=ids).positions == -1).all()
    assert (index.search(QUERIES, 5, exclude=[]).positions >= 0).all()
    for wrong in ("item 7", [1, 2], 7, np.ones(3, dtype=bool), [None], [["item 7"]]):
        with pytest.raises(InputError, match="filter"):
            index.search(QUERIES, 5, filter=wrong)
        with pytest.raises(InputError, match="exclude"):
            index.range_search(QUERIES, 1.0, exclude=wrong)


@pytest.mark.parametrize(("spec", "metric"), CASES)
def test_all_within_a_radius(spec, metric):
    index, near = built(spec, metric), compared(spec, metric)
    sign = -1 if metric == "ip" else 1
    radius = float(sign * np.quantile(near, 0.004))
    given = {} if spec == "HNSW8" else everything(spec)
    result = index.range_search(QUERIES, radius, parameters=given)
    loose = 1e-4 * (1 + np.abs(near).max())
    assert result.limits[0] == 0
    assert result.limits[-1] == len(result.ids) == len(result.distances) > 100
    chosen = np.zeros(N, dtype=bool)
    chosen[::3] = True
    part = index.range_search(QUERIES, radius, filter=chosen, parameters=given)
    for row, (start, stop) in enumerate(zip(result.limits, result.limits[1:], strict=False)):
        rows = result.positions[start:stop]
        assert len(set(rows.tolist())) == len(rows)
        apart = sign * result.distances[start:stop]
        assert (np.diff(apart) >= 0).all()
        np.testing.assert_allclose(apart, near[row, rows], atol=loose)
        assert set(np.flatnonzero(near[row] < sign * radius - loose)) <= set(rows.tolist())
        assert (near[row, rows] < sign * radius + loose).all()
        among = part.positions[part.limits[row] : part.limits[row + 1]]
        assert among.tolist() == rows[chosen[rows]].tolist()


def test_nothing_is_within_no_radius():
    result = built("DQ4,IVF64,PQ4x6", "l2").range_search(QUERIES, 0.0)
    assert result.limits.tolist() == [0] * (len(QUERIES) + 1)
    assert len(result.ids) == len(result.positions) == len(result.distances) == 0


def test_a_product_of_nothing_is_within_every_radius_below():
    index = built("DQ4,PQ4x4fs", "ip")
    assert index.range_search(QUERIES[:1], -1e9).limits[-1] == N


@pytest.mark.parametrize("spec", ["IVF4,FlatDedup"])
def test_where_faiss_does_not_tell_vectors_apart(spec):
    index = build_index(np.repeat(X[:200], 2, axis=0), spec)
    assert (index.search(QUERIES, 4).positions >= 0).all()
    for ask in (
        lambda: index.search(QUERIES, 4, filter=[1]),
        lambda: index.range_search(QUERIES, 1.0),
        lambda: index.reconstruct([1]),
        lambda: index.remove([1]),
    ):
        with pytest.raises(SpecError, match="FlatDedup"):
            ask()
    index.add(X[:3])
    assert len(index) == 403


@pytest.mark.parametrize("spec", ["DQ4,PQ4x4fs", "DQ4,IVF64,PQ4x4fs"])
def test_what_fast_scan_did_not_find_is_looked_for_again(spec, monkeypatch):
    """FAISS does so now and then; here each time, for one query."""
    index = built(spec, "l2")
    right = index.search(QUERIES, K, parameters=everything(spec))
    plain = type(index.index).search

    def forgetful(self: Any, x: Any, k: int, **more: Any) -> Any:
        distances, labels = plain(self, x, k, **more)
        distances[2, K // 2 :], labels[2, K // 2 :] = np.finfo(np.float32).max, -1
        return distances, labels

    monkeypatch.setattr(type(index.index), "search", forgetful)
    found = index.search(QUERIES, K, parameters=everything(spec))
    assert (found.positions >= 0).all()
    near = compared(spec, "l2")
    np.testing.assert_allclose(
        np.take_along_axis(near, found.positions, 1),
        np.take_along_axis(near, right.positions, 1),
        atol=3 * slack(spec, near),
    )


def test_lists_that_hold_too_few_give_fewer():
    index = build_index(X[:300], "IVF64,PQ4x4fs")
    found = index.search(QUERIES, 50, parameters={"nprobe": 1})
    assert (found.positions < 0).any()
    assert (found.positions[:, 0] >= 0).all()


def test_a_masked_array_is_refused_as_a_filter_and_as_ids():
    index = build_index(open_vectors(X[:400], ids=np.arange(400)), "DQ2,IVF4,PQ2x4")
    some = np.ma.masked_array([1, 2], [False, True])
    flags = np.ma.masked_array(np.ones(400, dtype=bool), np.arange(400) == 3)
    for wrong in (some, flags):
        for ask in (
            lambda wrong=wrong: index.search(QUERIES, 5, filter=wrong),
            lambda wrong=wrong: index.search(QUERIES, 5, exclude=wrong),
            lambda wrong=wrong: index.range_search(QUERIES, 5.0, filter=wrong),
            lambda wrong=wrong: index.remove(wrong),
            lambda wrong=wrong: index.reconstruct(wrong),
            lambda wrong=wrong: index.add(X[: len(wrong)], ids=wrong),
            lambda wrong=wrong: index.update(X[: len(wrong)], ids=wrong),
        ):
            with pytest.raises(InputError, match="has masked values; leave them out"):
                ask()
    assert len(index) == 400
    nothing_masked = np.ma.masked_array([1, 2], [False, False])
    assert set(index.search(QUERIES, 2, filter=nothing_masked).ids.ravel()) == {1, 2}


@pytest.mark.parametrize("of", [pickle.dumps, copy.copy, copy.deepcopy])
def test_an_index_is_saved_and_opened_not_pickled(of):
    with pytest.raises(InputError, match="save it to a folder, and give that to open_index"):
        of(built("Flat", "l2"))
