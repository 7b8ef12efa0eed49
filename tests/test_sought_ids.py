"""Ids that are looked for: any integer may be asked for, and what is no id is said in our words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import clustered
from hypothesis import given
from hypothesis import strategies as st

from dqindex import build_index, open_vectors
from dqindex.errors import InputError, StorageError
from dqindex.index.folder import read_manifest
from dqindex.index.names import Names
from dqindex.vectors.ids import check_ids

pd = pytest.importorskip("pandas")
X = clustered(40, 8, seed=31)
LIMITS = (0, 2**31, 2**53, 2**63, 2**64, 2**70, 10**30)
INTEGERS = st.one_of(
    st.sampled_from([sign * (one + by) for one in LIMITS for sign in (1, -1) for by in (-1, 0, 1)]),
    st.integers(-(2**80), 2**80),
)
HELD = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1), "int8": (-128, 127)}


def within(kind: str, values: list[int]) -> list[int]:
    least, most = HELD[kind]
    return [one for one in dict.fromkeys(values) if least <= one <= most]


@given(
    kind=st.sampled_from(sorted(HELD)),
    held=st.lists(INTEGERS, min_size=1, max_size=30),
    asked=st.lists(INTEGERS, max_size=30),
    form=st.sampled_from([list, tuple, iter, lambda ids: np.array(ids, object)]),
)
def test_the_row_of_any_integer_is_found_or_not(kind, held, asked, form):
    ids = within(kind, held)
    names, asked = Names(pa.array(ids, kind), len(ids)), asked + ids[::2]
    expected = [ids.index(one) if one in ids else -1 for one in asked]
    assert names.find(form(asked)).tolist() == expected
    for other in HELD:
        some = within(other, asked)
        found = names.find(pa.array(some, other)).tolist()
        assert found == [ids.index(one) if one in ids else -1 for one in some]
    counted = Names(None, 40)
    assert counted.find(form(asked)).tolist() == [one if 0 <= one < 40 else -1 for one in asked]


NONE_OF_THEM = [
    [2**70],
    [-1, 2**64 - 1],
    np.array([2**64 - 1, 2**63], np.uint64),
    np.array([-(2**70), 10**40], object),
    {2**70},
    range(2**70, 2**70 + 3),
    pd.Series([-1, 2**64 - 1], dtype=object),
]


@pytest.mark.parametrize("ids", [None, np.arange(40) * 5, np.arange(40, dtype=np.uint64) + 2**63])
def test_integers_that_the_index_lacks_match_nothing(ids):
    index = build_index(open_vectors(X, ids=ids), "Flat")
    if ids is not None and ids.dtype == np.uint64:
        unknown: list[Any] = [[2**70], [-1, 2**64 - 1], [-(2**63), 2**63 - 1]]
    else:
        unknown = NONE_OF_THEM
    plain = index.search(X[:3], 4)
    for some in unknown:
        assert (index.search(X[:3], 4, filter=some).positions == -1).all()
        assert np.array_equal(index.search(X[:3], 4, exclude=some).ids, plain.ids)
        assert index.remove(some, missing_ok=True) == len(some)
        for change, remedy in (
            (lambda some=some: index.remove(some), r"leave them out, or .*missing_ok"),
            (lambda some=some: index.update(X[: len(some)], some), "add them first"),
            (lambda some=some: index.reconstruct(some), "leave them out$"),
        ):
            with pytest.raises(
                InputError, match=f"not in the index, for example -?[0-9]+; {remedy}"
            ):
                change()
    assert 2**70 not in index
    assert len(index) == 40


NO_IDS: list[tuple[Any, str]] = [
    ([1, "a"], r"an integer \(1\) and text \('a'\)"),
    (["a", 1], r"an integer \(1\) and text \('a'\)"),
    (np.array([2**70, "a"], object), r"an integer .* and text \('a'\)"),
    (7, "the ids are 7; give a list"),
    (np.int64(7), "the ids are 7; give a list"),
    (np.array(7), r"shape \(\)"),
    (np.array([[7]]), r"shape \(1, 1\)"),
    ("7", "the ids are '7'; give"),
    (b"7", "the ids are b'7'; give"),
    ({7: 1}, "the ids are {7: 1}; give"),
    ([True, 7], "hold True at place 0"),
    ([7, 1.5, "a"], "hold 1.5 at place 1"),
    ([7.5, 2**63], "hold 7.5 at place 0"),
    ([2**63, 7.0], "hold 7.0 at place 1"),
    ([[1], [1, 2]], "not supported"),
    ([None], "null"),
    ([2**70, None], "hold None at place 1"),
    (["a", None, 1], "hold None at place 1"),
    ([2**63, None, 2**64 - 1], "missing|string"),
    ([2**70, "a", object()], "at place 2; give"),
]
FOREIGN = (
    "Arrow",
    "convert",
    "iterable",
    "Python int",
    "expected",
    "inhomogeneous",
    "np.",
    "NoneType",
)


def refused(ask: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        ask()
    assert not any(word in str(error.value) for word in FOREIGN)


@pytest.mark.parametrize("ids", [None, np.arange(40), [f"item {row}" for row in range(40)]])
@pytest.mark.parametrize(("wrong", "said"), NO_IDS)
def test_what_is_no_id_is_said_in_our_words(wrong, said, ids):
    index = build_index(open_vectors(X, ids=ids), "Flat")
    refused(lambda: index.remove(wrong), said)
    refused(lambda: index.remove(wrong, missing_ok=True), said)
    refused(lambda: index.reconstruct(wrong), said)
    refused(lambda: index.update(X[:1], wrong), said)
    refused(lambda: index.search(X[:1], filter=wrong), "^filter")
    refused(lambda: index.range_search(X[:1], 1.0, exclude=wrong), "^exclude")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        *NO_IDS[:-1],
        ([1, 2**70], f"{2**70}, beyond 64 bits"),
        ([-1, 2**64 - 1], "which no integer type of 64 bits holds"),
    ],
)
def test_ids_that_cannot_be_kept_are_refused_in_our_words(wrong, said):
    count = len(wrong) if isinstance(wrong, list) else 1
    refused(lambda: check_ids(wrong, count, "these"), f"^these: .*{said}")


@pytest.mark.parametrize(
    "spec", ["Flat", "PQ4x4", "PQ4x4fs", "IVF4,PQ4x4", "IVF4,Flat,RFlat", "HNSW8"]
)
def test_answers_are_looked_up_as_they_come(spec):
    index = build_index(open_vectors(X, ids=np.arange(40) + 7), spec)
    every = index.reconstruct(np.arange(40) + 7)
    found = index.search(X[:12], 5, parameters={"nprobe": 4} if "IVF" in spec else None).ids
    given_back = index.reconstruct(found.ravel())
    assert len(np.unique(found)) < found.size
    assert np.array_equal(given_back, every[found.ravel() - 7])


def test_an_id_that_is_given_twice_is_named():
    for ids, twice, said in (
        (np.arange(40), np.array([3, 20, 20]), "ids: 20 occurs more than once"),
        (np.arange(40, dtype=np.uint64) + 2**63, [2**63, 5, 2**63], f"ids: {2**63} occurs more"),
        ([f"item {row}" for row in range(40)], np.array(["item 1", "item 1"]), "ids: 'item 1' oc"),
    ):
        index = build_index(open_vectors(X, ids=ids), "Flat")
        with pytest.raises(InputError, match=said):
            index.remove(twice, missing_ok=True)


def test_a_file_is_no_index_folder(tmp_path):
    file = tmp_path / "x.npy"
    np.save(file, X)
    with pytest.raises(StorageError, match=r"x\.npy: is a file; give an index folder"):
        read_manifest(file)
    with pytest.raises(StorageError, match=r"x\.npy: is a file; give an index folder"):
        read_manifest(f"file://{file}")
