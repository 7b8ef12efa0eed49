"""How rows are cut: by their number and width alone, each once, in the sizes that are fast."""

from __future__ import annotations

import numpy as np
import pytest

from dqindex.parallel.pieces import FAST_VALUES, LEAST_ROWS, MOST_ROWS, cut, equal_slices, pieces


def lengths(slices: object) -> list[int]:
    return [part.stop - part.start for part in slices]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("n", "count", "expected"),
    [(0, 3, []), (1, 1, [1]), (7, 3, [2, 2, 3]), (8, 4, [2, 2, 2, 2]), (2, 4, [0, 1, 0, 1])],
)
def test_equal_slices(n, count, expected):
    assert lengths(equal_slices(n, count)) == expected


@pytest.mark.parametrize("width", [1, 2, 8, 64, 384, 4096])
def test_pieces_take_the_fast_path_and_no_more_memory(width):
    least = min(max(FAST_VALUES // width, LEAST_ROWS), MOST_ROWS)
    for n in (1, least - 1, least, least + 1, 2 * least, 2 * least + 1, 10 * least + 3):
        found = lengths(pieces(n, width))
        assert sum(found) == n
        assert max(found) - min(found) <= 1
        # One thread more may take a half where there is more than a piece; else pieces are whole.
        assert len(found) == (1 if n <= least else max(2, n // least))


def test_blocks_are_cut_one_after_another():
    blocks = [np.arange(70000 * 2, dtype=np.float32).reshape(-1, 2), np.ones((3, 2), np.float32)]
    parts = list(cut(iter(blocks), 2))
    assert len(parts) == len(lengths(pieces(70000, 2))) + 1
    np.testing.assert_array_equal(np.concatenate(parts), np.concatenate(blocks))
