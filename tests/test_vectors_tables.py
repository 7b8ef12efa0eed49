"""Tables in parts: every part is held against the first, and ids come through as they are."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

import dqindex
from dqindex.errors import DQWarning, FileFormatError, InputError, StorageError
from dqindex.places.place import place as place_of
from dqindex.vectors import ids as ids_module
from dqindex.vectors import open_vectors, read_ids
from dqindex.vectors.folder import natural_key

N, D = 40, 4
X = np.random.default_rng(5).normal(size=(N, D)).astype(np.float32)


def fixed(x: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])


def listed(x: np.ndarray) -> pa.Array:
    return pa.array(list(x))


def write(folder: Path, file: str, **columns: object) -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    (pq.write_table if path.suffix == ".parquet" else feather.write_feather)(table, path)
    return path


# Parts that do not agree.


@pytest.mark.parametrize("make", [fixed, listed])
@pytest.mark.parametrize("widths", [(4, 2), (2, 4), (4, 4, 8), (4, 4, 2)])
@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_parts_of_other_widths(tmp_path, make, widths, suffix):
    for place, width in enumerate(widths):
        rows = np.ones((16 // width * 2, width), dtype=np.float32)
        write(tmp_path, f"part-{place}.{suffix}", v=make(rows))
    odd = next(place for place, width in enumerate(widths) if width != widths[0])
    with pytest.raises(InputError, match=f"part-{odd}.{suffix}: .*{widths[odd]} ") as caught:
        open_vectors(tmp_path).read()
    assert str(widths[0]) in str(caught.value)


def test_a_fixed_width_is_held_against_lists(tmp_path):
    write(tmp_path, "0.parquet", v=listed(X))
    write(tmp_path, "1.parquet", v=fixed(X))
    np.testing.assert_array_equal(open_vectors(tmp_path).read(), np.concatenate([X, X]))
    write(tmp_path, "1.parquet", v=fixed(X[:, :2].copy()))
    with pytest.raises(
        InputError, match=r"0\.parquet: the vector of row 0 has 4 values where .* 2"
    ):
        open_vectors(tmp_path).read()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"item_id": [7], "v": ["no list"]}, r"1\.parquet: column 'v' is string, not a list"),
        ({"item_id": [7], "v": [["a"] * D]}, r"1\.parquet: column 'v' holds string, not numbers"),
        ({"item_id": [7], "w": [[1.0] * D]}, r"1\.parquet: no column 'v'; it has item_id, w"),
        ({"v": [[1.0] * D]}, r"1\.parquet: no column 'item_id', which holds the ids in .*0\.par"),
        ({"item_id": ["a"], "v": [[1.0] * D]}, r"1\.parquet: its ids are string where .* int64"),
        ({"item_id": [0], "v": [[1.0] * D]}, "1 ids occur more than once, for example 0"),
    ],
)
def test_a_second_part_that_does_not_fit(tmp_path, second, message):
    write(tmp_path, "0.parquet", item_id=np.arange(N), v=listed(X.astype(float)))
    write(tmp_path, "1.parquet", **second)
    with pytest.raises(InputError, match=message):
        _ = open_vectors(tmp_path).ids


def test_ids_only_in_a_later_part(tmp_path):
    write(tmp_path, "0.parquet", v=listed(X))
    write(tmp_path, "1.parquet", v=listed(X), item_id=np.arange(N))
    with pytest.raises(InputError, match=r"1\.parquet: has a column 'item_id', which .*0\.parquet"):
        open_vectors(tmp_path)


def test_parts_may_have_numbers_of_other_types_and_columns_in_another_order(tmp_path):
    write(tmp_path, "0.parquet", item_id=np.arange(N), v=fixed(X), text=["a"] * N)
    write(tmp_path, "1.parquet", v=fixed(X.astype(float)), item_id=np.arange(N, 2 * N))
    whole = np.round(X * 10).astype(np.int8)
    write(tmp_path, "2.parquet", v=listed(whole), item_id=np.arange(2 * N, 3 * N))
    source = open_vectors(tmp_path)
    expected = np.concatenate([X, X, whole.astype(np.float32)])
    np.testing.assert_array_equal(source.read(), expected)
    np.testing.assert_array_equal(source.rows([85, 3, 50]), expected[[85, 3, 50]])
    assert source.dtype == np.float64
    assert source.ids.to_pylist() == list(range(3 * N))


# Ids.

INTEGERS = {
    "int8": [-128, 127, 0, -1],
    "int16": [-(2**15), 2**15 - 1, 5, -1],
    "int32": [-(2**31), 2**31 - 1, 5, 0],
    "int64": [-(2**63), 2**63 - 1, 2**53 + 1, 0],
    "uint8": [255, 0, 1, 128],
    "uint16": [2**16 - 1, 0, 1, 2**15],
    "uint32": [2**32 - 1, 0, 2**31, 1],
    "uint64": [2**64 - 1, 2**63, 2**53 + 1, 0],
}


def distinct(values: list[int], n: int, kind: str) -> np.ndarray:
    """`values`, and others of the type up to `n`."""
    more = (value for value in range(2, 127) if value not in values)
    return np.array(values + [next(more) for _ in range(n - len(values))], dtype=kind)


@pytest.mark.parametrize("kind", INTEGERS)
def test_integer_ids_come_back_as_themselves(tmp_path, kind):
    ids = distinct(INTEGERS[kind], N, kind)
    write(tmp_path, "v.parquet", item_id=ids, v=fixed(X))
    source = open_vectors(tmp_path / "v.parquet")
    assert source.ids.type == kind
    index = dqindex.build_index(source, "Flat")
    index.save(tmp_path / "index")
    opened = dqindex.open_index(tmp_path / "index")
    assert opened.ids.type == kind
    found = opened.search(X, k=N + 2)
    assert found.ids[:, 0].tolist() == ids.tolist()
    assert all(type(one) is int for one in found.ids[:, :N].ravel().tolist())
    assert set(found.ids[:, N:].ravel().tolist()) <= {None, -1}


@pytest.mark.parametrize("kind", ["uint64", "string"])
def test_ids_through_the_command_line(run, tmp_path, kind):
    ids = [f"i{row}" for row in range(N)]
    if kind != "string":
        ids = distinct(INTEGERS[kind], N, kind).tolist()
    write(tmp_path, "v.parquet", item_id=pa.array(ids, kind), v=fixed(X))
    assert run("build", "v.parquet", "-o", "i", "--spec", "Flat").returncode == 0
    lines = run("search", "i", "v.parquet", "-k", 2, "--json").stdout.splitlines()
    assert [json.loads(line)["query"] for line in lines] == ids
    assert [json.loads(line)["ids"][0] for line in lines] == ids
    assert run("search", "i", "v.parquet", "-k", N + 1, "-o", "o.parquet").returncode == 0
    found = pq.read_table(tmp_path / "o.parquet")
    assert found["query"].to_pylist() == ids
    assert [row[0] for row in found["ids"].to_pylist()] == ids
    sids = ("sids", "extract", "v.parquet", "-o", "m.parquet", "-L", 2, "-K", 8, "-q")
    assert run(*sids).returncode == 0
    assert run("sids", "export", "m.parquet", "-o", "m.csv", "--format", "csv").returncode == 0
    rows = (tmp_path / "m.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0].strip('"') for row in rows] == [str(one) for one in ids]


@pytest.mark.parametrize(
    ("kinds", "values", "expected"),
    [
        (("int32", "int64"), ([1, 2], [3, 2**40]), "int64"),
        (("int8", "uint8"), ([-1, 2], [3, 255]), "int64"),
        (("int64", "uint64"), ([1, 2], [3, 2**63 - 1]), "int64"),
        (("int64", "uint64"), ([1, 2], [3, 2**63]), "uint64"),
        (("uint32", "uint32"), ([1, 2], [3, 4]), "uint32"),
        (("string", "large_string"), (["a", "b"], ["c", "d"]), "string"),
    ],
)
def test_parts_with_ids_of_other_types(tmp_path, kinds, values, expected):
    for place, (kind, part) in enumerate(zip(kinds, values, strict=True)):
        ids = pa.array(part, kind)
        write(tmp_path, f"{place}.parquet", item_id=ids, v=listed(X[:2]))
    ids = open_vectors(tmp_path).ids
    assert ids.type == expected
    assert ids.to_pylist() == [*values[0], *values[1]]


def test_ids_that_no_type_holds(tmp_path):
    write(tmp_path, "0.parquet", item_id=pa.array([-1, 2]), v=listed(X[:2]))
    write(tmp_path, "1.parquet", item_id=pa.array([3, 2**63], "uint64"), v=listed(X[:2]))
    with pytest.raises(InputError, match="go from -1 to 9223372036854775808"):
        _ = open_vectors(tmp_path).ids


@pytest.mark.parametrize("limit", [0, 9, 10, 2**31 - 1])
def test_text_that_string_cannot_hold(monkeypatch, limit):
    """``string`` ends at 2 GiB; the limit is lowered, so that ten bytes pass it."""
    monkeypatch.setattr(ids_module, "TEXT_LIMIT", limit)
    chunks = [["a", "bcd"], ["éf", "gh", "j"]]
    expected = [one for chunk in chunks for one in chunk]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        ids = pa.chunked_array([pa.array(chunk, kind) for chunk in chunks])
        found = open_vectors(X[:5], ids=ids).ids
        assert found.type == ("string" if limit >= 10 else "large_string")
        assert found.to_pylist() == expected
    encoded = pa.chunked_array([pa.array(chunk).dictionary_encode() for chunk in chunks])
    assert open_vectors(X[:5], ids=encoded).ids.to_pylist() == expected


@pytest.mark.parametrize(
    "ids",
    [
        np.arange(N).astype(">i8"),
        [2**64 - 1, *range(N - 1)],
        np.array([2**64 - 1, *range(N - 1)], dtype=object),
        iter(range(N)),
        range(N),
        pa.chunked_array([pa.array(range(10)), pa.array(range(10, N))]),
        pa.array([str(row) for row in range(N)]).dictionary_encode(),
        np.array([f"é{row}" for row in range(N)]),
    ],
)
def test_ids_of_every_kind(ids):
    if not hasattr(ids, "__next__"):
        expected = ids.to_pylist() if hasattr(ids, "to_pylist") else list(ids)
    else:
        expected = list(range(N))
    assert open_vectors(X, ids=ids).ids.to_pylist() == expected


@pytest.mark.parametrize(
    "ids", [np.eye(N), 7, object(), {"a": 1}, [b"a"] * N, [2**70, *range(N - 1)], [1, "a"] * 20]
)
def test_what_is_no_id(ids):
    with pytest.raises(InputError, match="ids"):
        _ = open_vectors(X, ids=ids).ids


def test_ids_under_another_name_are_told_of(run, tmp_path):
    names = [f"B{row}" for row in range(N)]
    write(tmp_path, "v.parquet", asin=names, v=fixed(X))
    with pytest.warns(DQWarning, match=r"v\.parquet: .* --id-column .*: asin$"):
        assert open_vectors(tmp_path / "v.parquet").ids is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_vectors(tmp_path / "v.parquet", id_column="asin")
        assert source.ids.to_pylist() == names
        open_vectors(tmp_path / "v.parquet").read()  # whoever wants no ids is told nothing
        assert open_vectors(tmp_path / "v.parquet", ids=names).ids.to_pylist() == names
        write(tmp_path, "w.parquet", weight=np.ones(N), v=fixed(X))
        assert open_vectors(tmp_path / "w.parquet").ids is None
    model = dqindex.DQModel(2, 4).fit(X)
    model.save(tmp_path / "m.safetensors")
    for command in (
        ("build", "v.parquet", "-o", "i", "--spec", "Flat"),
        ("encode", "m.safetensors", "v.parquet", "-o", "c.npy"),
        ("sids", "extract", "v.parquet", "-o", "s.parquet", "-L", 2, "-K", 8),
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
        told = [line for line in done.stderr.splitlines() if "--id-column" in line]
        assert len(told) == 1, done.stderr
        assert told[0].startswith("warning: v.parquet: ")
        assert "asin" in told[0]


def test_ids_in_a_file_of_their_own(tmp_path):
    names = [f"B{row}" for row in range(N)]
    write(tmp_path, "ids.parquet", name=names)
    write(tmp_path, "ids.feather", name=names)
    write(tmp_path, "two.parquet", name=names, other=range(N))
    np.save(tmp_path / "ids.npy", np.arange(N).astype(">u8"))
    for path in ("ids.parquet", "ids.feather"):
        assert read_ids(tmp_path / path).to_pylist() == names
    assert read_ids(tmp_path / "two.parquet", "name").to_pylist() == names
    assert read_ids(tmp_path / "ids.npy").type == pa.uint64()
    with pytest.raises(InputError, match="name the id column, one of name, other"):
        read_ids(tmp_path / "two.parquet")
    with pytest.raises(InputError, match="no column 'x'; it has name, other"):
        read_ids(tmp_path / "two.parquet", "x")
    with pytest.raises(InputError, match="no columns"):
        read_ids(tmp_path / "ids.npy", "x")
    np.save(tmp_path / "flat.npy", np.zeros((2, 2)))
    with pytest.raises(FileFormatError, match="must be 1-d"):
        read_ids(tmp_path / "flat.npy")
    with pytest.raises(StorageError, match="is a folder"):
        read_ids(tmp_path)
    with pytest.raises(StorageError, match="no such file"):
        read_ids(tmp_path / "none.npy")


# Folders.


def test_a_tree_is_read_in_natural_order(tmp_path):
    names = ["p=2/part-2.parquet", "p=2/part-10.parquet", "p=10/part-1.arrow", "z.parquet"]
    for place, name in enumerate(names):
        write(tmp_path, name, item_id=[place], v=listed(X[place : place + 1]))
    for hidden in ("_temporary/a.parquet", ".x.parquet", "p=2/_y.parquet", "_SUCCESS"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"none of ours")
    (tmp_path / "notes.txt").write_text("none of ours")
    source = open_vectors(tmp_path)
    assert source.ids.to_pylist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(source.read(), X[:4])
    assert open_vectors(f"{tmp_path}/p=*/*").ids.to_pylist() == [0, 1, 2]
    assert open_vectors(f"{tmp_path}/**/part-1*").ids.to_pylist() == [1, 2]
    listed_paths = [tmp_path / "z.parquet", str(tmp_path / "p=2")]
    assert open_vectors(listed_paths).ids.to_pylist() == [3, 0, 1]
    with pytest.raises(StorageError, match="no file matches"):
        open_vectors(f"{tmp_path}/*.nope")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError, match="holds no Parquet or Arrow files"):
        open_vectors(tmp_path / "empty")
    with pytest.raises(StorageError, match=r"none\.parquet: no such file"):
        open_vectors([tmp_path / "none.parquet"])


def test_natural_order():
    names = ["a/2", "a/10", "a/b", "a2/1", "a10/1", "b", "part-00002", "part-2", "part-10"]
    shuffled = sorted(names, key=lambda name: hash(name) % 7)
    ordered = sorted(shuffled, key=natural_key)
    assert ordered.index("a/2") < ordered.index("a/10") < ordered.index("a/b")
    assert ordered.index("a/b") < ordered.index("a2/1") < ordered.index("a10/1")
    assert ordered.index("part-2") < ordered.index("part-10")


def test_names_of_folders_are_columns(tmp_path):
    for place, (shop, code) in enumerate([("a%20b", "007"), ("c", "12")]):
        write(
            tmp_path, f"shop={shop}/n={place}/code={code}/x.parquet", v=listed(X[place : place + 1])
        )
    assert open_vectors(tmp_path).ids is None
    assert open_vectors(tmp_path, id_column="shop").ids.to_pylist() == ["a b", "c"]
    assert open_vectors(tmp_path, id_column="n").ids.to_pylist() == [0, 1]
    assert open_vectors(tmp_path, id_column="code").ids.to_pylist() == ["007", "12"]
    write(tmp_path, "shop=d/x.parquet", v=listed(X[:1]))
    with pytest.raises(InputError, match=r"shop=d/x\.parquet: no column 'n'"):
        open_vectors(tmp_path, id_column="n")


def test_what_is_no_regular_file(tmp_path):
    for name in ("f.npy", "f.parquet", "f.arrow", "f.fvecs", "f.fbin", "f.hdf5", "f.safetensors"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(StorageError, match="is a pipe; give a regular file"):
            open_vectors(tmp_path / name)
        with pytest.raises(StorageError, match="is a pipe"):
            read_ids(tmp_path / name)
    with pytest.raises(StorageError, match="is a pipe"):
        open_vectors(tmp_path)
    (tmp_path / "zero.npy").symlink_to("/dev/zero")
    for path in ("/dev/zero", tmp_path / "zero.npy"):
        with pytest.raises(StorageError, match="is a device"):
            open_vectors(path)


@pytest.mark.parametrize("path", ["", "\0", "a\0b.npy"])
def test_what_is_no_path(path):
    with pytest.raises(InputError, match="is not a path"):
        open_vectors(path)


def test_columns_of_what_has_none(tmp_path):
    np.save(tmp_path / "v.npy", X)
    for source in (X, tmp_path / "v.npy", open_vectors(X)):
        with pytest.raises(InputError, match="leave out --vector-column and --id-column"):
            open_vectors(source, id_column="a")
    for column in (7, ["a"], b"a"):
        with pytest.raises(InputError, match=r"vector_column is .* it must be text or None"):
            open_vectors(X, vector_column=column)


def test_two_columns_of_one_name(tmp_path):
    twice = pa.Table.from_arrays([listed(X), listed(X)], names=["v", "v"])
    with pytest.raises(InputError, match="2 columns are called 'v'"):
        open_vectors(twice, vector_column="v")


# What lies in a folder beside the data.


def saved_dataset(folder: Path, values: list[list[float]]) -> Path:
    """What `datasets` leaves: data, its state, and a cache that `map` put beside them."""
    folder.mkdir(parents=True)
    for name, sign in (("data-00000-of-00001", 1), ("cache-0123456789abcdef", -1)):
        rows = pa.table({"v": [[sign * one for one in row] for row in values]})
        with pa.ipc.new_stream(folder / f"{name}.arrow", rows.schema) as writer:
            writer.write_table(rows)
    data = [{"filename": "data-00000-of-00001.arrow"}]
    (folder / "state.json").write_text(json.dumps({"_data_files": data, "_split": None}))
    return folder


@pytest.mark.parametrize("pattern", ["train", "", "*/*.arrow", "**/*.arrow", "t*"])
def test_caches_beside_a_saved_data_set_are_not_read(tmp_path, pattern):
    saved_dataset(tmp_path / "set" / "train", [[1.0, 2.0], [3.0, 4.0]])
    source = open_vectors(f"{tmp_path}/set/{pattern}")
    assert source.read().tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_saved_data_set_without_one_of_its_files_is_refused(tmp_path):
    folder = saved_dataset(tmp_path / "set", [[1.0, 2.0]])
    (folder / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(FileFormatError, match=r"data-00000-of-00001.arrow, which its state.json"):
        open_vectors(folder)


def test_a_saved_dictionary_of_data_sets_names_its_sets(tmp_path):
    for split in ("train", "test"):
        saved_dataset(tmp_path / "all" / split, [[1.0, 2.0]])
    (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(InputError, match=r"all/train, .*all/test"):
        open_vectors(tmp_path / "all")
    assert open_vectors(tmp_path / "all" / "test").n == 1


def test_json_of_others_in_a_folder_says_nothing(tmp_path):
    pq.write_table(pa.table({"v": [[1.0, 2.0]]}), tmp_path / "x.parquet")
    for content in ("{}", "[]", "no json", '{"_data_files": 3, "splits": 3}'):
        for name in ("state.json", "dataset_dict.json"):
            (tmp_path / name).write_text(content)
        assert open_vectors(tmp_path).n == 1


@pytest.mark.parametrize("pattern", ["", "/**", "/**/*.parquet", "/**/x.*"])
def test_links_to_folders_are_followed_once(tmp_path, pattern):
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "set"
    for folder, value in ((elsewhere, 1.0), (root / "b", 2.0)):
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"v": [[value, value]]}), folder / "x.parquet")
    (root / "linked").symlink_to(elsewhere)
    (root / "a").symlink_to(root / "b")  # A second name for what is here.
    (root / "b" / "loop").symlink_to(root)
    source = open_vectors(f"{root}{pattern}")
    assert sorted(source.read()[:, 0].tolist()) == [1.0, 2.0]


@pytest.mark.parametrize("name", ["q?m", "ha#sh", "new\nline", "[br]", "a*b", "sp ace", "c:d"])
def test_a_file_uri_may_hold_any_sign(tmp_path, name):
    file = tmp_path / f"{name}.parquet"
    pq.write_table(pa.table({"v": [[1.0, 2.0]]}), file)
    assert place_of(f"file://{file}") == file
    assert open_vectors(f"file://{file}").n == 1
    assert open_vectors(f"file://{quote(str(file))}").n == 1
    if "\n" not in name:
        file.unlink()
        with pytest.raises(StorageError, match=r"no (such )?file"):
            open_vectors(f"file://{file}")


# What Python gives.


def test_text_of_views_may_be_spelled_out_by_a_dictionary():
    names = pa.array(["a", "b"], pa.string_view())
    ids = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1], pa.uint32()), names)
    assert ids_module.as_ids(ids, "ids").to_pylist() == ["b", "a", "b"]


@pytest.mark.parametrize("name", ["id", "item_id"])
def test_two_columns_of_ids_are_named(name):
    twice = pa.table([pa.array([1]), pa.array([2]), listed(X[:1])], names=[name, name, "v"])
    with pytest.raises(InputError, match=f"2 columns are called '{name}'"):
        open_vectors(twice)


@pytest.mark.parametrize("block", [None, 3, 2.5, object()])
def test_blocks_that_are_none_are_named(block):
    with pytest.raises(InputError, match=r"block 1.*not a set of vectors"):
        open_vectors(iter([X[:2], block]))


def test_memory_is_read_as_the_array_that_it_is():
    assert np.array_equal(open_vectors(memoryview(X)).read(), X)
    ids = memoryview(np.arange(N) * 2)
    assert open_vectors(X, ids=ids).ids.to_pylist() == list(range(0, 2 * N, 2))


def test_tensors_with_axes_in_another_order_are_refused():
    for order in ([0, 1], [1, 0]):
        kind = pa.fixed_shape_tensor(pa.float32(), [2, 2], permutation=order)
        rows = pa.ExtensionArray.from_storage(kind, fixed(X[:3]))
        if order == [0, 1]:
            assert np.array_equal(open_vectors(rows).read(), X[:3])
            continue
        with pytest.raises(InputError, match=r"stored in the order \[1, 0\]"):
            open_vectors(rows)
