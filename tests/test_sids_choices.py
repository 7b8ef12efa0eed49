"""What a user may choose of a map: tokens that stay, and who keeps a shared ID."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex import DQModel, open_vectors
from dqindex.cli import cli
from dqindex.errors import InputError
from dqindex.sids import shared
from dqindex.sids.semantic_ids import SemanticIds, semantic_ids


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Commands of ``sids`` within this process, in a folder of their own: what they print."""
    monkeypatch.chdir(tmp_path)

    def call(words: str) -> Any:
        return CliRunner().invoke(cli, ["sids", *words.split()], catch_exceptions=False)

    return call


def test_what_was_kept_is_told(tmp_path, commands):
    x = clustered(400, 6, clusters=5)
    x[:40] = x[0]
    np.save(tmp_path / "v.npy", x)
    np.save(tmp_path / "all.npy", np.concatenate([x, x[:20]]))
    np.save(tmp_path / "new.npy", x[:20])
    shape = "-L 2 -K 12 --coarse 6"
    told = json.loads(commands(f"extract v.npy -o s.parquet {shape} --keep 2 --json").stdout)
    assert told["keep"] == 2
    # 12 tuples begin with the two tokens of 40 copies.
    assert told["widened"] >= 28
    origin = pq.read_schema(tmp_path / "s.parquet").metadata[b"dqindex"]
    assert json.loads(origin)["keep"] == 2
    assert json.loads(origin)["widened"] == told["widened"]
    added = json.loads(commands("append s.parquet new.npy -o t.parquet --json").stdout)
    assert (added["keep"], added["added"]["keep"], added["added"]["widened"]) == (2, 2, 20)
    assert added["widened"] == told["widened"] + 20
    refitted = json.loads(commands("refit t.parquet all.npy -o u.parquet --json").stdout)["map"]
    assert refitted["keep"] == 2
    assert refitted["items"] == 420
    said = commands(f"extract v.npy -o s.parquet {shape} --keep 2").stderr
    assert f"{told['widened']} items got an ID with fewer of their first 2 tokens" in said
    said = commands("append s.parquet new.npy -o t.parquet").stderr
    assert "20 items got an ID with fewer of their first 2 tokens" in said
    plain = commands(f"extract v.npy -o s.parquet {shape} --keep 0")
    assert "taken" not in plain.stderr


# Who keeps a shared ID.


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    unique=st.sampled_from(["reassign", "cap", "suffix"]),
    kind=st.sampled_from(["int64", "float32", "bool"]),
)
def test_the_larger_priority_comes_first(seed, unique, kind):
    rng = np.random.default_rng(seed)
    x = clustered(300, 6, seed=seed, clusters=4)
    x[:40] = x[0]
    sales = rng.integers(4, size=300).astype(kind)
    model = DQModel(3, 8, n_iter=3).fit(x)
    cap = 2 if unique == "cap" else 1
    sids = semantic_ids(x, model=model, unique=unique, cap=cap, priority=sales)
    own = np.ravel_multi_index(sids.base_codes.T, (8, 8, 8))
    for number in np.unique(own):
        group = np.flatnonzero(own == number)
        if unique == "suffix":
            places = sids.codes[group, -1]
            ranked = group[np.argsort(places)]
            assert sorted(places) == list(range(len(group)))
        else:
            stays = (sids.codes[group] == sids.base_codes[group]).all(axis=1)
            assert stays.sum() == min(cap, len(group))
            ranked = np.concatenate([group[stays], group[~stays]])
            kept, moved = sales[group[stays]], sales[group[~stays]]
            assert not len(moved) or kept.min() >= moved.max()
        if unique == "suffix":
            assert (np.diff(sales[ranked].astype(float)) <= 0).all()
    # Those of equal priority are ordered as without it, and the order of rows does not matter.
    ids = np.arange(300)
    order = rng.permutation(300)
    again = semantic_ids(
        x[order], ids[order], model=model, unique=unique, cap=cap, priority=sales[order]
    )
    np.testing.assert_array_equal(again.codes, sids.codes[order])
    plain = semantic_ids(x, model=model, unique=unique, cap=cap)
    level = semantic_ids(x, model=model, unique=unique, cap=cap, priority=np.full(300, 7))
    np.testing.assert_array_equal(plain.codes, level.codes)


def test_priority_over_a_map_s_life(tmp_path, commands):
    """A column of the items, in the file of the map, in the reverse map, for new items alone."""
    x = clustered(300, 6)
    x[:6] = x[0]
    sales = np.arange(300) % 7

    def write(name, rows, **columns):
        table = {"item_id": rows, "v": list(x[rows]), "sales": sales[rows], **columns}
        pq.write_table(pa.table(table), tmp_path / name)

    rows = np.arange(200)
    write("v.parquet", rows)
    done = commands("extract v.parquet -o s.parquet -L 3 -K 8 --priority sales")
    assert done.exit_code == 0, done.output
    sids = SemanticIds.load(tmp_path / "s.parquet")
    np.testing.assert_array_equal(sids.priority, sales[:200])
    assert sids == semantic_ids(
        x[:200], rows, n_subspaces=3, n_codewords=8, priority=sales[:200].tolist()
    )
    stays = (sids.codes == sids.base_codes).all(axis=1)
    assert np.flatnonzero(stays[:6]).tolist() == [5]
    # New items: the largest of them is first, and no published one moves.
    x[200:206] = x[250]
    write("new.parquet", np.arange(200, 300))
    assert commands("append s.parquet new.parquet -o t.parquet --priority sales").exit_code == 0
    whole = SemanticIds.load(tmp_path / "t.parquet")
    np.testing.assert_array_equal(whole.codes[:200], sids.codes)
    np.testing.assert_array_equal(whole.priority, sales)
    expected, _ = sids.attach(DQModel.load(next(tmp_path.glob("s.*.safetensors")))).append(
        open_vectors(tmp_path / "new.parquet"), priority="sales"
    )
    assert whole == expected
    # Without one they have none, and come last among their equals.
    unsaid, delta = sids.append(open_vectors(tmp_path / "new.parquet"))
    assert np.isnan(delta.priority).all()
    np.testing.assert_array_equal(np.asarray(unsaid.priority)[:200], sales[:200])
    unsaid.save(tmp_path / "u.parquet")
    assert SemanticIds.load(tmp_path / "u.parquet") == unsaid
    silent, _ = SemanticIds(**{**vars(sids), "priority": None}).append(
        open_vectors(tmp_path / "new.parquet"), priority="sales"
    )
    assert np.isnan(np.asarray(silent.priority)[:200]).all()
    np.testing.assert_array_equal(silent.codes, whole.codes)
    # refit asks for what the map went by.
    done = CliRunner().invoke(cli, ["sids", "refit", "t.parquet", "v.parquet", "-o", "w.parquet"])
    assert isinstance(done.exception, InputError)
    assert "the map was made with a priority" in str(done.exception)
    assert commands("refit t.parquet v.parquet -o w.parquet --priority sales").exit_code == 0
    np.testing.assert_array_equal(SemanticIds.load(tmp_path / "w.parquet").priority, sales[:200])


def test_the_reverse_map_begins_with_the_largest(tmp_path):
    x = clustered(60, 6)
    x[:50] = x[0]
    sales = np.random.default_rng(0).integers(5, size=60)
    sids = semantic_ids(x, n_subspaces=2, n_codewords=4, unique="none", priority=sales)
    sids.export(tmp_path / "r.jsonl", "reverse")
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert max(len(line["items"]) for line in lines) >= 50
    for line in lines:
        order = [(-sales[item], item) for item in line["items"]]
        assert order == sorted(order)


def test_a_column_over_several_files(tmp_path):
    """Files whose numbers have other types, rows that are left out, booleans and decimals."""
    x = clustered(40, 4)
    x[3, 0] = np.nan
    kinds = [pa.int8(), pa.float64(), pa.bool_(), pa.decimal128(5, 2)]
    for part, kind in enumerate(kinds):
        rows = slice(part * 10, part * 10 + 10)
        values = (
            pa.array([row % 2 for row in range(10)])
            .cast(kind if part < 3 else pa.float64())
            .cast(kind)
        )
        table = pa.table({"v": list(x[rows]), "clicks": values})
        pq.write_table(table, tmp_path / f"{part}.parquet")
    source = open_vectors(tmp_path, skip_invalid=True)
    expected = np.delete(np.tile([0.0, 1.0], 20), 3)
    np.testing.assert_array_equal(source.numbers("clicks"), expected)


@pytest.mark.parametrize(
    ("priority", "message"),
    [
        ("sales", "column 'sales': 1 values are missing or not finite, first row 4"),
        ("name", "column 'name': holds string; it must be numbers"),
        ("none", "no column 'none'"),
        ([1.0] * 39, "priority: 39 values for 40 items; give one an item"),
        ([1.0] * 39 + [None], "first row 39"),
        ([1.0] * 39 + [float("inf")], "first row 39"),
        (["x"] * 40, "holds string; it must be numbers"),
        (np.ones((40, 1)), "not a column of numbers"),
        (7, "not a column of numbers"),
    ],
)
def test_what_is_no_priority(priority, message):
    sales = [None if row == 4 else row for row in range(40)]
    names = [str(row) for row in range(40)]
    table = {"item_id": range(40), "v": list(clustered(40, 4)), "sales": sales, "name": names}
    with pytest.raises(InputError, match=message):
        semantic_ids(pa.table(table), n_subspaces=2, n_codewords=16, priority=priority)


def test_a_column_that_is_no_other_column():
    with pytest.raises(InputError, match="has no columns, so none is called 'sales'"):
        semantic_ids(clustered(40, 4), n_subspaces=2, n_codewords=16, priority="sales")
    wide = pa.table({name: np.arange(40.0) for name in ("a", "b", "sales")})
    with pytest.raises(InputError, match="'sales' is read as a dimension"):
        semantic_ids(wide, n_subspaces=2, n_codewords=16, priority="sales")


# Items that share a vector.


@settings(max_examples=30, deadline=None)
@given(
    groups=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    unique=st.sampled_from(["reassign", "none", "suffix", "cap"]),
    in_memory=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_items_that_share_a_vector_are_counted(groups, unique, in_memory, seed):
    """Against a dictionary of their bytes; near ones and those with -0 for 0 do not deceive."""
    rng = np.random.default_rng(seed)
    x = np.repeat(clustered(len(groups), 6, seed=seed), groups, axis=0)
    x[:, 2] = rng.choice([0.0, -0.0], size=len(x)).astype(np.float32)
    near = x[:3] * np.float32(1 + 1e-6)
    x = np.concatenate([x, near])[rng.permutation(len(x) + len(near))]
    ids = np.array([f"i{row:03d}" for row in range(len(x))])
    model = DQModel(3, 8, n_iter=2).fit(clustered(200, 6))
    with pytest.MonkeyPatch.context() as patch:
        if not in_memory:
            patch.setattr(shared, "IN_MEMORY_BYTES", 0)
        sids = semantic_ids(x, ids, model=model, unique=unique, cap=2 if unique == "cap" else 1)
    there: dict[bytes, list[str]] = {}
    for one, vector in zip(ids, x + 0.0, strict=True):
        there.setdefault(vector.tobytes(), []).append(str(one))
    several = sorted((one for one in there.values() if len(one) > 1), key=lambda one: -len(one))
    found = sids.duplicates
    assert found.groups == len(several)
    assert found.share == pytest.approx(sum(map(len, several)) / len(x))
    assert [size for size, _ in found.largest] == [len(one) for one in several[:5]]
    for size, names in found.largest:
        assert names in [one[:3] for one in several if len(one) == size]


def test_shared_vectors_are_told_of(tmp_path, commands):
    x = clustered(300, 6)
    x[10:20] = x[10]
    x[100:102] = x[100]
    np.save(tmp_path / "v.npy", x)
    told = json.loads(commands("extract v.npy -o s.parquet -L 3 -K 8 --json").stdout)
    assert told["duplicates"] == {
        "share": 12 / 300,
        "groups": 2,
        "largest": [{"items": 10, "ids": [10, 11, 12]}, {"items": 2, "ids": [100, 101]}],
    }
    said = commands("extract v.npy -o s.parquet -L 3 -K 8").stderr
    assert "4.00% of the items have the same vector as another (2 vectors)" in said
    assert "the largest group has 10: 10, 11, 12, ..." in said
    np.save(tmp_path / "v.npy", x[200:])
    assert "share" not in commands("extract v.npy -o s.parquet -L 3 -K 8").stderr
