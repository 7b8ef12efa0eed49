"""Items by their tokens, and tokens by items: against a search through every row."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex.errors import InputError
from dqindex.sids.lookup import find, rows_of
from dqindex.sids.map import SidMap


def map_of(codes, sizes, ids=None) -> SidMap:
    codes = np.asarray(codes)
    return SidMap(codes, codes, np.full(len(codes), np.nan, np.float32), list(sizes), ids)


def by_hand(sids, tuples) -> list[list[str]]:
    """Every row against every tuple."""
    names = sids.item_ids.to_pylist()
    return [
        [name for name, row in zip(names, sids.codes.tolist(), strict=True) if row == list(one)]
        for one in np.asarray(tuples).tolist()
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_found_is_what_a_search_of_every_row_finds(data):
    levels = data.draw(st.integers(1, 5))
    # Sizes of which one word does not hold all, and none that is a power of two throughout.
    sizes = [
        data.draw(st.sampled_from([1, 2, 3, 5, 256, 300, 2**20, 2**31])) for _ in range(levels)
    ]
    few = [min(size, 3) for size in sizes]
    rows = data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    codes = rng.integers(few, size=(rows, levels))
    sids = map_of(codes, sizes, pa.array([f"x{row}" for row in range(rows)]))
    # Among them codes that no level has.
    tuples = rng.integers(-1, 5, size=(30, levels))
    found = find(sids, tuples)
    expected = by_hand(sids, tuples)
    assert found.items.to_pylist() == expected
    assert found.counts.tolist() == [len(one) for one in expected]
    first = [int(one[0][1:]) if one else -1 for one in expected]
    assert found.rows.tolist() == first
    every = find(sids, codes)
    np.testing.assert_array_equal(every.counts > 0, True)
    assert every.items.to_pylist() == by_hand(sids, codes)


def test_codes_beyond_a_level_are_no_codes_of_the_next():
    # With two bits a level, 4 in the first would read as 0, and 1 in the second.
    sids = map_of([[0, 1], [3, 3]], [4, 4])
    assert find(sids, [[4, 0], [0, 1], [-1, 1], [2**62, 3]]).rows.tolist() == [-1, 0, -1, -1]
    assert find(sids, np.array([[2**64 - 1, 1], [3, 3]], np.uint64)).rows.tolist() == [-1, 1]


def test_an_empty_question_has_an_empty_answer():
    sids = map_of([[0, 1]], [2, 2])
    for found in (find(sids, []), find(sids, np.empty((0, 2), np.uint8))):
        assert (len(found), found.items.to_pylist()) == (0, [])
    assert rows_of(sids, []).shape == (0,)


@pytest.mark.parametrize(
    "tuples",
    [[0, 1], [[0]], [[0, 1, 2]], [[0.0, 1.0]], [["a", "b"]], [[0, 1], [0]], [[True, False]]],
)
def test_what_is_no_matrix_of_tuples_is_refused(tuples):
    with pytest.raises(InputError, match="give rows of 2 integers"):
        find(map_of([[0, 1]], [2, 2]), tuples)


def test_codes_of_any_size_may_be_looked_for():
    sids = map_of([[0, 1], [3, 3]], [4, 4])
    for code in (2**31, 2**63, 2**64 - 1, 2**70, -1, -(2**70)):
        found = find(sids, [[code, 1], [3, 3], [-1, 0]])
        assert found.rows.tolist() == [-1, 1, -1], code


@pytest.mark.parametrize(
    ("tuples", "message"),
    [
        ([[0, 1], [0]], "their rows are not of one length"),
        ([["0", "1"]], "hold '0'"),
        ([[0, 1.5]], "hold 1.5"),
        ([[None, 1]], "hold None"),
        (np.array([[0.0, 1.0]]), "hold 0.0"),
        ({"a": 1}, "are of shape ()"),
        ([0, 1], "are of shape (2,)"),
    ],
)
def test_what_is_wrong_with_tuples_is_said(tuples, message):
    with pytest.raises(InputError, match=re.escape(f"tuples: {message}; give rows of 2 integers")):
        find(map_of([[0, 1]], [2, 2]), tuples)


def test_codes_that_are_replaced_are_seen():
    sids = map_of([[0, 1], [1, 1]], [2, 2])
    assert find(sids, [[1, 1]]).rows.tolist() == [1]
    assert sids.by_tuple is not None
    before = sids.by_tuple
    find(sids, [[0, 0]])
    assert sids.by_tuple is before
    sids.codes = np.array([[1, 1], [0, 0]])
    assert find(sids, [[1, 1], [0, 1]]).rows.tolist() == [0, -1]
    sids.codes, sids.sizes = np.array([[3, 1]]), [4, 2]
    assert find(sids, [[3, 1]]).rows.tolist() == [0]


def test_rows_of_items():
    text = map_of([[0]] * 3, [1], pa.array(["b", "a", "c"]))
    assert rows_of(text, ["c", "x", "b", "c"]).tolist() == [2, -1, 0, 2]
    narrow = map_of([[0]] * 3, [1], pa.array([7, -3, 5], pa.int8()))
    assert rows_of(narrow, [5, 300, -3]).tolist() == [2, -1, 1]
    assert rows_of(map_of([[0]] * 3, [1]), np.array([2, 3])).tolist() == [2, -1]
    with pytest.raises(InputError, match="are string, and the ids of this map are integers"):
        rows_of(narrow, ["5"])
    assert rows_of(text, pa.array(["c"], pa.large_string())).tolist() == [2]


@pytest.mark.parametrize("kind", ["int8", "int64", "uint64", None])
def test_any_integer_may_be_looked_for(kind):
    ids = None if kind is None else pa.array([2, 0, 1], kind)
    sids = map_of([[0]] * 3, [1], ids)
    row = 0 if kind else 2
    for asked in ([2, -1], [2, 300], [2, 2**63], [2, 2**64 - 1], [2, 2**70], [2, -(2**70)]):
        assert rows_of(sids, asked).tolist() == [row, -1], asked
    large = map_of([[0]] * 2, [1], pa.array([2**64 - 1, 0], "uint64"))
    assert rows_of(large, [-1, 0, 2**64 - 1, 2**63]).tolist() == [-1, 1, 0, -1]


@pytest.mark.parametrize("ids", ["abc", b"a", 3, ["a", 3], [None], ["a", None], [1.5], {"a": 1}])
def test_what_are_no_ids_is_refused(ids):
    sids = map_of([[0]] * 3, [1], pa.array(["a", "b", "c"]))
    with pytest.raises(InputError, match=r"^ids: ") as caught:
        rows_of(sids, ids)
    assert not any(word in str(caught.value) for word in ("Arrow", "dtype", "convert", "object"))


def lines(done) -> list[str]:
    return [*map(str, done.stdout.splitlines())]


def test_command_line(run, tmp_path):
    (tmp_path / "m.csv").write_text("asin,a,b\nx,0,1\ny,12,0\nz,0,1\nä,1,1\n")
    done = run("sids", "lookup", "m.csv", 0, 1)
    assert (done.returncode, lines(done), done.stderr) == (0, ["0 1\tx", "0 1\tz"], "")
    items = ["--item", "y", "--item", "q", "--item", ""]
    done = run("sids", "lookup", "m.csv", "12,0", "1,1", "5,5", *items)
    assert done.returncode == 1
    assert lines(done) == ["12 0\ty", "1 1\tä", "12 0\ty"]
    assert done.stderr == "5 5: no such item\nitem q: no such item\nitem '': no such item\n"
    done = run(
        "sids", "lookup", "m.csv", "12,0", "5,5", "--item", "ä", "--item", "q", "--json", "-q"
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert [json.loads(line) for line in lines(done)] == [
        {"codes": [12, 0], "items": ["y"]},
        {"codes": [5, 5], "items": []},
        {"item": "ä", "codes": [1, 1]},
        {"item": "q", "codes": None},
    ]
    # Usage is another thing than "not there".
    for words in ([], ["x"], ["1"], ["1,2,3"], ["1,"], ["1.5,2"], ["1" * 30, "1"]):
        done = run("sids", "lookup", "m.csv", *words)
        assert (done.returncode, done.stdout) == (2, ""), words


def test_command_line_with_integer_ids(run, tmp_path):
    ids = pa.array([0, 2**64 - 1], pa.uint64())
    pq.write_table(pa.table({"id": ids, "sid": [[0, 1], [2, 3]]}), tmp_path / "m.parquet")
    columns = ["--id-column", "id", "--codes-column", "sid"]
    items = [2**64 - 1, "x", -1, 10**30, "00"]
    asked = [word for item in items for word in ("--item", str(item))]
    done = run("sids", "lookup", "m.parquet", *columns, *asked, "--json")
    assert done.returncode == 1
    found = [json.loads(line) for line in lines(done)]
    assert [one["codes"] for one in found] == [[2, 3], None, None, None, None]
    assert found[0]["item"] == 2**64 - 1
    assert [one["item"] for one in found[1:]] == [str(item) for item in items[1:]]
