"""Sequences are split without a leak, and ranks are those of a plain sort."""

from __future__ import annotations

import math
from pathlib import Path

import interactions
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interactions import (
    GROUPS,
    NONE,
    Sequences,
    figures,
    figures_by_group,
    leave_one_out,
    places_in_lists,
    popularity_groups,
    ranks,
    read_sequences,
)

from dqindex.errors import FileFormatError, StorageError

LISTS = st.lists(st.lists(st.integers(0, 8), max_size=7), min_size=1, max_size=6)


def written(folder: Path, text: str) -> Path:
    path = folder / "sequences.txt"
    path.write_text(text)
    return path


def test_a_file_of_sequences_is_read(tmp_path):
    path = written(tmp_path, "1 3 1 2\n7 5\n9\n")
    found = read_sequences(path)
    assert [found[user].tolist() for user in range(len(found))] == [[2, 0, 1], [4], []]
    assert found.n_items == 5
    assert found.counts().tolist() == [1, 1, 1, 0, 1]
    assert found.users().tolist() == [0, 0, 0, 1]
    assert read_sequences(path, n_items=9).n_items == 9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 2\n2 x\n", "line 2: not 'user item"),
        ("1 2\n\n", "line 2: not 'user item"),
        ("1 0\n", "and there is 0"),
        ("1 2 5\n", "from 1 to 4, and there is 5"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text, said):
    with pytest.raises(FileFormatError, match=said):
        read_sequences(written(tmp_path, text), n_items=4)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"none\.txt"):
        read_sequences(tmp_path / "none.txt")


@given(LISTS)
def test_the_last_two_items_are_left_out(lists):
    split = leave_one_out(Sequences.of(lists, 9))
    for user, items in enumerate(lists):
        whole = len(items) < 3
        assert split.training[user].tolist() == (items if whole else items[:-2])
        assert split.before_test[user].tolist() == (items if whole else items[:-1])
        assert split.validation[user] == (NONE if whole else items[-2])
        assert split.test[user] == (NONE if whole else items[-1])


def test_groups_hold_a_third_of_the_interactions_each():
    counts = np.array([1, 6, 0, 2, 3, 1, 2, 3])  # in order: 6 | 3 3 | 2 2 1 1 | 0
    names = [GROUPS[group] for group in popularity_groups(counts)]
    assert names == ["tail", "head", "unseen", "tail", "middle", "tail", "tail", "middle"]


@settings(max_examples=50, deadline=None)
@given(lists=LISTS, seed=st.integers(0, 99), block=st.sampled_from([1, 20, 10_000]))
def test_ranks_are_those_of_a_plain_sort(lists, seed, block):
    rng = np.random.default_rng(seed)
    split = leave_one_out(Sequences.of(lists, 9))
    # Small integers, so that there are ties.
    users = rng.integers(-2, 3, size=(len(lists), 2)).astype(np.float32)
    items = rng.integers(-2, 3, size=(9, 2)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interactions, "BLOCK_SCORES", block)
        found = ranks(users, items, split.test, split.before_test)
    expected = []
    for user, target in enumerate(split.test.tolist()):
        if target == NONE:
            continue
        had = set(split.before_test[user].tolist()) - {target}
        scores = users[user] @ items.T
        order = sorted(set(range(9)) - had, key=lambda item: (-scores[item], item == target))
        expected.append(order.index(target))
    assert found.tolist() == expected


def test_a_score_that_is_no_number_is_the_worst():
    users = np.array([[np.nan], [1]], dtype=np.float32)
    items = np.array([[1], [2], [np.nan]], dtype=np.float32)
    before = Sequences.of([[], []], 3)
    assert ranks(users, items, np.array([1, 1]), before).tolist() == [2, 1]


def test_recall_and_ndcg():
    places = np.array([0, 3, 10, 20, NONE])
    found = figures(places)
    gains = [1, 1 / math.log2(5), 1 / math.log2(12)]
    assert found["recall_10"] == pytest.approx(2 / 5)
    assert found["recall_20"] == pytest.approx(3 / 5)
    assert found["ndcg_10"] == pytest.approx(sum(gains[:2]) / 5)
    assert found["ndcg_20"] == pytest.approx(sum(gains) / 5)


def test_groups_of_users_make_up_the_whole():
    rng = np.random.default_rng(0)
    places, groups = rng.integers(0, 30, 200), rng.integers(0, 3, 200)
    parts = figures_by_group(places, groups)
    assert parts["unseen"] == {"users": 0, **dict.fromkeys(figures(places), 0.0)}
    for key, value in figures(places).items():
        assert sum(part["users"] * part[key] for part in parts.values()) / 200 == pytest.approx(
            value
        )


def test_places_in_lists():
    lists = np.array([[4, 2, 9], [1, NONE, NONE], [7, 8, 9]])
    assert places_in_lists(lists, np.array([9, 1, 3])).tolist() == [2, 0, NONE]
    assert places_in_lists(lists, np.array([8, NONE, 9])).tolist() == [NONE, NONE, 2]
