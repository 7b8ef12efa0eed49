"""What public recommenders do with a file of semantic IDs, as rules that our exports keep.

Learnt from their loaders (MiniOneRec, LETTER, GRID, OpenOneRec, TorchEasyRec); none of their code
is here. Each test names what a loader needs and what would go wrong without it.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dqindex.cli import cli
from dqindex.errors import FileFormatError, InputError, MissingDependencyError
from dqindex.sids.formats import not_kept
from dqindex.sids.semantic_ids import SemanticIds, read_sids
from dqindex.sids.vocabulary import Spelling

N, SIZES = 60, [16, 12, 16]


def map_of(codes, sizes, ids=None) -> SemanticIds:
    codes = np.asarray(codes, dtype=np.int32)
    return SemanticIds(codes, codes, np.full(len(codes), np.nan, np.float32), list(sizes), ids)


def items_of(sids) -> dict[Any, list[int]]:
    return dict(zip(sids.item_ids.to_pylist(), sids.codes.tolist(), strict=True))


@pytest.fixture
def sids() -> SemanticIds:
    """Sixty items with IDs of their own, numbered from 0 in another order than the map's."""
    rng = np.random.default_rng(3)
    codes = rng.permutation(np.array(list(np.ndindex(*SIZES))))[:N]
    return map_of(codes, SIZES, pa.array(rng.permutation(N)))


def tokenizer() -> Any:
    """A tokenizer as they come, that knows a few words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers", reason="needs transformers")
        import tokenizers

        words = {"<unk>": 0, "</s>": 1, "a": 2, "item": 3}
        made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=made, unk_token="<unk>", eos_token="</s>"
        )


# MiniOneRec and LETTER: an index file beside the items and interactions.


def test_an_index_file_is_looked_up_by_the_item_as_text(tmp_path, sids):
    """Interactions hold numbers, the index has them as text: ``index[str(item)]``."""
    sids.export(tmp_path / "x.index.json", "lc-rec")
    index = json.loads((tmp_path / "x.index.json").read_text())
    codes = items_of(sids)
    for item in range(N):
        tokens = index[str(item)]
        assert isinstance(tokens, list)
        assert [int(token[3:-1]) for token in tokens] == codes[item]
        assert [token[1] for token in tokens] == ["a", "b", "c"]


def test_merged_tokens_are_a_key_of_one_item(tmp_path, sids):
    """An item is its tokens side by side: a key of a dictionary, a cell before a tab, a line."""
    sids.export(tmp_path / "x.index.json", "lc-rec")
    index = json.loads((tmp_path / "x.index.json").read_text())
    merged = {item: "".join(tokens) for item, tokens in index.items()}
    assert len({*merged.values()}) == N
    assert all(text == text.strip() and not {*"\t\n"} & {*text} for text in merged.values())
    # MiniOneRec joins the first three tokens: of three, those are all.
    assert all(len(tokens) == 3 for tokens in index.values())
    sids.export(tmp_path / "m.json", "lc-rec", merged=True)
    assert json.loads((tmp_path / "m.json").read_text()) == merged
    assert items_of(read_sids(tmp_path / "m.json")) == items_of(sids)


def test_every_token_becomes_one_of_the_tokenizer(tmp_path, sids):
    """Both add the sorted tokens of the index to a tokenizer, and then take one id a token."""
    known = tokenizer()
    sids.export(tmp_path / "x.index.json", "lc-rec")
    index = json.loads((tmp_path / "x.index.json").read_text())
    tokens = sorted({token for one in index.values() for token in one})
    assert known.add_tokens(tokens) == len(tokens)
    for one in index.values():
        alone = [known(token, add_special_tokens=False)["input_ids"] for token in one]
        assert all(len(ids) == 1 for ids in alone)
        merged = known("".join(one), add_special_tokens=False)["input_ids"]
        assert merged == [number for ids in alone for number in ids]


def test_the_vocabulary_in_order_makes_offset_and_tokenizer_agree(tmp_path, sids):
    """Tokens added in the order of the vocabulary have the numbers of ``offset --start LENGTH``."""
    known = tokenizer()
    length = len(known)
    sids.export(tmp_path / "v.json", "vocabulary", begin="<sid>", end="</sid>")
    sids.export(tmp_path / "v.txt", "vocabulary", begin="<sid>", end="</sid>")
    words = json.loads((tmp_path / "v.json").read_text())
    assert (tmp_path / "v.txt").read_text().splitlines() == words
    assert len(words) == sum(SIZES) + 2
    assert known.add_tokens(words) == len(words)
    sids.export(tmp_path / "o.json", "offset", start=length)
    sids.export(tmp_path / "m.json", "lc-rec", merged=True, begin="<sid>", end="</sid>")
    numbers = json.loads((tmp_path / "o.json").read_text())["items"]
    for item, text in json.loads((tmp_path / "m.json").read_text()).items():
        marked = known(text, add_special_tokens=False)["input_ids"]
        assert marked == [length + sum(SIZES), *numbers[item], length + sum(SIZES) + 1]


def test_each_place_allows_tokens_of_its_level_only(tmp_path, sids):
    """LETTER's decoding allows at place i what any item has there: levels may share no token."""
    sids.export(tmp_path / "x.index.json", "lc-rec")
    index = json.loads((tmp_path / "x.index.json").read_text())
    places = [{tokens[level] for tokens in index.values()} for level in range(3)]
    assert sum(map(len, places)) == len(set.union(*places))


# GRID: a tensor of levels by items.


def test_a_tensor_is_indexed_by_item_along_its_columns(tmp_path, sids):
    """Loaded without pickle's powers, turned around, indexed with item numbers, and flattened."""
    torch = pytest.importorskip("torch", reason="needs torch")
    sids.export(tmp_path / "s.pt", "pt")
    with (tmp_path / "s.pt").open("rb") as file:
        table = torch.load(file, weights_only=True)
    assert (table.dtype, tuple(table.shape)) == (torch.int64, (3, N))
    codes = items_of(sids)
    for items in ([0], [7, 3, 59]):
        flat = table.t()[torch.tensor(items)].view(-1)
        assert flat.tolist() == [code for item in items for code in codes[item]]
    # One table of embeddings, each level moved by as many as the largest has.
    assert all(int(level.max()) < max(SIZES) for level in table)
    # The first levels alone, and prefixes held against all items.
    assert table[:2].t()[torch.tensor([5])].view(-1).tolist() == codes[5][:2]
    assert not list(tmp_path.glob("*.parquet"))
    assert items_of(read_sids(tmp_path / "s.pt")) == codes


def test_ids_that_are_no_column_numbers_are_beside_the_tensor(tmp_path, sids, run):
    torch = pytest.importorskip("torch", reason="needs torch")
    for ids in (pa.array([f"x{row}" for row in range(N)]), pa.array(np.arange(N) + 1)):
        sids.ids = ids
        sids.export(tmp_path / "s.pt", "pt")
        table = torch.load(tmp_path / "s.pt", weights_only=True)
        assert table.t().tolist() == sids.codes.tolist()
        found = read_sids(tmp_path / "s.pt")
        assert found.ids.type == ids.type
        assert items_of(found) == items_of(sids)
    sids.save(tmp_path / "s.parquet")
    done = run("sids", "export", "s.parquet", "-o", "t.pt", "--format", "pt")
    assert (done.returncode, "t.ids.parquet: their ids" in done.stderr) == (0, True)
    done = run("sids", "lookup", "t.pt", *sids.codes[4])
    assert done.stdout.split("\t")[1] == "5\n"
    # A file of the same name that belongs to another tensor is not taken for its ids.
    torch.save(torch.zeros(3, 4, dtype=torch.int64), tmp_path / "t.pt")
    # A process that ends right after Arrow read a table: its threads must not need Python's lock
    # then, which aborts it (more often than not, with torch).
    assert run("sids", "lookup", "t.pt", 0, 0, 0).returncode == 1


def test_the_same_map_gives_the_same_tensor_file(tmp_path, sids):
    pytest.importorskip("torch", reason="needs torch")
    sids.export(tmp_path / "a.pt", "pt")
    sids.export(tmp_path / "b.pt", "pt")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_what_is_no_tensor_of_tokens_is_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch")
    for thing in (
        torch.zeros(3),
        torch.zeros(3, 4),
        torch.zeros(0, 4, dtype=torch.int64),
        -torch.ones(3, 4, dtype=torch.int64),
        {"a": torch.zeros(2, 2, dtype=torch.int64)},
        Spelling,  # would be unpickled
    ):
        torch.save(thing, tmp_path / "s.pt")
        with pytest.raises(FileFormatError, match=r"s\.pt: "):
            read_sids(tmp_path / "s.pt")
    torch.save(torch.zeros(3, 4, dtype=torch.int64), tmp_path / "s.pt")
    whole = (tmp_path / "s.pt").read_bytes()
    for content in (b"", b"x", whole[:-30], whole[: len(whole) // 2]):
        (tmp_path / "s.pt").write_bytes(content)
        with pytest.raises(FileFormatError, match=r"s\.pt: not a readable \.pt file"):
            read_sids(tmp_path / "s.pt")


def test_without_torch_it_is_said(tmp_path, sids, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"s\.pt: \.pt needs torch; pip install torch"):
        sids.export(tmp_path / "s.pt", "pt")
    (tmp_path / "s.pt").touch()
    with pytest.raises(MissingDependencyError, match="or use the format npy"):
        read_sids(tmp_path / "s.pt")


# OpenOneRec: a table from item to codes, and a reverse map.


def test_a_table_of_pid_and_sid_makes_a_dictionary(tmp_path, sids):
    """Two columns zipped into a dictionary, whose codes are put into a text with marks."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    sids.export(tmp_path / "pid2sid.parquet", "openonerec")
    frame = pandas.read_parquet(tmp_path / "pid2sid.parquet")
    known = dict(zip(frame["pid"], frame["sid"], strict=True))
    sids.export(
        tmp_path / "text.json",
        "lc-rec",
        token="<s_{letter}_{code}>",
        begin="<|sid_begin|>",
        end="<|sid_end|>",
        merged=True,
    )
    texts = json.loads((tmp_path / "text.json").read_text())
    for item in range(N):
        a, b, c = known[item][0], known[item][1], known[item][2]
        assert texts[str(item)] == f"<|sid_begin|><s_a_{a}><s_b_{b}><s_c_{c}><|sid_end|>"
    found = read_sids(tmp_path / "pid2sid.parquet")
    assert items_of(read_sids(tmp_path / "pid2sid.parquet", "openonerec")) == items_of(found)
    assert items_of(found) == items_of(sids)
    assert found.ids.type == sids.ids.type
    spelling = {"token": "<s_{letter}_{code}>", "begin": "<|sid_begin|>", "end": "<|sid_end|>"}
    assert items_of(read_sids(tmp_path / "text.json", **spelling)) == items_of(sids)


def test_a_generated_id_leads_back_to_its_items(tmp_path):
    """Three codes packed at 13 bits each, as text, to a list whose first is the one to take."""
    sids = map_of([[1, 2, 3], [8191, 0, 8191], [1, 2, 3]], [8192] * 3, pa.array([70, 5, 9]))
    sids.export(tmp_path / "sid2pid.json", "openonerec-reverse")
    known = json.loads((tmp_path / "sid2pid.json").read_text())
    packed = str(((1 << 13) + 2 << 13) + 3)
    assert [one["pid"] for one in known[packed]] == [70, 9]
    assert all({"count", "count_after_downsample"} < {*one} for one in known[packed])
    assert items_of(read_sids(tmp_path / "sid2pid.json")) == items_of(sids)
    (tmp_path / "spaced.json").write_text(json.dumps(known, indent=2))
    assert items_of(read_sids(tmp_path / "spaced.json")) == items_of(sids)
    sids.export(tmp_path / "iid.json", "openonerec-reverse", id_column="iid")
    assert items_of(read_sids(tmp_path / "iid.json", id_column="iid")) == items_of(sids)
    with pytest.raises(FileFormatError, match="objects with the field 'pid'"):
        read_sids(tmp_path / "iid.json")
    assert not_kept(sids, "openonerec-reverse") is None
    sids.ids = pa.array([0, 1, 2])
    assert "takes the id 0 for no item" in (not_kept(sids, "openonerec-reverse") or "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"x": [{"pid": 1}]}', "is not a number"),
        ('{"549755813888": [{"pid": 1}]}', "is not a number below"),
        ('{"5": {"pid": 1}}', "a list of objects"),
        ('{"5": [{"pid": 1.5}]}', "the id 1.5 is not"),
        ("{}", "without items"),
    ],
)
def test_what_is_no_reverse_map_is_refused(tmp_path, text, message):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_sids(tmp_path / "r.json", "openonerec-reverse")


def test_what_it_cannot_take_is_refused(tmp_path, sids):
    for form in ("openonerec", "openonerec-reverse"):
        for wrong in (map_of([[0, 1]], [2, 2]), map_of([[0, 1, 2]], [3, 3, 8193])):
            with pytest.raises(InputError, match="takes IDs of 3 tokens of at most 8,192 codes"):
                wrong.export(tmp_path / "x", form)
    with pytest.raises(InputError, match="whole numbers; these are string"):
        map_of([[0, 1, 2]], [3, 3, 3], pa.array(["x"])).export(tmp_path / "x", "openonerec-reverse")
    assert not list(tmp_path.iterdir())


# TorchEasyRec: a column of lists, or of codes between commas, and the sizes of the levels.


def test_a_column_of_lists_or_of_codes_between_commas(tmp_path, sids):
    sids.save(tmp_path / "s.parquet")
    sids.export(tmp_path / "t.parquet", "table")
    for name in ("s.parquet", "t.parquet"):
        kind = pq.read_schema(tmp_path / name).field("codes").type
        assert pa.types.is_list(kind)
        assert pa.types.is_integer(kind.value_type)
        column = pq.read_table(tmp_path / name).column("codes")
        codes = np.array(column.to_pylist())
        assert ((codes >= 0) & (codes < np.array(SIZES))).all()
    sids.export(tmp_path / "s.csv", "csv", id_column="item", codes_column="codes")
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(code) for code in rows[0]["codes"].split(",")] == sids.codes[0].tolist()
    assert [int(row["item"]) for row in rows] == sids.ids.to_pylist()
    # A code and the sizes before it give the token: the same as ours.
    sids.export(tmp_path / "o.json", "offset")
    record = json.loads((tmp_path / "o.json").read_text())
    assert record["offsets"] == (np.cumsum(SIZES) - SIZES).tolist()


# Names by option, templates, and what reads them back.


@pytest.mark.parametrize("form", ["csv", "jsonl", "table", "reverse", "openonerec"])
def test_names_of_columns_by_option(tmp_path, sids, form):
    names = {"id_column": "asin", "codes_column": "tokens"}
    sids.export(tmp_path / "s", form, **names)
    found = read_sids(tmp_path / "s", form, **names)
    assert items_of(found) == items_of(sids)


TEMPLATES = [
    "<{letter}_{code}>",
    "<s_{letter}_{code}>",
    "[{level}|{code}]",
    "{letter}{code} ",
    "§{code}{letter}",
    "<|{code}@{level}@{letter}|>",
    "<a1{letter}b{code}9>",
    ".{letter}.{code}",
]


@pytest.mark.parametrize("token", TEMPLATES)
@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize(("begin", "end"), [("", ""), ("<", ">"), ("{x", "")])
def test_templates_read_back(tmp_path, token, merged, begin, end):
    levels = 30  # beyond z
    codes = np.random.default_rng(5).integers(0, 130, size=(20, levels))
    sids = map_of(codes, [130] * levels, pa.array([f"i{row}" for row in range(20)]))
    spelling = {"token": token, "begin": begin, "end": end}
    sids.export(tmp_path / "s.json", "lc-rec", merged=merged, **spelling)
    assert items_of(read_sids(tmp_path / "s.json", "lc-rec", **spelling)) == items_of(sids)
    sids.export(tmp_path / "v.json", "vocabulary", **spelling)
    words = json.loads((tmp_path / "v.json").read_text())
    assert len(words) == len({*words}) or begin == "<"
    first = json.loads((tmp_path / "s.json").read_text())["i0"]
    expected = [words[130 * level + code] for level, code in enumerate(codes[0].tolist())]
    expected = [*[begin] * bool(begin), *expected, *[end] * bool(end)]
    assert first == ("".join(expected) if merged else expected)
    if begin:
        with pytest.raises(FileFormatError, match=r"is not like|lacks the marks|not a map"):
            read_sids(tmp_path / "s.json", "lc-rec", token=token)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token": "<{letter}>"}, "it needs {code}"),
        ({"token": "<{code}>"}, "no two levels have the same tokens"),
        ({"token": ""}, "it needs {code}"),
        ({"token": "<{letter}_{code}_{code}>"}, "each once"),
        ({"token": "<{letter}_{codes}>"}, "it may hold {code}"),
        ({"token": "<{letter}_{code}}>"}, "it may hold {code}"),
        ({"token": "<{level}{code}>"}, "put a character between"),
        ({"token": "<{code}0{level}>"}, "put a character between"),
        ({"token": "<{letter}\n{code}>"}, "line breaks"),
        ({"begin": "\n"}, "begin is '\\n'; it may not hold line breaks"),
        ({"token": "{letter}_{code}", "merged": True}, "can be told apart"),
        ({"token": "x{letter}_{code}9", "merged": True}, "can be told apart"),
    ],
)
def test_templates_that_could_not_be_read_back_are_refused(tmp_path, settings, message):
    sids = map_of([[0, 1]], [2, 2])
    with pytest.raises(InputError) as caught:
        sids.export(tmp_path / "s.json", "lc-rec", **settings)
    assert message in str(caught.value)
    if "merged" not in settings:
        with pytest.raises(InputError):
            read_sids(__file__, "lc-rec", **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["lc-rec", "vocabulary"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"begin": "X", "end": "X"}, "begin and end are both 'X'"),
        ({"begin": "<a_1>", "end": "<a_1>"}, "begin and end are both '<a_1>'"),
        ({"begin": "<a_1>"}, "begin is '<a_1>', which is a token of the template"),
        ({"end": "<zz_70>"}, "end is '<zz_70>', which is a token"),
        ({"token": "s{level}.{code}", "end": "s9.3"}, "end is 's9.3', which is a token"),
    ],
)
def test_marks_are_no_tokens_and_differ(tmp_path, sids, form, settings, message):
    with pytest.raises(InputError, match=message):
        sids.export(tmp_path / "m.json", form, **settings)
    assert not list(tmp_path.iterdir())
    sids.export(tmp_path / "m.json", form, **{**settings, "begin": "<s>", "end": "</s>"})


def test_settings_are_held_to_their_formats(tmp_path, sids):
    for settings, form in (
        ({"token": "<{level}_{code}>"}, "offset"),
        ({"begin": "x"}, "jsonl"),
        ({"end": "x"}, "trie"),
        ({"merged": True}, "vocabulary"),
        ({"id_column": "x"}, "parquet"),
        ({"codes_column": "x"}, "openonerec-reverse"),
        ({"id_column": "x", "codes_column": "x"}, "table"),
        ({"id_column": "codes"}, "jsonl"),
    ):
        with pytest.raises(InputError, match=r"is for the formats|give two names"):
            sids.export(tmp_path / "s.json", form, **settings)
    sids.save(tmp_path / "s.parquet")
    with pytest.raises(InputError, match="are for lc-rec; this is parquet"):
        read_sids(tmp_path / "s.parquet", begin="x")
    with pytest.raises(InputError, match=r"'vocabulary'; use one of"):
        read_sids(tmp_path / "s.parquet", "vocabulary")
    with pytest.raises(InputError, match=r"\.txt or \.json; name it so"):
        sids.export(tmp_path / "v.csv", "vocabulary")
    assert [path.name for path in tmp_path.iterdir()] == ["s.parquet"]


def test_command_line(run, tmp_path, sids):
    sids.save(tmp_path / "s.parquet")
    spelled = ["--token", "<s_{letter}_{code}>", "--begin", "<|b|>", "--end", "<|e|>"]
    done = run(
        *("sids", "export", "s.parquet", "-o", "m.json", "--format", "lc-rec", "--merged"), *spelled
    )
    assert done.returncode == 0, done.stderr
    read = [word.replace("--", "--map-") if word.startswith("--") else word for word in spelled]
    done = run(
        *("sids", "export", "m.json", "-o", "m.csv", "--format", "csv", *read),
        *("--out-id-column", "asin", "--out-codes-column", "sid"),
    )
    assert done.returncode == 0, done.stderr
    found = read_sids(tmp_path / "m.csv", id_column="asin", codes_column="sid")
    assert items_of(found) == items_of(sids)
    done = run("sids", "export", "m.csv", "-o", "v.txt", "--format", "vocabulary")
    assert done.returncode == 1  # the codes are in one cell, and it was not told so
    columns = ["--id-column", "asin", "--codes-column", "sid"]
    done = run("sids", "export", "m.csv", "-o", "v.txt", "--format", "vocabulary", *columns)
    assert done.returncode == 0, done.stderr
    assert "give --code-sizes" in done.stderr
    assert (tmp_path / "v.txt").read_text().startswith("<a_0>\n<a_1>\n")


# The page.


def test_the_commands_of_the_page_work(tmp_path, monkeypatch, sids):
    pytest.importorskip("torch", reason="needs torch")
    sids.ids = pa.array(np.arange(N) + 1)
    sids.save(tmp_path / "sids.parquet")
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parent.parent / "docs" / "guides" / "recommenders.md"
    commands = re.findall(r"^dqindex (sids export sids\.parquet .*)$", page.read_text(), re.M)
    assert len(commands) >= 10
    for command in commands:
        words = shlex.split(command)
        done = CliRunner().invoke(cli, words)
        assert (done.exit_code, "warning" in done.output) == (0, "trie" in command), done.output
        path = tmp_path / words[words.index("-o") + 1]
        form = words[words.index("--format") + 1]
        if form not in ("vocabulary", "trie", "pt"):
            spelling = {"token": "<s_{letter}_{code}>", "begin": "<|sid_begin|>"}
            marked = {**spelling, "end": "<|sid_end|>"} if "--merged" in words else {}
            column = {"codes_column": "codes"} if form == "csv" else {}
            assert items_of(read_sids(path, form, **marked, **column)) == items_of(sids)
