"""Shards of one training become one index; integer ids may stand in its lists."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
import pytest
from conftest import clustered
from stock_faiss import StockFaiss

from dqindex import build_index, build_like, merge_indexes, open_index, open_vectors
from dqindex.errors import InputError, SpecError

X, QUERIES = np.split(clustered(706, 8, seed=21), [700])
SPECS = (
    "Flat",
    "DQ2,PQ2x4",
    "DQ4,PQ4x4fs",
    "PQ4x4fs_64",
    "DQ4,IVF8,PQ4x4",
    "DQ4,IVF8,PQ4x4fs",
    "IVF8,PQ4x4fsr_64",
    "DQ4,IVF8,PQ4x4fs,Refine(SQ8)",
    "IVF8,PQ4+4",
    "IVF8,RaBitQfs",
)


@pytest.fixture(scope="module")
def stock() -> Iterator[StockFaiss]:
    with StockFaiss() as child:
        yield child


def content(index: Any) -> bytes:
    return bytes(faiss.serialize_index(index.index).tobytes())


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("spec", SPECS)
def test_merged_shards_are_the_index_that_was_built_at_once(tmp_path, spec, named):
    ids = [f"item {row}" for row in range(len(X))] if named else None
    whole = build_index(open_vectors(X, ids=ids), spec)
    whole.save(tmp_path / "whole")
    shards: list[Any] = []
    for number, (start, stop) in enumerate(itertools.pairwise([0, 1, 98, 401, 700])):
        source = open_vectors(X[start:stop], ids=ids and ids[start:stop])
        if number % 2:
            build_like(source, whole, block_rows=50).save(tmp_path / f"shard {number}")
            shards.append(tmp_path / f"shard {number}")
        else:
            shards.append(build_like(source, tmp_path / "whole"))
    merged = merge_indexes(shards)
    assert content(merged) == content(whole)
    assert merged.training == whole.training
    assert len(merged) == 700
    assert (None if merged.ids is None else merged.ids.to_pylist()) == ids
    merged.save(tmp_path / "merged")
    one, other = open_index(tmp_path / "merged").search(QUERIES, 9), whole.search(QUERIES, 9)
    assert np.array_equal(one.positions, other.positions)
    assert np.array_equal(one.distances, other.distances)
    assert len(shards[0]) == 1  # they stay as they are


def test_a_shard_may_be_in_any_place():
    whole = build_index(open_vectors(X, ids=np.arange(700) * 3), "DQ4,IVF8,PQ4x4")
    parts = [(400, 700), (0, 150), (150, 400)]
    shards = [
        build_like(open_vectors(X[slice(*part)], ids=np.arange(*part) * 3), whole) for part in parts
    ]
    merged = merge_indexes(shards)
    found, expected = merged.search(QUERIES, 9), whole.search(QUERIES, 9)
    assert np.array_equal(found.distances, expected.distances)
    assert np.array_equal(np.sort(found.ids), np.sort(expected.ids))


def refusals() -> dict[str, tuple[list[Any], str]]:
    spec = "DQ4,IVF8,PQ4x4"
    x, half = X[:350], X[350:]
    counted = build_index(x, spec)
    named = build_index(open_vectors(x, ids=[f"i{row}" for row in range(350)]), spec)
    number = build_like(open_vectors(half, ids=np.arange(350)), named)
    same = build_like(open_vectors(half, ids=[f"i{row + 349}" for row in range(350)]), named)
    return {
        "another seed": ([counted, build_index(x, spec, seed=5)], "index 1: was trained apart"),
        "other vectors": ([counted, build_index(half, spec)], "was trained apart"),
        "another spec": ([counted, build_index(x, "IVF8,PQ4x4")], "was trained apart"),
        "another metric": ([counted, build_index(x, spec, metric="ip")], "its metric is ip"),
        "cosine": ([counted, build_index(x, spec, metric="cosine")], "its metric is cosine"),
        "another width": ([counted, build_index(x[:, :4], "PQ4x4")], "its d is 4"),
        "ids and a count": ([counted, named], "index 0 counts them; index 1 has"),
        "text and integers": ([named, number], "different kinds of ids"),
        "an id in two": ([named, same], "id 'i349' is in 2 of the indexes"),
        "itself": ([named, named], "index 1: is given twice, first as index 0"),
        "none": ([], "no index to merge"),
        "no index": ([counted, 3], "3 is not an index"),
    }


def test_what_cannot_be_merged_is_refused_and_stays_as_it_is():
    for kind, (indexes, words) in refusals().items():
        before = [content(one) for one in indexes if hasattr(one, "index")]
        with pytest.raises(InputError) as refused:
            merge_indexes(indexes)
        assert words in str(refused.value), kind
        assert [content(one) for one in indexes if hasattr(one, "index")] == before


@pytest.mark.parametrize("named", [True, False])
def test_one_index_is_not_merged_with_itself(tmp_path, named):
    x = X[:40]
    made = build_index(open_vectors(x, ids=np.arange(40) * 2) if named else x, "Flat")
    folder = tmp_path / "a"
    made.save(folder)
    (tmp_path / "link").symlink_to(folder)
    opened, mapped = open_index(folder), open_index(tmp_path / "link", mmap=True)
    ways = [made, folder, str(folder), tmp_path / "link", opened, mapped]
    for one, other in itertools.combinations_with_replacement(ways, 2):
        with pytest.raises(InputError, match="twice"):
            merge_indexes([one, other])
    assert len(merge_indexes([opened])) == 40
    if not named:
        copied = open_index(folder)
        copied.save(tmp_path / "b")
        for shards in ([made, build_like(x, made)], [folder, copied], [folder, tmp_path / "b"]):
            assert len(merge_indexes(shards)) == 80
    # What was changed is another index, as is what is published instead of it.
    opened.remove(list(opened.names.take(np.arange(40))))
    opened.add(x[:5], ids=np.arange(5) * 2 + 1 if named else None)
    assert len(merge_indexes([opened, folder])) == 45
    opened.save(folder)
    assert len(merge_indexes([made, folder])) == 45
    with pytest.raises(InputError, match="twice"):
        merge_indexes([opened, folder])


def test_the_fingerprint_is_that_of_the_training(tmp_path):
    index = build_index(X, "DQ4,IVF8,PQ4x4fs,Refine(SQ8)")
    index.save(tmp_path / "index")
    mark = index.training
    assert open_index(tmp_path / "index").training == mark
    assert open_index(tmp_path / "index").manifest["training"] == mark
    index.set_parameters({"nprobe": 3, "k_factor_rf": 2})
    index.remove(np.arange(300))
    index.add(X[:40])
    assert index.training == mark
    others = [build_index(X, index.spec, seed=1), build_index(X[:699], index.spec)]
    others += [
        build_index(X, index.spec, metric="cosine"),
        build_index(X, "IVF8,PQ4x4fs,Refine(SQ8)"),
    ]
    assert len({mark, *(one.training for one in others)}) == 5


# Nothing of these is trained that their codebooks or centroids do not show.
LAYOUTS = (
    ("RaBitQ", "RaBitQ4"),
    ("IVF8,RaBitQ2", "IVF8,RaBitQ4"),
    ("IVF8,RaBitQfs", "IVF8,RaBitQfs4"),
    ("RQ2x4", "RQ2x4_Nqint4"),
    ("RQ2x4_Nqint4", "RQ2x4_Nlsq2x4"),
    ("RQ2x4_Nqint8", "RQ2x4_Nlsq2x4"),
    ("IVF8,RQ2x4_Nfloat", "IVF8,RQ2x4_Nqint8"),
)


@pytest.mark.parametrize(("one", "other"), LAYOUTS)
def test_codes_of_another_layout_are_not_merged(tmp_path, one, other):
    first, second = build_index(X, one), build_index(X, other)
    assert first.training != second.training
    with pytest.raises(InputError, match="index 1: was trained apart"):
        merge_indexes([first, second])
    second.save(tmp_path / "second")
    assert open_index(tmp_path / "second").training == second.training
    assert len(merge_indexes([second, build_like(X[:9], tmp_path / "second")])) == 709


def test_the_fingerprint_does_not_tell_of_how_codes_lie_in_memory():
    for one, other in (("PQ4x4fs", "PQ4x4fs_64"), ("IVF8,PQ4x4", "IVF8,PQ4x4np")):
        first, second = build_index(X, one), build_like(X[:9], build_index(X, other))
        expected = build_like(np.concatenate([X, X[:9]]), first)
        assert content(merge_indexes([first, second])) == content(expected)


def test_indexes_that_count_go_on_counting():
    whole = build_index(X, "DQ4,IVF8,PQ4x4")
    first, second = build_like(X[:100], whole), build_like(X[100:250], whole)
    first.remove([0, 50])
    second.remove([149])
    merged = merge_indexes([first, second])
    wanted = [row for row in range(100) if row not in (0, 50)] + list(range(100, 249))
    assert merged.ids.to_pylist() == wanted
    merged.add(X[:2])
    assert merged.ids.to_pylist()[-2:] == [250, 251]


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("spec", ["IVF8,Flat", "DQ4,IVF8,PQ4x4", "DQ4,IVF8,PQ4x4fs", "IVF8,SQ8"])
def test_stock_faiss_gives_the_ids_of_the_catalogue(tmp_path, stock, spec, metric):
    ids = (np.arange(700) * 7919 % 100_003) * 10**13
    ids[3] = 2**63 - 1
    index = build_index(open_vectors(X, ids=ids), spec, metric=metric)
    every = {"nprobe": 8}
    plain = index.search(QUERIES, 5, parameters=every)
    index.embed_ids()
    assert index.embeds_ids
    np.save(tmp_path / "queries.npy", QUERIES)

    def agrees(one: Any) -> Any:
        one.save(tmp_path / "index")
        n, labels, distances = stock.search(tmp_path / "index", tmp_path / "queries.npy", 5)
        found = open_index(tmp_path / "index").search(QUERIES, 5, parameters=every)
        assert n == len(one)
        assert np.array_equal(labels, found.ids)
        np.testing.assert_allclose(distances, found.distances, rtol=1e-5, atol=1e-5)
        return found

    # Equal distances stand in the order of the labels.
    assert np.array_equal(agrees(index).distances, plain.distances)
    index = open_index(tmp_path / "index")
    index.remove(plain.ids[:, 0][:1])
    assert not np.isin(agrees(index).ids, plain.ids[0, 0]).any()
    index.add(QUERIES[:1], ids=[12])
    index.update(QUERIES[1:2], [ids[3]])
    found = agrees(index)
    if metric != "ip":
        assert 12 in found.ids[0]
        assert ids[3] in found.ids[1]
    shard = build_like(open_vectors(QUERIES[2:4], ids=[1, 2]), index)
    assert shard.embeds_ids
    agrees(merge_indexes([index, shard]))
    some = index.ids.to_pylist()[:40]
    among = index.search(QUERIES, 5, filter=some, parameters=every)
    assert np.isin(among.ids, some).all()
    assert index.search(QUERIES, 5, exclude=some).ids.shape == (6, 5)


@pytest.mark.parametrize(
    ("spec", "ids", "error", "words"),
    [
        ("DQ4,IVF8,PQ4x4", [f"i{row}" for row in range(700)], InputError, "are strings"),
        ("DQ4,IVF8,PQ4x4", np.arange(700) - 1, InputError, "id -1 cannot be embedded"),
        ("DQ4,IVF8,PQ4x4", np.arange(700, dtype=np.uint64) + 2**63, InputError, "id 9223372036854"),
        ("DQ4,IVF8,PQ4x4", None, InputError, "no ids to embed"),
        ("DQ4,PQ4x4", np.arange(700), SpecError, "has no lists"),
        ("HNSW8", np.arange(700), SpecError, "has no lists"),
        ("DQ4,IVF8,PQ4x4fs,RFlat", np.arange(700), SpecError, "refinement finds vectors by row"),
        ("IVF8,PQ4+4", np.arange(700), SpecError, "by row"),
    ],
)
def test_ids_that_lists_cannot_hold_are_refused(spec, ids, error, words):
    index = build_index(open_vectors(X, ids=ids), spec)
    before = content(index)
    with pytest.raises(error, match=words):
        index.embed_ids()
    assert content(index) == before
    assert not index.embeds_ids
