"""`skip_invalid`: rows that can't be used are left out, counted and named, and no others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dqindex import DQModel, open_index, open_vectors, read_sids
from dqindex.errors import InputError

N, D = 50, 4
X = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)
# Row: what stands there.
BAD = {
    0: None,
    7: [1.0, 2.0],
    8: [1.0, 2.0, 3.0, 4.0, 5.0],
    9: [1.0, None, 3.0, 4.0],
    20: [np.nan] * D,
    33: [np.inf, 0.0, 0.0, 0.0],
    49: [1e39, 0.0, 0.0, 0.0],
}
GOOD = [row for row in range(N) if row not in BAD]


def table(kind: pa.DataType, rows: Mapping[int, object] = BAD) -> pa.Table:
    width = getattr(kind, "list_size", None)
    lists = [rows.get(row, X[row].tolist()) for row in range(N)]
    if width is not None:
        lists = [one if one is None or len(one) == width else None for one in lists]
    ids = pa.array([f"i{row}" for row in range(N)])
    return pa.table({"item_id": ids, "v": pa.array(lists, kind)})


@pytest.fixture(params=["list", "large list", "fixed", "list view"])
def kind(request: pytest.FixtureRequest) -> pa.DataType:
    return {
        "list": pa.list_(pa.float64()),
        "large list": pa.large_list(pa.float64()),
        "fixed": pa.list_(pa.float64(), D),
        "list view": pa.list_view(pa.float64()),
    }[request.param]


def holds_the_good_rows(source) -> None:
    assert (source.n, source.d) == (len(GOOD), D)
    assert source.skipped.tolist() == list(BAD)
    assert source.skipped_ids.to_pylist() == [f"i{row}" for row in BAD]
    assert source.ids.to_pylist() == [f"i{row}" for row in GOOD]
    np.testing.assert_array_equal(source.read(), X[GOOD])
    for rows in (1, 7, 8, N):
        blocks = list(source.blocks(rows))
        assert all(0 < len(block) <= rows for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), X[GOOD])
    for start, stop in [(0, 1), (0, len(GOOD)), (5, 8), (len(GOOD) - 1, len(GOOD))]:
        np.testing.assert_array_equal(source._window(start, stop), X[GOOD][start:stop])
    some = [42, 0, 5, 6, 6, 18]
    np.testing.assert_array_equal(source.rows(some), X[GOOD][some])
    assert source.check().norm == pytest.approx(np.linalg.norm(X[GOOD], axis=1).max())


def test_rows_of_a_table(kind):
    holds_the_good_rows(open_vectors(table(kind), skip_invalid=True))
    with pytest.raises(InputError, match="row 0 is null"):
        open_vectors(table(kind)).read()


def test_rows_of_files_and_streams(tmp_path):
    whole = table(pa.list_(pa.float64()))
    pq.write_table(whole.slice(0, 20), tmp_path / "0.parquet", row_group_size=6)
    pq.write_table(whole.slice(20), tmp_path / "1.parquet")
    holds_the_good_rows(open_vectors(tmp_path, skip_invalid=True))
    # A block that begins with a row of another width.
    reader = pa.RecordBatchReader.from_batches(
        whole.schema, [*whole.slice(0, 7).to_batches(), *whole.slice(7).to_batches()]
    )
    holds_the_good_rows(open_vectors(reader, skip_invalid=True))


def test_rows_of_an_array_and_of_a_wide_table():
    x = X.astype(np.float64)
    for row in BAD:
        x[row, row % D] = np.nan
    ids = pa.array([f"i{row}" for row in range(N)])
    holds_the_good_rows(open_vectors(x, ids=ids, skip_invalid=True))
    columns = {f"x{place}": pa.array(x[:, place], from_pandas=True) for place in range(D)}
    wide = pa.table({"item_id": ids, **columns})
    assert wide["x0"].null_count
    holds_the_good_rows(open_vectors(wide, skip_invalid=True))


def test_whole_numbers_stay_exact():
    lists = [[2**24 + 1, 1], None, [-3, 2**28]]
    source = open_vectors(pa.array(lists, pa.list_(pa.int64())), skip_invalid=True)
    np.testing.assert_array_equal(source.read(), np.float32([[2**24 + 1, 1], [-3, 2**28]]))
    assert source.skipped_ids.to_pylist() == [1]
    assert source.ids is None


def test_the_id_of_a_skipped_row_may_be_missing():
    ids = ["a", None, "c"]
    rows = pa.table({"id": ids, "v": [[1.0], None, [2.0]]})
    assert open_vectors(rows, skip_invalid=True).ids.to_pylist() == ["a", "c"]
    rows = pa.table({"id": ids, "v": [[1.0], [3.0], None]})
    with pytest.raises(InputError, match="1 ids are missing, first row 1"):
        _ = open_vectors(rows, skip_invalid=True).ids
    with pytest.raises(InputError, match="2 ids for 3 vectors"):
        _ = open_vectors(X[:3], ids=["a", "b"], skip_invalid=True).ids


def test_nothing_and_everything():
    source = open_vectors(X, skip_invalid=True)
    assert (source.n, len(source.skipped)) == (N, 0)
    np.testing.assert_array_equal(source.read(), X)
    with pytest.raises(InputError, match="none of its 2 rows can be used"):
        open_vectors(np.full((2, 2), np.nan), skip_invalid=True)
    with pytest.raises(InputError, match="skip_invalid is 'yes'; it must be True or False"):
        open_vectors(X, skip_invalid="yes")


def test_commands_leave_rows_out_and_say_which(run, tmp_path):
    pq.write_table(table(pa.list_(pa.float64())), tmp_path / "v.parquet")
    good = open_vectors(X[GOOD], ids=[f"i{row}" for row in GOOD])
    DQModel(2, 4).fit(good).save(tmp_path / "m.safetensors")
    model = DQModel.load(tmp_path / "m.safetensors")
    commands = {
        "index": ("build", "v.parquet", "-o", "index", "--spec", "Flat"),
        "m2.safetensors": ("fit", "v.parquet", "-o", "m2.safetensors", "-L", 2, "-K", 4),
        "c.parquet": ("encode", "m.safetensors", "v.parquet", "-o", "c.parquet"),
        "s.parquet": ("sids", "extract", "v.parquet", "-o", "s.parquet", "-L", 2, "-K", 8),
    }
    for output, command in commands.items():
        done = run(*command, "--skip-invalid")
        assert done.returncode == 0, done.stderr
        assert "7 of 50 rows can't be used and are left out" in done.stderr
        skipped = pq.read_table(tmp_path / f"{output}.skipped.parquet")
        assert skipped["item_id"].to_pylist() == [f"i{row}" for row in BAD]
    refused = run(*commands["c.parquet"])
    assert refused.returncode == 1
    assert "row 0 is null" in refused.stderr
    names = [f"i{row}" for row in GOOD]
    assert open_index(tmp_path / "index").ids.to_pylist() == names
    assert DQModel.load(tmp_path / "m2.safetensors").fingerprint == model.fingerprint
    codes = pq.read_table(tmp_path / "c.parquet")
    assert codes["item_id"].to_pylist() == names
    np.testing.assert_array_equal(codes["codes"].to_pylist(), model.encode(X[GOOD]))
    assert read_sids(tmp_path / "s.parquet").ids.to_pylist() == names


def test_the_file_of_skipped_ids_replaces_no_input(run, tmp_path):
    """It is an output as well, whose name is easily one that was given before."""
    DQModel(2, 4).fit(X[GOOD]).save(tmp_path / "m.safetensors")
    commands = [
        ("build", "out.skipped.parquet", "-o", "out", "--spec", "Flat"),
        ("fit", "out.skipped.parquet", "-o", "out", "-L", 2, "-K", 4),
        ("encode", "m.safetensors", "out.skipped.parquet", "-o", "out"),
        ("sids", "extract", "out.skipped.parquet", "-o", "out", "-L", 2, "-K", 8),
    ]
    given = tmp_path / "out.skipped.parquet"
    pq.write_table(table(pa.list_(pa.float64())), given)
    before = given.read_bytes()
    for command in commands:
        done = run(*command, "--skip-invalid")
        assert done.returncode == 1
        assert "out.skipped.parquet: is the input" in done.stderr
        assert given.read_bytes() == before
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("odd", [None, [], [1.0], [1.0, 2.0, 3.0]])
def test_an_odd_first_row_is_the_one_that_is_left_out(odd):
    source = open_vectors(pa.array([odd, [1.0, 2.0], [3.0, 4.0]]), skip_invalid=True)
    assert source.read().tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert source.skipped.tolist() == [0]


@pytest.mark.parametrize("row", [None, []])
def test_rows_that_all_hold_nothing_cannot_be_used(row):
    rows = pa.array([row] * 3, pa.list_(pa.float32()))
    with pytest.raises(InputError, match="none of its rows can be used"):
        open_vectors(rows, skip_invalid=True)
