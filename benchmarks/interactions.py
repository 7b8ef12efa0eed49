"""Sequences of users: reading, the split, groups of items, and the figures of a full ranking.

The last item of a user is for the test, the last but one for validation, the rest is the training
part. All items compete in a ranking, none are sampled, but for those that the user had before: they
are left out, as is usual. For validation these are the training part, for the test the validation
item as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Int64
from dqindex.errors import FileFormatError, StorageError

CUTS = (10, 20)
# Groups of items, by how often they are in the training parts: see `popularity_groups`.
GROUPS = ("head", "middle", "tail", "unseen")
# Users with fewer items stay in the training part whole, and are not asked.
SHORTEST = 3
# Where there is no item: of a user who is not asked, and in the place of one that is not found.
NONE = -1
# Scores that are compared at a time.
BLOCK_SCORES = 8_000_000


@dataclass(frozen=True)
class Sequences:
    """Items of every user in time order, from 0.

    Attributes
    ----------
    items : (n,) int64
        User after user.
    starts : (users + 1,) int64
        Where each user's items start, and where the last one's end.
    n_items : int
        Of the catalogue; some may be in no sequence.
    """

    items: Int64
    starts: Int64
    n_items: int

    @classmethod
    def of(cls, lists: Iterable[Sequence[int]], n_items: int) -> Sequences:
        """Of one list of items a user."""
        each = [np.asarray(one, dtype=np.int64) for one in lists]
        starts = np.cumsum([0, *map(len, each)])
        return cls(np.concatenate([*each, np.empty(0, np.int64)]), starts, n_items)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, user: int) -> Int64:
        """The items of one user."""
        return self.items[self.starts[user] : self.starts[user + 1]]

    def lengths(self) -> Int64:
        """How many items each user has."""
        return np.diff(self.starts)

    def users(self) -> Int64:
        """The user of every interaction."""
        return np.repeat(np.arange(len(self)), self.lengths())

    def counts(self) -> Int64:
        """How often each item of the catalogue is there."""
        return np.bincount(self.items, minlength=self.n_items)

    def without_last(self, some: npt.NDArray[np.bool_]) -> Sequences:
        """The same without the last item of `some` users."""
        kept = np.ones(len(self.items), dtype=bool)
        kept[self.starts[1:][some] - 1] = False
        starts = np.concatenate([[0], np.cumsum(self.lengths() - some)])
        return Sequences(self.items[kept], starts, self.n_items)


@dataclass(frozen=True)
class Split:
    """Leave-one-out.

    Attributes
    ----------
    training : Sequences
        Without the last two items of those who are asked.
    before_test : Sequences
        Without the last one: what a user has before the test.
    validation, test : (users,) int64
        The last but one and the last item, NONE of users with fewer than three.
    """

    training: Sequences
    before_test: Sequences
    validation: Int64
    test: Int64


def read_sequences(path: Path | str, n_items: int | None = None) -> Sequences:
    """Read one user a line, ``user item item …``, ids from 1.

    Parameters
    ----------
    path : path
    n_items : int, optional
        Of the catalogue; else the largest id.

    Raises
    ------
    StorageError
        If the file cannot be read.
    FileFormatError
        If a line is not of that form, or names an item beyond the catalogue.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"cannot read {path}: {error}") from None
    lists = []
    for number, line in enumerate(lines, 1):
        try:
            _, *items = map(int, line.split())
        except ValueError:
            raise FileFormatError(
                f"{path}, line {number}: not 'user item item …', all of them integers"
            ) from None
        if items and (min(items) < 1 or max(items) > (n_items or max(items))):
            raise FileFormatError(
                f"{path}, line {number}: items go from 1 to {n_items or 'the largest'}, "
                f"and there is {min(items) if min(items) < 1 else max(items)}"
            )
        lists.append([item - 1 for item in items])
    largest = max((max(items) + 1 for items in lists if items), default=0)
    return Sequences.of(lists, largest if n_items is None else n_items)


def leave_one_out(sequences: Sequences) -> Split:
    """The last item of each user for the test, the last but one for validation."""
    asked = sequences.lengths() >= SHORTEST
    before = sequences.without_last(asked)
    return Split(
        training=before.without_last(asked),
        before_test=before,
        validation=_last(before, asked),
        test=_last(sequences, asked),
    )


def _last(sequences: Sequences, some: npt.NDArray[np.bool_]) -> Int64:
    found = np.full(len(sequences), NONE, dtype=np.int64)
    found[some] = sequences.items[sequences.starts[1:][some] - 1]
    return found


def popularity_groups(counts: Int64) -> Int64:
    """Where each item is in `GROUPS`, by how often it is in the training parts.

    Head: the most popular items that have a third of all interactions. Middle: those that follow,
    with the next third. Tail: the others that were seen. Of equally popular items the first counts
    as more popular.
    """
    order = np.argsort(-counts, kind="stable")
    earlier = np.cumsum(counts[order]) - counts[order]
    groups = np.empty(len(counts), dtype=np.int64)
    groups[order] = 3 * earlier // max(int(counts.sum()), 1)
    groups[counts == 0] = GROUPS.index("unseen")
    return groups


def ranks(users: Float32, items: Float32, targets: Int64, before: Sequences) -> Int64:
    """The place of each target among all items by inner product, from 0.

    Parameters
    ----------
    users : (m, d) float32
    items : (n, d) float32
    targets : (m,) int64
        NONE for users who are not asked.
    before : Sequences
        Of the same m users; what is in them is left out, unless it is the target.

    Returns
    -------
    (asked,) int64
        Of the users who are asked, in their order. An item with the target's score comes before it.
    """
    asked = np.flatnonzero(targets != NONE)
    places = np.empty(len(asked), dtype=np.int64)
    step = max(1, BLOCK_SCORES // len(items))
    for start in range(0, len(asked), step):
        some = asked[start : start + step]
        scores = users[some] @ items.T
        rows, wanted = np.arange(len(some)), targets[some]
        own = scores[rows, wanted]
        had = [before[user] for user in some]
        scores[np.repeat(rows, [len(one) for one in had]), np.concatenate(had)] = -np.inf
        scores[rows, wanted] = own
        # What is not smaller, so that a score that is no number is a bad one.
        places[start : start + step] = (~(scores < own[:, None])).sum(axis=1) - 1
    return places


def places_in_lists(lists: npt.NDArray[np.integer], targets: Int64) -> Int64:
    """The place of each target in a list of items, from 0; NONE where it is not there.

    Parameters
    ----------
    lists : (m, k) integers
        The best first; filled up with NONE.
    targets : (m,) int64
    """
    found = (lists == targets[:, None]) & (targets[:, None] != NONE)
    return np.where(found.any(axis=1), found.argmax(axis=1), NONE)


def figures(places: Int64) -> dict[str, float]:
    """Mean recall and NDCG at `CUTS` of users with one right item each, from its place.

    NDCG is 1 / log2(place + 2) where the item is found, since the best possible is 1.
    """
    found: dict[str, float] = {}
    for cut in CUTS:
        hit = (places >= 0) & (places < cut)
        gain = np.where(hit, 1 / np.log2(np.where(hit, places, 0) + 2), 0.0)
        found[f"recall_{cut}"] = float(hit.mean()) if len(hit) else 0.0
        found[f"ndcg_{cut}"] = float(gain.mean()) if len(hit) else 0.0
    return found


def figures_by_group(places: Int64, groups: Int64) -> dict[str, dict[str, float]]:
    """`figures` of the users whose right item is in each of `GROUPS`, and how many they are."""
    found = {}
    for number, name in enumerate(GROUPS):
        some = places[groups == number]
        found[name] = {"users": len(some), **figures(some)}
    return found
