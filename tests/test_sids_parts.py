"""The parts that maps are made of: the map itself, ids that match, titles, lists of tokens."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import clustered

from dqindex import DQModel, semantic_ids
from dqindex.errors import FileFormatError, InputError, IntegrityError, StorageError
from dqindex.quantizer.token_lists import as_lists, read_lists
from dqindex.sids.map import SidMap
from dqindex.sids.map_file import rows_sha256
from dqindex.sids.matching import in_one_type
from dqindex.sids.semantic_ids import SemanticIds
from dqindex.sids.titles import read_titles


def map_of(codes, base=None, ids=None, **others) -> SidMap:
    codes = np.array(codes, dtype=np.uint8)
    base = codes if base is None else np.array(base, dtype=np.uint8)
    distortion = np.arange(len(codes), dtype=np.float32)
    return SidMap(codes, base, distortion, [4, 4], ids, **others)


# The map.


def test_a_map_is_told_in_a_line():
    assert repr(map_of([[0, 1], [2, 3]])) == "<SidMap: 2 items, 4 x 4, none>"
    made = map_of([[0, 1]] * 1500, fingerprint="0123456789abcdef", unique="cap")
    assert repr(made) == "<SidMap: 1,500 items, 4 x 4, cap, model 0123456789ab>"


def test_maps_are_equal_if_all_that_they_say_is():
    def one(**changed):
        said = {
            "codes": [[0, 1], [2, 3]],
            "base": [[0, 1], [0, 1]],
            "ids": pa.array(["a", "b"]),
            "fingerprint": "f",
            "unique": "reassign",
            "keep": 0,
            "priority": np.array([1.0, np.nan]),
        }
        return map_of(**{**said, **changed})

    assert one() == one()
    assert (one() != one()) is False
    unknown = one()
    unknown.distortion = np.full(2, np.nan, dtype=np.float32)
    also = one()
    also.distortion = np.full(2, np.nan, dtype=np.float32)
    assert unknown == also
    different = [
        one(codes=[[0, 1], [2, 2]]),
        one(base=[[0, 1], [0, 2]]),
        one(ids=None),
        one(ids=pa.array(["a", "c"])),
        one(fingerprint="g"),
        one(unique="none"),
        one(cap=2),
        one(keep=1),
        one(priority=None),
        one(priority=np.array([1.0, 2.0])),
        unknown,
    ]
    for other in different:
        assert one() != other
        assert other != one()
    wider = one()
    wider.sizes = [4, 5]
    assert one() != wider
    assert one() != "a map"
    # In another type of integers they are the same tokens.
    wide = one()
    wide.codes = wide.codes.astype(np.int32)
    assert one() == wide


def test_rows_are_the_ids_where_there_are_none():
    assert map_of([[0, 1], [2, 3]]).item_ids.to_pylist() == [0, 1]
    assert map_of([[0, 1]], ids=pa.array(["x"])).item_ids.to_pylist() == ["x"]


def test_shares_and_widenings_are_counted():
    sids = map_of([[0, 1], [0, 1], [2, 3], [1, 1]], [[0, 1], [0, 1], [2, 0], [0, 1]], keep=1)
    assert sids.unique_share() == 0.75
    assert sids.widened() == 1
    sids.keep = 2
    assert sids.widened() == 2
    for keep in (0, None):
        sids.keep = keep
        assert sids.widened() == 0


def test_only_the_model_that_made_it_is_attached():
    x = clustered(50, 4)
    sids = semantic_ids(x, n_subspaces=2, n_codewords=8)
    other = DQModel(2, 8, seed=1).fit(x)
    with pytest.raises(IntegrityError) as refused:
        sids.attach(other)
    said = f"made by model {sids.fingerprint[:16]}, this is model {other.fingerprint[:16]}; give"
    assert said in str(refused.value)
    with pytest.raises(IntegrityError, match="made by model unknown, this"):
        map_of([[0, 1]]).attach(other)
    model = sids.model
    sids.model = None
    with pytest.raises(InputError, match="model of the map is missing"):
        sids.need_model()
    assert sids.attach(model) is sids
    assert sids.need_model() is model


# Ids that match.


@pytest.mark.parametrize(
    ("ids", "known", "kind"),
    [
        (pa.array([1, 2], pa.int8()), pa.array([2], pa.int64()), pa.int64()),
        (pa.array([1, 300], pa.int64()), pa.array([2], pa.int8()), pa.int64()),
        (pa.array([2**63], pa.uint64()), pa.array([2], pa.int8()), pa.uint64()),
        (pa.array(["a"]), pa.array(["b"], pa.large_string()), pa.large_string()),
        (pa.array(["a"]), pa.array(["b"]), pa.string()),
    ],
)
def test_ids_of_two_widths_are_brought_to_one(ids, known, kind):
    wanted, there = in_one_type(ids, known, "it")
    assert wanted.type == there.type == kind
    assert wanted.to_pylist() == ids.to_pylist()
    assert there.to_pylist() == known.to_pylist()


def test_text_never_matches_a_number():
    for ids, known in ((pa.array(["1"]), pa.array([1])), (pa.array([1]), pa.array(["1"]))):
        with pytest.raises(InputError, match=f"it: ids of type {ids.type}, .* {known.type}; store"):
            in_one_type(ids, known, "it")


# Titles.


def test_titles(tmp_path):
    ids = [f"i{row}" for row in range(5)]
    sids, plain = map_of([[0, 1]] * 5, ids=pa.array(ids)), map_of([[0, 1]] * 5)
    named = [f"t{row}" for row in range(5)]
    path = tmp_path / "t.parquet"

    def write(**columns):
        pq.write_table(pa.table(columns), path)

    write(item_id=ids[::-1], name=named[::-1])
    assert read_titles(path, sids).to_pylist() == named  # joined by id
    assert read_titles(path, plain).to_pylist() == named[::-1]  # in order
    with pytest.raises(InputError, match="no column 'nope'; name one of item_id, name"):
        read_titles(path, sids, "nope")
    with pytest.raises(InputError, match="no column 'nope'"):
        read_titles(path, sids, None, "nope")
    # A column called title comes before other text, and what is missing is empty.
    write(other=ids, title=pa.array([*named[:4], None], pa.large_string()), n=range(5))
    assert read_titles(path, plain).to_pylist() == [*named[:4], ""]
    assert read_titles(path, plain, "other").to_pylist() == ids
    assert read_titles(path, sids, "title", "other").to_pylist() == [*named[:4], ""]
    write(id=ids[::-1], what=named[::-1], title2=range(5))
    assert read_titles(path, sids).to_pylist() == named
    write(item_id=ids[1:], name=named[1:])
    with pytest.raises(InputError, match="no title for 1 items of the map, for example 'i0'; add"):
        read_titles(path, sids)
    with pytest.raises(InputError, match="4 titles for a map of 5 items"):
        read_titles(path, plain)
    write(a=ids, b=named)
    with pytest.raises(InputError, match="several text columns, or none; name one of a, b"):
        read_titles(path, plain)
    write(a=range(5))
    with pytest.raises(InputError, match="several text columns, or none"):
        read_titles(path, plain)
    path.write_text("no")
    with pytest.raises(FileFormatError, match="not a readable Parquet"):
        read_titles(path, sids)
    with pytest.raises(StorageError, match="no such file"):
        read_titles(tmp_path / "none", sids)


# Lists of tokens.


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int64()),
        pa.large_list(pa.uint8()),
        pa.list_(pa.int32(), 2),
        pa.list_(pa.int16()),
    ],
)
def test_lists_of_any_kind_are_a_matrix(kind):
    rows = [[3, 1], [0, 200], [7, 7]]
    column = pa.chunked_array([pa.array(rows[:1], kind), pa.array(rows[1:], kind)])
    found = read_lists(column, "f")
    assert found.tolist() == rows
    assert found.dtype == np.uint8
    back = as_lists(found)
    assert back.type == pa.list_(pa.int32())
    assert back.to_pylist() == rows


@pytest.mark.parametrize(("largest", "dtype"), [(255, "u1"), (256, "u2"), (2**31 - 1, "u4")])
def test_tokens_are_of_the_smallest_type(largest, dtype):
    assert read_lists(pa.chunked_array([[[largest]]]), "f").dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1, 2]), "codes of type int64; they must be lists of integers"),
        (pa.array([[1.5]]), "they must be lists of integers"),
        (pa.array(["x"]), "they must be lists of integers"),
        (pa.array([], pa.list_(pa.int32())), "a map without items"),
        (pa.array([[1], None]), "1 items have no codes"),
        (pa.array([[1, 2], [1]]), "row 1 has 1 tokens, the first 2; all need the same number"),
        (pa.array([[1], [1, 2]]), "row 1 has 2 tokens, the first 1"),
        (pa.array([[], []], pa.list_(pa.int32())), "row 0 has 0 tokens"),
        (pa.array([[1], [None]]), "1 tokens are missing"),
        (pa.array([[1], [-1]]), "codes from -1 to 1; not tokens"),
        (pa.array([[0], [2**31]]), "codes from 0 to 2147483648; not tokens"),
    ],
)
def test_what_is_no_list_of_tokens(column, message):
    with pytest.raises(FileFormatError, match=f"f: .*{message}"):
        read_lists(pa.chunked_array([column]), "f")


def test_a_slice_of_a_map_is_told_as_its_rows(tmp_path):
    ids = pa.array([f"i{row}" for row in range(6)])
    codes = np.arange(12, dtype=np.uint8).reshape(6, 2) % 4
    sids = SemanticIds(codes, codes, np.arange(6, dtype=np.float32), [4, 4], ids)
    for rows in (slice(0, 6), slice(2, 5), slice(4, None), slice(0, 0)):
        table = sids.table(rows)
        assert table.column("item_id").to_pylist() == ids.to_pylist()[rows]
        assert table.column("codes").to_pylist() == codes[rows].tolist()
        assert table.column("distortion").to_pylist() == list(map(float, range(6)))[rows]


def test_the_digest_of_rows_is_of_groups_that_files_out_there_have():
    n = 2**18 + 3
    codes = (np.arange(n, dtype=np.uint32) % 200).astype(np.uint8)[:, None]
    ids = pa.array(np.arange(n), pa.int32())
    sids = SidMap(codes, codes, np.zeros(n, dtype=np.float32), [200], ids)
    digest = hashlib.sha256(f"{(n, 1)} {(n, 1)}".encode())
    for rows in (slice(0, 2**18), slice(2**18, n)):
        digest.update(codes[rows].astype("<i4").tobytes() * 2)
        digest.update(np.zeros(len(codes[rows]), dtype="<f4").tobytes())
        digest.update(np.arange(n, dtype="<i8")[rows].tobytes())
    assert rows_sha256(sids) == digest.hexdigest()
