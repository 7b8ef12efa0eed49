"""Search parameters: for one search alone, from several threads; and what they may be."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from conftest import clustered

from dqindex import DQModel, build_index, open_index
from dqindex.errors import InputError, SpecError
from dqindex.index.anatomy import dissect

X = clustered(3000, 8, seed=5)
QUERIES = clustered(60, 8, seed=6)
# A spec, and two settings that find different neighbours.
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "IVF64,Flat": ({"nprobe": 1}, {"nprobe": 64}),
    "DQ4,IVF64,PQ4x4": ({"nprobe": 1}, {"nprobe": 64}),
    "PCAR8,DQ4,IVF64,PQ4x4fs": ({"nprobe": 1}, {"nprobe": 64}),
    "DQ4,IVF64,PQ4x4fs,Refine(SQ8)": ({"nprobe": 64, "k_factor_rf": 1}, {"k_factor_rf": 300.0}),
    "DQ4,PQ4x4,RFlat": ({"k_factor_rf": 1}, {"k_factor_rf": 100}),
    "IVF64(HNSW4),Flat": ({"nprobe": 4, "quantizer_efSearch": 4}, {"nprobe": 64}),
    "HNSW4": ({"efSearch": 1}, {"efSearch": 500}),
    "IVF16,RQ2x4fs_32_Nrq2x4": ({"nprobe": 1}, {"nprobe": 16}),
    "IVF64,SQ8": ({"nprobe": 64, "max_codes": 40}, {"nprobe": 64}),
}


@cache
def built(spec: str) -> Any:
    return build_index(X, spec)


@pytest.mark.parametrize("spec", list(PAIRS))
def test_parameters_are_for_one_search_alone(spec):
    index = built(spec)
    before = index.search(QUERIES, 5).positions
    few, many = (index.search(QUERIES, 5, parameters=one).positions for one in PAIRS[spec])
    assert not np.array_equal(few, many)
    assert np.array_equal(index.search(QUERIES, 5).positions, before)
    assert np.array_equal(index.search(QUERIES, 5, parameters={}).positions, before)


@pytest.mark.parametrize("spec", list(PAIRS))
def test_threads_have_parameters_of_their_own(spec):
    index, start = built(spec), Barrier(3)
    settings = [*PAIRS[spec], None]
    alone = [index.search(QUERIES, 5, parameters=one).positions for one in settings]
    chosen = np.arange(len(X)) % 2 == 0
    filtered = [index.search(QUERIES, 5, parameters=one, filter=chosen) for one in settings]

    def ask(place: int) -> bool:
        start.wait()
        return all(
            np.array_equal(
                index.search(QUERIES, 5, parameters=settings[place]).positions, alone[place]
            )
            and np.array_equal(
                index.search(QUERIES, 5, parameters=settings[place], filter=chosen).positions,
                filtered[place].positions,
            )
            for _ in range(6)
        )

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(ask, range(3))) == [True] * 3


def test_parameters_that_stay(tmp_path):
    index = build_index(X[:500], "DQ4,IVF16,PQ4x4fs,RFlat")
    index.set_parameters({"nprobe": np.int64(16), "k_factor_rf": 30})
    found = index.search(QUERIES, 5).positions
    index.save(tmp_path / "index")
    again = open_index(tmp_path / "index")
    assert again.manifest["search_parameters"] == {"nprobe": 16, "k_factor_rf": 30.0}
    assert np.array_equal(again.search(QUERIES, 5).positions, found)
    assert dissect(again.index).ivf.nprobe == 16
    other = again.search(QUERIES, 5, parameters={"nprobe": 1, "k_factor_rf": 1}).positions
    assert not np.array_equal(other, found)
    again.save(tmp_path / "index")
    assert open_index(tmp_path / "index").manifest["search_parameters"]["nprobe"] == 16


WRONG = [
    *({"nprobe": value} for value in (0, -1, math.nan, math.inf, 1e30, 2.5, "3", None, True, [4])),
    *({"k_factor_rf": value} for value in (0.5, 0, -1, math.nan, math.inf, 1e30, "2", None)),
    *({"max_codes": value} for value in (-1, 0.5, math.nan, 2**40)),
    *({name: 3} for name in ("efSearch", "nprobes", "ht", "", "quantizer_efSearch")),
    {"nprobe": 4, "k_factor_rf": 0.5},
    {3: 3},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_parameter_is_named_and_nothing_is_set(wrong):
    index = built("DQ4,IVF64,PQ4x4fs,Refine(SQ8)")
    before = index.search(QUERIES, 5).positions
    name, value = list(wrong.items())[-1]
    for ask in (
        lambda: index.search(QUERIES, 5, parameters=wrong),
        lambda: index.range_search(QUERIES, 1.0, parameters=wrong),
        lambda: index.set_parameters(wrong),
    ):
        with pytest.raises(SpecError) as refused:
            ask()
        assert f"search parameter {name}={value} does not fit" in str(refused.value)
        assert "k_factor_rf" in str(refused.value) or "give" in str(refused.value)
    assert np.array_equal(index.search(QUERIES, 5).positions, before)


@pytest.mark.parametrize("wrong", [3, "nprobe=3", [("nprobe", 3)]])
def test_parameters_are_a_mapping(wrong):
    with pytest.raises(InputError, match="parameters is"):
        built("IVF64,Flat").search(QUERIES, 5, parameters=wrong)


def test_more_lists_than_there_are_is_all_of_them():
    index = built("IVF64,Flat")
    every = index.search(QUERIES, 5, parameters={"nprobe": 64}).positions
    for many in (65, 10**6, 2.0**31 - 1):
        found = index.search(QUERIES, 5, parameters={"nprobe": many}).positions
        assert np.array_equal(found, every)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, 3.0, "3", None, math.nan, True, [3], np.float64(3)])
def test_a_wrong_k_is_refused(wrong):
    with pytest.raises(
        InputError, match=r"DQIndex.search: k is .* it must be an integer of at least 1"
    ):
        built("IVF64,Flat").search(QUERIES, wrong)


def test_more_answers_than_memory_holds_are_refused():
    with pytest.raises(InputError, match="60 x 1099511627776 answers do not fit"):
        built("IVF64,Flat").search(QUERIES, 2**40)


@pytest.mark.parametrize("k", [np.int64(3), np.uint8(3), np.int32(3)])
def test_an_integer_of_numpy_is_one(k):
    index = built("DQ4,IVF64,PQ4x4fs,Refine(SQ8)")
    given = {"nprobe": np.int32(7), "k_factor_rf": np.float32(9)}
    found = index.search(QUERIES, k, parameters=given)
    plain = index.search(QUERIES, 3, parameters={"nprobe": 7, "k_factor_rf": 9})
    assert found.positions.shape == (len(QUERIES), 3)
    assert np.array_equal(found.positions, plain.positions)


@pytest.mark.parametrize("spec", ["Flat", "DQ4,IVF64,PQ4x4", "DQ4,IVF64,PQ4x4fs,Refine(SQ8)"])
def test_more_neighbours_than_there_are_vectors(spec):
    index = build_index(X[:300], spec)
    every = {"nprobe": 64} if "IVF" in spec else {}
    found = index.search(QUERIES[:3], 1000, parameters=every)
    assert (found.positions[:, :300] >= 0).all()
    assert (found.positions[:, 300:] == -1).all()


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "1", None, True])
def test_a_wrong_radius_is_refused(wrong):
    with pytest.raises(InputError, match="radius is"):
        built("IVF64,Flat").range_search(QUERIES, wrong)


@pytest.mark.parametrize("k", [2**31, 2**40, 2**63 - 1, 2**63, 2**64, 2**70])
def test_a_k_beyond_memory_is_said_to_be(k):
    index = build_index(clustered(100, 8), "Flat")
    with pytest.raises(InputError, match=rf"k is {k}: 40 x {k} answers do not fit"):
        index.search(clustered(40, 8), k)


@pytest.mark.parametrize("radius", [1e300, -1e39, 3.5e38, 10**400, -(10**400)])
def test_a_radius_beyond_float32_is_refused(radius):
    index = build_index(clustered(100, 8), "Flat")
    with pytest.raises(InputError, match=r"radius is .* finite number of float32"):
        index.range_search(clustered(2, 8), radius)
    most = float(np.finfo(np.float32).max)
    assert index.range_search(clustered(2, 8), most).limits.tolist() == [0, 100, 200]
    assert index.range_search(clustered(2, 8), -most).limits.tolist() == [0, 0, 0]


@pytest.mark.parametrize("threads", [2**31, 2**63, 2**70])
def test_more_threads_than_there_can_be_are_refused(threads):
    index = build_index(clustered(100, 8), "Flat")
    for ask in (
        lambda: index.search(clustered(2, 8), threads=threads),
        lambda: index.range_search(clustered(2, 8), 1.0, threads=threads),
        lambda: index.add(clustered(2, 8), threads=threads),
        lambda: build_index(clustered(100, 8), "Flat", threads=threads),
    ):
        with pytest.raises(InputError, match=r"threads is .* from 1 to 4096 or None"):
            ask()
    assert len(index) == 100


@pytest.mark.parametrize("size", [2**31, 2**63, 2**70])
def test_large_seeds_and_blocks_serve(size):
    x = clustered(300, 8)
    index = build_index(x, "DQ2,IVF4,PQ2x4", seed=size, block_rows=size)
    index.add(x[:3], block_rows=size)
    assert len(index) == 303
    assert DQModel(2, 8, coarse=(4,), seed=size).fit(x).encode(x).shape == (300, 3)
