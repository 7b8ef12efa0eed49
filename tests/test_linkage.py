"""Linkage against all pairs there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex import errors
from dqindex.sids import linkage as module
from dqindex.sids.linkage import linkage
from dqindex.sids.map import SidMap


def hand_made(codes, size):
    codes = np.asarray(codes, dtype=np.uint8)
    return SidMap(codes, codes, np.zeros(len(codes), dtype=np.float32), [size] * codes.shape[1])


def edges(sids, k):
    return [np.concatenate(part) for part in zip(*linkage(sids, k), strict=True)]


def brute_force(sids, k):
    """The definition: all weights, the largest first, equals by row."""
    n = len(sids)
    weights = np.zeros((n, n))
    for level in range(sids.codes.shape[1]):
        column = sids.codes[:, level]
        own = np.log(n / np.bincount(column)[column])
        weights += (column[:, None] == column) * own[:, None]
    weights = weights.astype(np.float32)
    np.fill_diagonal(weights, 0)
    found = []
    for row in range(n):
        order = np.lexsort((np.arange(n), -weights[row]))[:k]
        found += [(row, one, weights[row, one]) for one in order if weights[row, one] > 0]
    return found


def assert_same(sids, k):
    source, target, weight = edges(sids, k)
    expected = brute_force(sids, k)
    assert list(zip(source.tolist(), target.tolist(), strict=True)) == [
        (row, one) for row, one, _ in expected
    ]
    np.testing.assert_array_equal(weight, np.array([one for *_, one in expected], np.float32))


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    levels=st.integers(1, 6),
    size=st.integers(1, 9),
    k=st.integers(1, 70),
    seed=st.integers(0, 9),
)
def test_it_is_that_of_all_pairs(n, levels, size, k, seed):
    rng = np.random.default_rng(seed)
    # Few prototypes and a skewed rest, so that items share one token, some, and all.
    shape = (n, levels)
    prototypes = rng.integers(size, size=(4, levels))[rng.integers(4, size=n)]
    rare = np.minimum(rng.geometric(0.4, size=shape) - 1, size - 1)
    assert_same(hand_made(np.where(rng.random(shape) < 0.5, prototypes, rare), size), k)


@pytest.mark.parametrize("levels", [4, 5])
def test_many_levels_are_joined_by_pairs(monkeypatch, levels):
    codes = np.random.default_rng(1).integers(5, size=(80, levels))
    monkeypatch.setattr(module, "MANY_LEVELS", 4)
    assert_same(hand_made(codes, 5), 6)


def test_blocks_change_nothing(monkeypatch):
    codes = np.random.default_rng(2).integers(7, size=(300, 5))
    sids = hand_made(codes, 7)
    whole = edges(sids, 4)
    monkeypatch.setattr(module, "BLOCK_ITEMS", 64)
    assert len(list(linkage(sids, 4))) == 5
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 100)
    blocks = list(linkage(sids, 4))
    assert len(blocks) > 20
    for part, one in zip(zip(*blocks, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(part), one)


def test_a_thousand_items_of_one_id_stay_apart_from_the_rest():
    codes = np.zeros((1010, 4), dtype=np.uint8)
    codes[1000:] = np.arange(10)[:, None] // 5 + 1
    source, target, weight = edges(hand_made(codes, 4), 3)
    assert len(source) == 3 * 1010
    np.testing.assert_array_equal(target[:9], [1, 2, 3, 0, 2, 3, 0, 1, 3])
    np.testing.assert_array_equal(target[-3:], [1005, 1006, 1007])
    assert (weight[3000:] > weight[:3000].max()).all()


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", None, float("nan"), [1]])
def test_k_is_refused(k):
    with pytest.raises(errors.InputError, match="k is"):
        next(linkage(hand_made([[0], [0]], 1), k))
