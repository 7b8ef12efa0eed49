"""Which items meet at one place."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqindex.partitions import neighbours
from dqindex.partitions.columns import ID
from dqindex.sids.letters import packed


def placed(codes, ids, sizes):
    """The place of each item, as an engine finds it."""
    table = pa.table({ID: ids, "tuple": packed(codes, sizes)})
    cuts = neighbours.cut(lambda draw: draw(table), len(codes), 8)
    return neighbours.place_of(table["tuple"], ids, cuts), cuts


@pytest.mark.parametrize("sizes", [[8, 16, 8], [300, 4, 500]])
def test_places_are_even_runs_of_tuples_in_order(monkeypatch, sizes):
    monkeypatch.setattr(neighbours, "PLACE_ITEMS", 500)
    rng = np.random.default_rng(0)
    codes = (rng.random((10_000, 3)) ** 2 * sizes).astype(np.int32)
    ids = pa.array([f"ß{one}" for one in range(len(codes))])
    place, cuts = placed(codes, ids, sizes)
    assert len(cuts) == neighbours.places_for(10_000, 8) - 1 == 19
    counts = np.bincount(place, minlength=20)
    assert counts.sum() == 10_000
    assert counts.min() > 250
    assert counts.max() < 900
    ordered = place[np.lexsort(codes.T[::-1])]
    assert (np.diff(ordered) >= 0).all()
    by_tuple: dict[tuple[int, ...], int] = {}
    for one, where in zip(map(tuple, codes.tolist()), place.tolist(), strict=True):
        assert by_tuple.setdefault(one, where) == where


def test_a_tuple_of_very_many_items_has_many_places(monkeypatch):
    """And zeros at the end of a tuple count, though numpy drops them from bytes."""
    monkeypatch.setattr(neighbours, "PLACE_ITEMS", 500)
    codes = np.zeros((10_000, 3), dtype=np.int32)
    codes[:5_000] = [1, 0, 0]
    codes[9_000:] = [2, 3, 0]
    place, _ = placed(codes, pa.array(np.arange(10_000)), [8, 8, 8])
    crowd = np.bincount(place[:5_000], minlength=20)
    assert np.count_nonzero(crowd) in (9, 10, 11)
    assert crowd.max() < 800
    assert not set(place[:5_000]) & set(place[5_000:9_000])


def test_long_vectors_have_more_places():
    assert [neighbours.places_for(200_000, d) for d in (8, 256, 257, 1024)] == [4, 4, 4, 13]
    assert neighbours.places_for(1, 10**9) == 1


@given(
    rows=st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=1, max_size=60),
    items=st.integers(1, 70),
)
def test_every_item_has_a_place_that_is_there(rows, items):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "PLACE_ITEMS", items)
        place, _ = placed(np.array(rows), pa.array(np.arange(len(rows))), [4, 4])
        number = neighbours.places_for(len(rows), 8)
    assert place.dtype == np.int32
    assert place.min() >= 0
    assert place.max() < number
