"""A trie allows what an item continues with and nothing else; a generator under it gives items."""

from __future__ import annotations

import itertools
import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex.errors import FileFormatError, InputError
from dqindex.sids.semantic_ids import SemanticIds, read_sids
from dqindex.sids.trie import trie_of, tuples_of

PAGE = Path(__file__).parent.parent / "docs" / "guides" / "constrained-decoding.md"


def map_of(codes, sizes) -> SemanticIds:
    codes = np.asarray(codes, dtype=np.int32)
    return SemanticIds(codes, codes, np.full(len(codes), np.nan, np.float32), list(sizes))


def blocks() -> list[str]:
    """The Python of the page: the loader, and its use."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


def loader() -> Any:
    space: dict[str, Any] = {}
    exec(blocks()[0], space)
    return space["Trie"]


def following(rows: list[tuple[int, ...]]) -> dict[tuple[int, ...], list[int]]:
    """Every prefix of the rows, and what they continue with."""
    found: dict[tuple[int, ...], set[int]] = {}
    for row in rows:
        for length in range(len(row)):
            found.setdefault(row[:length], set()).add(row[length])
    return {prefix: sorted(tokens) for prefix, tokens in found.items()}


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_prefix_is_followed_by_what_items_have(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trie")
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    start = data.draw(st.integers(0, 9))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    codes = rng.integers(sizes, size=(data.draw(st.integers(1, 30)), len(sizes)))
    sids = map_of(codes, sizes)
    for name in ("t.npz", "t.json"):
        sids.export(folder / name, "trie", start=start)
        found = read_sids(folder / name)
        np.testing.assert_array_equal(found.codes, np.unique(codes, axis=0))
        assert (found.sizes, found.sizes_guessed) == (sizes, False)
    offsets = start + np.cumsum([0, *sizes[:-1]])
    expected = following([tuple(row) for row in (codes + offsets).tolist()])
    # Of every tuple of tokens, also those that no item starts with.
    trie = loader()(folder / "t.npz", end=-7, prompt=2)
    for length in range(len(sizes)):
        for prefix in itertools.product(range(start, start + sum(sizes)), repeat=min(length, 2)):
            allowed = trie(0, np.array([99, 99, *prefix]))
            assert allowed == expected.get(prefix, [-7])
    for row in (codes + offsets).tolist():
        for length in range(1, len(sizes)):
            assert trie(0, np.array([99, 99, *row[:length]])) == expected[tuple(row[:length])]
        assert trie(0, np.array([99, 99, *row])) == [-7]
        assert trie(0, np.array([99, 99, *row, -7, 0])) == [-7]
    written = json.loads((folder / "t.json").read_text())
    assert written["trie"] == {"offsets": offsets.tolist(), "code_sizes": sizes}
    assert {
        tuple(map(int, prefix.split())): tokens for prefix, tokens in written["next"].items()
    } == expected


def test_the_same_map_gives_the_same_bytes(tmp_path):
    codes = np.random.default_rng(0).integers(9, size=(200, 3))
    for name in ("a.npz", "b.npz"):
        map_of(codes, [9] * 3).export(tmp_path / name, "trie")
    map_of(codes[::-1], [9] * 3).export(tmp_path / "c.npz", "trie")
    assert len({(tmp_path / name).read_bytes() for name in ("a.npz", "b.npz", "c.npz")}) == 1


def test_settings_are_held_to_the_format(tmp_path):
    sids = map_of([[0, 1]], [2, 2])
    with pytest.raises(InputError, match=r"\.npz or \.json; name it so"):
        sids.export(tmp_path / "t.bin", "trie")
    with pytest.raises(InputError, match="start is for the formats offset, trie; this is csv"):
        sids.export(tmp_path / "t.csv", "csv", start=1)
    with pytest.raises(InputError, match=r"start is -1"):
        sids.export(tmp_path / "t.npz", "trie", start=-1)
    for form in ("trie", "offset"):
        with pytest.raises(InputError, match="the last token would be 2147483648"):
            sids.export(tmp_path / "t.json", form, start=2**31 - 3)
    assert not list(tmp_path.iterdir())
    sids.export(tmp_path / "o.json", "offset", start=100)
    record = json.loads((tmp_path / "o.json").read_text())
    assert record["vocabulary_size"] == 104
    assert record["items"] == {"0": [100, 103]}
    assert read_sids(tmp_path / "o.json").codes.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokens", [-1, 0, 1, 0, 1]),  # a token too few
        ("tokens", [-1, 0, 5, 2, 3, 2]),  # not of the level
        ("first", [1, 3, 5]),  # a leaf where a prefix was
        ("first", [1, 3, 3, 6]),  # nothing follows
        ("first", [2, 3, 5, 6]),
        ("first", [1, 7, 5, 6]),
        ("offsets", [0]),
        ("code_sizes", [2, 2, 2]),
        ("offsets", [1, 2]),
        ("first", []),
    ],
)
def test_what_is_no_tree_is_refused(tmp_path, name, value):
    trie = trie_of(np.array([[0, 0], [0, 1], [1, 0]]), [2, 2])
    assert tuples_of(trie, "it").tolist() == [[0, 0], [0, 1], [1, 0]]
    np.savez(tmp_path / "t.npz", **trie._replace(**{name: np.array(value, np.int32)})._asdict())
    with pytest.raises(FileFormatError, match="export the map again"):
        read_sids(tmp_path / "t.npz")


def test_a_damaged_archive_is_refused_or_reads_as_before(tmp_path):
    path = tmp_path / "t.npz"
    codes = np.unique(np.random.default_rng(1).integers(9, size=(50, 3)), axis=0)
    map_of(codes, [9] * 3).export(path, "trie")
    whole = path.read_bytes()
    refused = 0
    mutants = [whole[:cut] for cut in range(0, len(whole), 97)]
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        mutants.append(bytes(changed))
    for mutant in mutants:
        path.write_bytes(mutant)
        try:
            found = read_sids(path)
        except FileFormatError:
            refused += 1
        else:
            np.testing.assert_array_equal(found.codes, codes)
    assert refused > len(mutants) / 2
    np.savez_compressed(path, **trie_of(codes, [9] * 3)._asdict())
    with pytest.raises(FileFormatError, match="compressed"):
        read_sids(path)
    np.savez(path, **{**trie_of(codes, [9] * 3)._asdict(), "first": np.array([{}])})
    with pytest.raises(FileFormatError, match="pickle"):
        read_sids(path)


@pytest.mark.parametrize(
    ("next_", "message"),
    [
        ({"": [0, 1], "0": [2]}, "nothing follows the prefix '1'"),
        ({"": [0], "0": [2], "7": [2]}, "prefix '7': does not extend"),
        ({"": [0], "0": []}, "distinct whole numbers"),
        ({"": [0], "0": [2, 2]}, "distinct whole numbers"),
        ({"": [0], "0": [2.5]}, "distinct whole numbers"),
        ({"": [0], "0": [9]}, "not one of its level"),
        ({"": [-3], "-3": [2]}, "code -3 is not a token"),
        ({}, "nothing follows the prefix ''"),
        ([], "must be objects"),
    ],
)
def test_what_is_no_tree_in_json(tmp_path, next_, message):
    head = {"offsets": [0, 2], "code_sizes": [2, 2]}
    (tmp_path / "t.json").write_text(json.dumps({"trie": head, "next": next_}))
    with pytest.raises(FileFormatError, match=message):
        read_sids(tmp_path / "t.json")


def test_command_line(run, tmp_path):
    (tmp_path / "m.csv").write_text("asin,a,b\nx,0,1\ny,2,0\nz,2,0\n")
    done = run("sids", "export", "m.csv", "-o", "t.npz", "--format", "trie", "--start", "3")
    assert done.returncode == 0, done.stderr
    assert "does not hold whose the IDs are" in done.stderr
    assert "give --code-sizes" in done.stderr
    with np.load(tmp_path / "t.npz") as file:
        assert file["offsets"].tolist() == [3, 6]
    done = run("sids", "lookup", "t.npz", "2", "0")
    assert done.stdout == "2 0\t1\n"
    note = "t.npz: trie holds no items; their names here are the rows of its IDs\n"
    assert done.stderr == note
    assert run("sids", "lookup", "t.npz", "2", "0", "-q").stderr == ""
    for form in ("csv", "jsonl"):
        done = run("sids", "export", "t.npz", "-o", f"t.{form}", "--format", form)
        assert done.stderr.startswith(note)
    done = run("sids", "export", "t.npz", "-o", "v.txt", "--format", "vocabulary")
    assert done.stderr == "v.txt: 2 items as vocabulary\n"


def test_a_beam_search_under_the_trie_gives_items_only(tmp_path, monkeypatch):
    """The page's own code, with a T5 of random weights: a tenth of all tuples are items."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch", reason="needs torch")
        transformers = pytest.importorskip("transformers", reason="needs transformers")
        from transformers import T5Config, T5ForConditionalGeneration
    assert transformers
    sizes, start = [8, 6, 8], 3
    rng = np.random.default_rng(0)
    every = np.array(list(itertools.product(*map(range, sizes))))
    sids = map_of(every[rng.choice(len(every), 38, replace=False)], sizes)
    sids.save(tmp_path / "sids.parquet")
    sids.export(tmp_path / "trie.npz", "trie", start=start)
    torch.manual_seed(0)
    width = dict(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    model = T5ForConditionalGeneration(
        T5Config(vocab_size=start + sum(sizes), decoder_start_token_id=0, **width)
    ).eval()
    space: dict[str, Any] = {
        "model": model,
        "input_ids": torch.randint(start, start + sum(sizes), (4, 9)),
    }
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec("\n".join(blocks()), space)
        free = model.generate(
            space["input_ids"], num_beams=10, num_return_sequences=10, max_new_tokens=4
        )
    assert len(space["items"]) == 40
    assert all(len(names) == 1 for names in space["items"])
    # Beams of one input differ, and there are 38 items to be had.
    for one in range(4):
        assert len({tuple(names) for names in space["items"][10 * one : 10 * one + 10]}) == 10
    assert (space["found"][:, 4] == model.config.eos_token_id).all()
    # Without the trie nearly nothing is an item.
    codes = np.zeros((40, 3), dtype=np.int64) - 1
    codes[:, : free.shape[1] - 1] = (free.numpy()[:, 1:4] - space["allowed"].offsets)[:40]
    assert (sids.find(codes).counts > 0).sum() < 20


def test_tokens_are_counted_from_0_where_nothing_is_said():
    codes = np.array([[0, 1], [2, 0]], dtype=np.uint8)
    assert trie_of(codes, [3, 2]).offsets.tolist() == [0, 3]
    assert trie_of(codes, [3, 2], 5).offsets.tolist() == [5, 8]
