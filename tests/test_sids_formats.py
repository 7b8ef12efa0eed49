"""Maps of others: what is read, what is refused, and that nothing is guessed in silence."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import clustered

from dqindex.cli.options import MAP_FORMATS, WRITTEN_FORMATS
from dqindex.errors import FileFormatError, InputError, IntegrityError
from dqindex.sids.formats import AS_TEXT, FORMATS, WITHOUT_ITEMS, WRITTEN_ONLY, not_kept
from dqindex.sids.matrix_files import ids_beside
from dqindex.sids.semantic_ids import SemanticIds, read_sids, semantic_ids
from dqindex.sids.titles import read_titles

SUFFIX = {"lc-rec": "json", "offset": "json", "reverse": "jsonl", "table": "parquet"}
# Those that hold all maps and all ids. What OpenOneRec takes is in test_consumers.py.
GENERAL = [form for form in FORMATS if form not in WITHOUT_ITEMS and "openonerec" not in form]


def map_of(codes, sizes, ids=None) -> SemanticIds:
    codes = np.array(codes, dtype=np.int32)
    unknown = np.full(len(codes), np.nan, np.float32)
    return SemanticIds(codes, codes, unknown, list(sizes), None if ids is None else ids)


def items_of(sids) -> dict[int | str, list[int]]:
    return dict(zip(sids.item_ids.to_pylist(), sids.codes.tolist(), strict=True))


# Ids of every type.

EDGES: dict[str, list[int] | list[str]] = {
    "int8": [-128, 127, 0],
    "uint8": [0, 255, 7],
    "int16": [-32768, 32767, 1],
    "uint32": [0, 2**32 - 1, 5],
    "int64": [-(2**63), 2**63 - 1, 10**18],
    "uint64": [0, 2**64 - 1, 2**63],
    "string": ["007", "", "ä,\"'\n\t<a_1>"],
    "large_string": ["x", "-0", "1e5"],
}


@pytest.mark.parametrize("kind", EDGES)
@pytest.mark.parametrize("form", GENERAL)
def test_ids_come_back_exactly(tmp_path, kind, form):
    ids = pa.array(EDGES[kind], getattr(pa, kind)())
    sids = map_of([[0, 1], [2, 0], [1, 1]], [3, 2], ids)
    if form == "pt":
        pytest.importorskip("torch", reason="needs torch")
    path = tmp_path / f"s.{SUFFIX.get(form, form)}"
    sids.export(path, form)
    found = read_sids(path)
    assert items_of(found) == items_of(sids)
    back = "uint64" if kind == "uint64" else "int64"
    if kind in ("int64", "uint64", "string", "large_string") or form not in AS_TEXT:
        assert not_kept(sids, form) is None
    else:
        assert f"{kind} reads as {back}" in (not_kept(sids, form) or "")
    if form in AS_TEXT and pa.types.is_integer(ids.type):
        assert str(found.ids.type) == back
    if form in ("parquet", "npy", "pt", "table"):
        assert found.ids.type in (ids.type, pa.string())


def test_what_a_format_cannot_hold_is_said():
    sids = map_of([[0], [1]], [2], pa.array(["12", "-3"]))
    assert "read as numbers" in (not_kept(sids, "csv") or "")
    assert not_kept(sids, "jsonl") is None
    for kept in (["12", "03"], ["12", "x"], ["1.5", "2"]):
        assert not_kept(map_of([[0], [1]], [2], pa.array(kept)), "lc-rec") is None
    assert not_kept(map_of([[0], [1]], [2], pa.array([12, 3])), "csv") is None


def test_numbers_that_no_type_holds_stay_text(tmp_path):
    (tmp_path / "s.csv").write_text("item_id,t\n-1,0\n18446744073709551615,1\n")
    assert read_sids(tmp_path / "s.csv").ids.to_pylist() == ["-1", "18446744073709551615"]


# A matrix, and the ids beside it.


def test_ids_of_a_matrix_are_beside_it(tmp_path):
    path = tmp_path / "s.npy"
    map_of([[0, 1], [1, 0]], [2, 2], pa.array(["x", "y"])).export(path, "npy")
    assert pq.read_table(ids_beside(path)).column(0).to_pylist() == ["x", "y"]
    assert items_of(read_sids(path)) == {"x": [0, 1], "y": [1, 0]}
    # Ids of other codes are not taken for theirs.
    np.save(path, np.array([[1, 1], [0, 0]]))
    with pytest.raises(IntegrityError, match="belongs to other codes"):
        read_sids(path)
    # A file of somebody else's that has this name is left alone.
    pq.write_table(pa.table({"a": [1]}), ids_beside(path))
    assert read_sids(path).ids is None


def test_levels_by_items(tmp_path):
    codes = np.random.default_rng(0).integers(9, size=(3, 200))
    np.save(tmp_path / "t.npy", codes)
    with pytest.raises(FileFormatError, match=r"3 items of 200 tokens each; .*--transpose"):
        read_sids(tmp_path / "t.npy")
    np.testing.assert_array_equal(read_sids(tmp_path / "t.npy", transpose=True).codes, codes.T)
    # As many tokens are no mistake where the items are more.
    np.save(tmp_path / "w.npy", np.zeros((100, 100), dtype=int))
    assert read_sids(tmp_path / "w.npy").codes.shape == (100, 100)
    np.save(tmp_path / "few.npy", np.zeros((3, 64), dtype=int))
    assert read_sids(tmp_path / "few.npy").codes.shape == (3, 64)


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((3, 2)),
        np.zeros(3, int),
        np.zeros((0, 2), int),
        np.array([[True]]),
        [[-1]],
        [[2**31]],
    ],
)
def test_what_is_no_matrix_of_tokens(tmp_path, matrix):
    np.save(tmp_path / "s.npy", matrix)
    with pytest.raises(FileFormatError, match=r"not a matrix of tokens|not tokens"):
        read_sids(tmp_path / "s.npy")


# Text.


def test_csv_with_and_without_names(tmp_path):
    body = "".join(f"{item},{item % 7},{item % 5}\n" for item in range(10))
    expected = {item: [item % 7, item % 5] for item in range(10)}
    for head in ("", "item_id,a,b\n", "asin,0,1\n", "\n\n"):
        (tmp_path / "s.csv").write_text(head + body)
        assert items_of(read_sids(tmp_path / "s.csv")) == expected, head
    # Text ids without a line of names: the first line is an item.
    (tmp_path / "s.csv").write_text("x,0,1\ny,1,1\n")
    assert items_of(read_sids(tmp_path / "s.csv")) == {"x": [0, 1], "y": [1, 1]}


def test_columns_by_name(tmp_path):
    (tmp_path / "s.csv").write_text('title,asin,sid\nA,x,"[1, 2]"\nB,y,"[3, 0]"\n')
    found = read_sids(tmp_path / "s.csv", id_column="asin", codes_column="sid")
    assert items_of(found) == {"x": [1, 2], "y": [3, 0]}
    (tmp_path / "m.csv").write_text("a,asin,b\n1,x,2\n3,y,0\n")
    assert items_of(read_sids(tmp_path / "m.csv", id_column="asin")) == {"x": [1, 2], "y": [3, 0]}
    (tmp_path / "s.jsonl").write_text(
        '{"asin": "x", "sid": [1, 2]}\n\n{"asin": "y", "sid": [3, 0]}'
    )
    found = read_sids(tmp_path / "s.jsonl", id_column="asin", codes_column="sid")
    assert items_of(found) == {"x": [1, 2], "y": [3, 0]}
    table = {"sid": [[1, 2], [3, 0]], "asin": ["x", "y"], "item_id": [9, 9], "codes": ["", ""]}
    pq.write_table(pa.table(table), tmp_path / "s.parquet")
    found = read_sids(tmp_path / "s.parquet", id_column="asin", codes_column="sid")
    assert items_of(found) == {"x": [1, 2], "y": [3, 0]}
    for path in ("s.csv", "s.parquet"):
        with pytest.raises(InputError, match="no column 'nope'; it has "):
            read_sids(tmp_path / path, id_column="nope", codes_column="sid")
    with pytest.raises(FileFormatError, match="no field 'nope'; it has asin, sid"):
        read_sids(tmp_path / "s.jsonl", id_column="nope", codes_column="sid")
    map_of([[0]], [1]).export(tmp_path / "own.parquet", "parquet")
    with pytest.raises(InputError, match="a map of dqindex's own"):
        read_sids(tmp_path / "own.parquet", id_column="item_id")
    map_of([[0]], [1]).export(tmp_path / "m.json", "lc-rec")
    with pytest.raises(InputError, match="lc-rec has no columns"):
        read_sids(tmp_path / "m.json", codes_column="x")
    (tmp_path / "bare.csv").write_text("1,2\n")
    with pytest.raises(InputError, match="no header line"):
        read_sids(tmp_path / "bare.csv", id_column="x")


def test_levels_are_read_from_the_letters(tmp_path):
    path = tmp_path / "s.index.json"
    path.write_text(json.dumps({"0": ["<b_3>", "<a_1>"], "1": ["<a_4>", "<b_5>"]}))
    assert items_of(read_sids(path)) == {0: [1, 3], 1: [4, 5]}
    path.write_text(json.dumps({"x": ["<d_7>", "<aa_2>", "<b_1>"]}))
    assert items_of(read_sids(path)) == {"x": [1, 7, 2]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.json", '{"5": ["<a_1>"], "5": ["<a_2>"]}', "'5' occurs twice"),
        ("s.json", '{"5": ["<a_1>", "<a_2>"]}', "item '5': has two tokens of level 'a'"),
        ("s.json", '{"5": ["<a_1>"], "6": ["<b_1>"]}', "item '6': has levels b, the first item a"),
        ("s.json", '{"5": ["<a_1>"], "6": ["<a_1>", "<b_1>"]}', "item '6': has levels a, b"),
        ("s.json", '{"5": ["<a_x>"]}', "token '<a_x>' is not like <a_60>"),
        ("s.json", '{"5": ["<a_1> "]}', "is not like"),
        ("s.json", '{"5": [1]}', "token 1 is not like"),
        ("s.json", '{"5": 7}', "7 is not a list of tokens"),
        ("s.json", '{"5": "<a_1><b2>"}', "token '<b2>' is not like <a_60>"),
        ("s.json", '{"5": "<a_1> <b_2>"}', "token ' <b_2>' is not like <a_60>"),
        ("s.json", '{"5": ""}', "has levels none|codes are"),
        ("s.json", "[1]", "must be a JSON object"),
        ("s.json", "{", "not JSON"),
        ("s.json", "[" * 100_000, "not JSON"),
        ("s.jsonl", '{"item_id": 1, "codes": [1.5]}', "line 1|item 0: codes are"),
        ("s.jsonl", '{"item_id": 1, "codes": [true]}', "item 0: codes are"),
        ("s.jsonl", '{"item_id": 1, "codes": []}', "item 0: codes are"),
        ("s.jsonl", '{"item_id": 1, "codes": [1]}\n{"item_id": 2}', "line 2: no field 'codes'"),
        (
            "s.jsonl",
            '{"item_id": 1, "codes": [1]}\n{"item_id": 2, "codes": [1, 2]}',
            "item 1: has 2",
        ),
        ("s.jsonl", '{"item_id": 1.5, "codes": [1]}', "the id 1.5 is not"),
        ("s.jsonl", '{"item_id": true, "codes": [1]}', "the id True is not"),
        ("s.jsonl", '{"item_id": 1, "codes": [-1]}', "code -1 is not a token"),
        ("s.jsonl", '{"item_id": 1, "codes": [2147483648]}', "code 2147483648 is not a token"),
        ("s.jsonl", '{"item_id": 1, "codes": 7}', "codes are 7"),
        ("s.jsonl", "\n", "without items"),
        ("s.csv", "", "is empty"),
        ("s.csv", "id,a\n", "without items"),
        ("s.csv", "id,a\n1,2\n3\n", "line 3: has 1 cells, the first line 2"),
        ("s.csv", "id,a\n1,2.0\n", "line 2: token '2.0' is not a whole number"),
        ("s.csv", "id,a\n1,-2\n", "token '-2' is not"),
        ("s.csv", "id,a\n1,\n", "token '' is not"),
        ("r.jsonl", '{"codes": [1], "items": "x"}', "'items' is 'x'; it must be a list"),
        ("r.jsonl", '{"codes": [1], "items": [null]}', "the id None is not"),
        ("o.json", '{"offsets": [0], "code_sizes": [2]}', "no field 'items'"),
        ("o.json", '{"offsets": [0], "items": {"a": [1]}}', "no field 'code_sizes'"),
        ("o.json", '{"offsets": [0], "items": [], "code_sizes": [2]}', "must be an object"),
        (
            "o.json",
            '{"offsets": [0, 2], "code_sizes": [2], "items": {"a": [1]}}',
            "2 offsets and 1",
        ),
        (
            "o.json",
            '{"offsets": [0, 2], "code_sizes": [2, 2], "items": {"a": [1, 4]}}',
            "item 'a': token 4 is not of level 1, whose tokens are 2 to 3",
        ),
        (
            "o.json",
            '{"offsets": [0, 2], "code_sizes": [2, 2], "items": {"a": [1, 1]}}',
            "item 'a': token 1 is not of level 1",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_sids(tmp_path / name)


@pytest.mark.parametrize("name", ["s.csv", "s.jsonl", "s.json"])
def test_bytes_that_are_no_text(tmp_path, name):
    (tmp_path / name).write_bytes(b'{"\xff": ["<a_1>"]}')
    with pytest.raises(FileFormatError, match=r"not UTF-8 text; store it as UTF-8$"):
        read_sids(tmp_path / name)


def test_a_bug_of_ours_is_not_called_a_bad_file(tmp_path, monkeypatch):
    def broken(*_):
        raise AttributeError("a bug")

    monkeypatch.setattr("dqindex.sids.readers.matrix", broken)
    (tmp_path / "s.csv").write_text("1,2\n")
    with pytest.raises(AttributeError, match="a bug"):
        read_sids(tmp_path / "s.csv")


def test_wrong_settings(tmp_path):
    (tmp_path / "s.csv").write_text("1,2\n")
    with pytest.raises(InputError, match=r"'yaml'"):
        read_sids(tmp_path / "s.csv", "yaml")
    with pytest.raises(InputError, match="transpose is for the format npy"):
        read_sids(tmp_path / "s.csv", transpose=True)
    with pytest.raises(InputError, match=r"'yaml'"):
        map_of([[0]], [1]).export(tmp_path / "t", "yaml")


def test_a_csv_column_called_codes_is_read(tmp_path):
    sids = map_of([[0, 1], [2, 0], [1, 1]], [3, 2], pa.array(["x", "y", "z"]))
    for name in (None, "asin"):
        sids.export(tmp_path / "s.csv", "csv", id_column=name, codes_column="codes")
        assert items_of(read_sids(tmp_path / "s.csv")) == items_of(sids)
    one = map_of([[1], [0]], [2], pa.array(["x", "y"]))
    one.export(tmp_path / "one.csv", "csv", codes_column="codes")
    assert items_of(read_sids(tmp_path / "one.csv")) == items_of(one)
    for text in (
        'codes,asin\n"[0 1]",x\n2 0,y\n',
        'title,codes,item_id\nA,"0,1",x\nB,"[2, 0]",y\n',
        "title,codes,item_id\n7,0 1,x\n8,2 0,y\n",
        # One token among others.
        "item_id,codes,more\nx,0,1\ny,2,0\n",
    ):
        (tmp_path / "t.csv").write_text(text)
        assert items_of(read_sids(tmp_path / "t.csv")) == {"x": [0, 1], "y": [2, 0]}, text


@pytest.mark.parametrize(
    "text", ["item_id;a;b\nx;0;1\n", "x;0;1\n", "x\ny\n", "item_id\tt\nx\t1\n"]
)
def test_a_csv_without_tokens_says_how_it_must_look(tmp_path, text):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(FileFormatError, match=r"no columns of tokens; .* between commas"):
        read_sids(tmp_path / "s.csv")


def test_two_columns_never_have_one_name(tmp_path):
    sids = map_of([[0, 1, 0], [2, 0, 1]], [3, 2, 2])
    codes = dict.fromkeys(("jsonl", "table"), "codes") | {"reverse": "codes", "openonerec": "sid"}
    wrong = [("csv", {"id_column": "token_2"}), ("csv", {"codes_column": "item_id"})]
    wrong += [(form, {"id_column": name}) for form, name in codes.items()]
    for name in ("count", "count_after_downsample"):
        wrong.append(("openonerec-reverse", {"id_column": name}))
    for form, names in wrong:
        with pytest.raises(InputError, match=r"give (two names|another)"):
            sids.export(tmp_path / "x", form, **names)
    assert not list(tmp_path.iterdir())
    sids.export(tmp_path / "s.csv", "csv", id_column="token_3")
    assert items_of(read_sids(tmp_path / "s.csv")) == items_of(sids)


# Sizes.


def test_sizes_are_guessed_or_given(tmp_path):
    (tmp_path / "s.csv").write_text("1,2,5\n2,0,1\n")
    found = read_sids(tmp_path / "s.csv")
    assert (found.sizes, found.sizes_guessed) == ([3, 6], True)
    assert found.evaluate()["sizes_guessed"] is True
    given = read_sids(tmp_path / "s.csv", code_sizes=[8, 6])
    assert (given.sizes, given.sizes_guessed) == ([8, 6], False)
    assert given.evaluate()["after"]["levels"][0]["coverage"] == 0.25
    with pytest.raises(InputError, match="3 code sizes for items of 2 tokens"):
        read_sids(tmp_path / "s.csv", code_sizes=[8, 6, 6])
    with pytest.raises(InputError, match="level 1 has the code 5, so its size cannot be 5"):
        read_sids(tmp_path / "s.csv", code_sizes=[8, 5])
    given.export(tmp_path / "s.json", "offset")
    assert read_sids(tmp_path / "s.json").sizes == [8, 6]
    with pytest.raises(InputError, match="says that level 0 has 8 codes, not 9"):
        read_sids(tmp_path / "s.json", code_sizes=[9, 6])
    given.export(tmp_path / "s.parquet", "parquet")
    assert not read_sids(tmp_path / "s.parquet").sizes_guessed
    pq.write_table(pa.table({"codes": [[1, 2]]}), tmp_path / "f.parquet")
    assert read_sids(tmp_path / "f.parquet").sizes_guessed


# Joined by id.


@pytest.fixture(scope="module")
def catalogue():
    x = clustered(600, 8)
    names = np.array([f"sku-{row}" for row in range(600)])
    return x, names, semantic_ids(x, names, n_subspaces=4, n_codewords=16)


def test_vectors_are_joined_by_id(tmp_path, catalogue):
    x, names, sids = catalogue
    order = np.random.default_rng(0).permutation(600)
    more = np.concatenate([x[order], clustered(50, 8, seed=9)])
    ids = [*names[order], *(f"other-{row}" for row in range(50))]
    pq.write_table(pa.table({"item_id": ids, "v": list(more)}), tmp_path / "v.parquet")
    expected = sids.evaluate(x)
    assert sids.evaluate(tmp_path / "v.parquet") == expected
    assert expected["after"]["r_squared"] > 0.3
    pq.write_table(pa.table({"item_id": ids[1:], "v": list(more[1:])}), tmp_path / "v.parquet")
    with pytest.raises(InputError, match=f"no vector for 1 items of the map, .* '{ids[0]}'"):
        sids.evaluate(tmp_path / "v.parquet")


def test_integers_of_any_width_match_and_text_does_not(tmp_path, catalogue):
    x, _, sids = catalogue
    numbered = SemanticIds(**{**vars(sids), "ids": pa.array(range(600), pa.int16())})
    expected = numbered.evaluate(x)
    wide = pa.array(range(599, -1, -1), pa.uint64())
    pq.write_table(pa.table({"id": wide, "v": list(x[::-1])}), tmp_path / "v.parquet")
    assert numbered.evaluate(tmp_path / "v.parquet") == expected
    text = pa.array([str(row) for row in range(600)])
    pq.write_table(pa.table({"id": text, "v": list(x)}), tmp_path / "v.parquet")
    with pytest.raises(InputError, match="ids of type string, those of the map are int16"):
        numbered.evaluate(tmp_path / "v.parquet")
    with pytest.raises(InputError, match="ids of type string, those of the map are int16"):
        numbered.refit(tmp_path / "v.parquet")
    pq.write_table(pa.table({"id": text, "title": text}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="ids of type string, those of the map are int16"):
        read_titles(tmp_path / "t.parquet", numbered)


def test_appended_ids_widen_the_type(catalogue):
    x, _, sids = catalogue
    numbered = SemanticIds(
        **{**vars(sids), "ids": pa.array(range(-100, 500), pa.int16()), "unique": "none"}
    )
    whole, delta = numbered.append(x[:2], pa.array([600, 601], pa.int64()))
    assert whole.ids.type == pa.int16()
    whole, delta = numbered.append(x[:2], pa.array([40_000, 601], pa.int64()))
    assert whole.ids.type == delta.ids.type == pa.int64()
    assert whole.ids.to_pylist() == [*range(-100, 500), 40_000, 601]
    with pytest.raises(InputError, match="which no integer type of 64 bits holds"):
        numbered.append(x[:2], pa.array([2**64 - 1, 601], pa.uint64()))
    with pytest.raises(InputError, match="ids of type string, those of the map are int16"):
        numbered.append(x[:2], ["600", "601"])


# The command line.


def test_the_command_line_knows_all_formats():
    assert list(FORMATS) == MAP_FORMATS
    assert list(WRITTEN_ONLY) == WRITTEN_FORMATS


def test_commands_take_foreign_maps(run, tmp_path):
    (tmp_path / "m.csv").write_text("asin,a,b\nx,0,1\ny,2,0\nz,1,1\n")
    told = run("sids", "evaluate", "m.csv")
    assert "give --code-sizes" in told.stderr
    assert "sizes guessed" in told.stdout
    told = run("sids", "evaluate", "m.csv", "--code-sizes", "4,2", "--json")
    assert told.stderr == ""
    assert [one["size"] for one in json.loads(told.stdout)["after"]["levels"]] == [4, 2]
    told = run("sids", "export", "m.csv", "-o", "m.npy", "--format", "npy", "--id-column", "asin")
    assert told.returncode == 0, told.stderr
    assert "m.ids.parquet: their ids" in told.stderr
    done = run("sids", "export", "m.npy", "--from", "npy", "-o", "m.json", "--format", "lc-rec")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "m.json").read_text())["y"] == ["<a_2>", "<b_0>"]
    (tmp_path / "n.jsonl").write_text('{"item_id": "12", "codes": [0]}')
    told = run("sids", "export", "n.jsonl", "-o", "n.csv", "--format", "csv")
    assert "warning: csv cannot tell text from numbers" in told.stderr
    for sizes in ("0,0", "4,-1", "0"):
        told = run("sids", "evaluate", "m.csv", "--code-sizes", sizes)
        assert told.returncode == 2
        assert "'--code-sizes'" in told.stderr
        assert "code_sizes" not in told.stderr
    ids = pa.array([1, 2], pa.int8())
    pq.write_table(pa.table({"item_id": ids, "codes": [[0], [1]]}), tmp_path / "i.parquet")
    told = run("sids", "export", "i.parquet", "-o", "i.csv", "--format", "csv")
    warning = "warning: csv does not hold the type of the ids: int8 reads as int64"
    assert told.stderr.splitlines() == ["i.csv: 2 items as csv", warning]
    told = run("sids", "export", "m.csv", "-o", "o.json", "--format", "offset")
    assert "give --code-sizes" in told.stderr
