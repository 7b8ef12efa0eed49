"""Maps over time and abroad: append, refit, quality, formats, and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import clustered
from sklearn.metrics import adjusted_mutual_info_score
from test_sids_formats import GENERAL, SUFFIX

from dqindex import DQModel
from dqindex.cli import cli
from dqindex.cli.sids import loading
from dqindex.errors import (
    BusyError,
    DQIndexError,
    FileFormatError,
    InputError,
    IntegrityError,
    StorageError,
)
from dqindex.sids import map_file
from dqindex.sids.map_file import rows_sha256
from dqindex.sids.refit import churn, matched_labels
from dqindex.sids.semantic_ids import SemanticIds, read_sids, semantic_ids
from dqindex.sids.tuples import TupleSet
from dqindex.sids.vocabulary import level_name
from dqindex.storage.lock import exclusive

SIZE = {"n_subspaces": 4, "n_codewords": 16}


@pytest.fixture(scope="module")
def x():
    made = clustered(3000, 12)
    made[100:150] = made[100]
    return made


@pytest.fixture(scope="module")
def names():
    return np.array([f"sku-{row}" for row in range(3000)])


@pytest.fixture(scope="module")
def sids(x, names):
    return semantic_ids(x, names, **SIZE)


# The file.


def test_saved_and_loaded(tmp_path, sids):
    sids.save(tmp_path / "s.parquet")
    loaded = SemanticIds.load(tmp_path / "s.parquet", sids.model)
    np.testing.assert_array_equal(loaded.codes, sids.codes)
    np.testing.assert_array_equal(loaded.base_codes, sids.base_codes)
    np.testing.assert_array_equal(loaded.distortion, sids.distortion)
    assert loaded.ids.equals(sids.ids)
    assert (loaded.sizes, loaded.unique, loaded.fingerprint) == (
        [16] * 4,
        "reassign",
        sids.fingerprint,
    )
    schema = pq.read_schema(tmp_path / "s.parquet")
    assert schema.field("codes").type == pa.list_(pa.int32())
    assert schema.field("distortion").type == pa.float32()
    other = DQModel(4, 16, seed=5).fit(clustered(500, 12))
    with pytest.raises(IntegrityError, match=f"made by model {sids.fingerprint[:16]}"):
        SemanticIds.load(tmp_path / "s.parquet", other)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item_id": [1]}, "no column 'codes'"),
        ({"codes": ["a"]}, "lists of integers"),
        ({"codes": [[1.5]]}, "lists of integers"),
        ({"codes": [[1, 2], [3]]}, "row 1 has 1 tokens, the first 2"),
        ({"codes": [[1, -2]]}, "not tokens"),
        ({"codes": pa.array([], pa.list_(pa.int32()))}, "without items"),
        ({"codes": [[1, None]]}, "1 tokens are missing"),
        ({"codes": [[1, 2]], "distortion": ["a"]}, "distortion of type string"),
    ],
)
def test_bad_maps(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    with pytest.raises(FileFormatError, match=message):
        SemanticIds.load(tmp_path / "s.parquet")


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "change",
    [
        {"code_sizes": [2**31, 8, 6]},
        {"code_sizes": [8, 8]},
        {"code_sizes": [1, 8, 6]},
        {"code_sizes": []},
        {"code_sizes": None},
        {"own_ids": None},
        {"cap": 0},
        {"unique": "other"},
        {"fingerprint": 3},
    ],
)
def test_a_map_with_its_record_edited_is_refused(tmp_path, version, change):
    table = pq.read_table(GOLDEN / f"map-v{version}" / "named.parquet")
    record = json.loads(table.schema.metadata[b"dqindex"]) | change
    path = tmp_path / "s.parquet"
    pq.write_table(table.replace_schema_metadata({"dqindex": json.dumps(record)}), path)
    with pytest.raises((FileFormatError, IntegrityError), match=r"s\.parquet: "):
        SemanticIds.load(path)


@pytest.mark.parametrize("column", ["item_id", "codes", "base_codes", "distortion"])
def test_a_map_that_lost_a_column_or_changed_it_is_refused(tmp_path, column):
    """As another program would write it: pages and footer are whole."""
    table = pq.read_table(GOLDEN / "map-v2" / "named.parquet")
    path = tmp_path / "s.parquet"
    pq.write_table(table, path)
    SemanticIds.load(path)
    pq.write_table(table.drop_columns([column]), path)
    with pytest.raises(FileFormatError, match=f"no column '{column}'"):
        SemanticIds.load(path)
    place = table.column_names.index(column)
    turned = table.column(column).take(list(range(len(table)))[::-1])
    pq.write_table(table.set_column(place, column, turned), path)
    with pytest.raises(IntegrityError, match="its rows do not match their checksum"):
        SemanticIds.load(path)
    pq.write_table(table.slice(1), path)
    with pytest.raises(IntegrityError, match="its rows do not match"):
        SemanticIds.load(path)


def test_a_map_whose_record_lost_its_name_is_not_taken_for_a_foreign_one(tmp_path):
    table = pq.read_table(GOLDEN / "map-v2" / "named.parquet")
    record = table.schema.metadata[b"dqindex"]
    path = tmp_path / "s.parquet"
    pq.write_table(table.replace_schema_metadata({"dqindeX": record}), path)
    with pytest.raises(IntegrityError, match="its record has lost its name"):
        SemanticIds.load(path)
    # Without a record at all it is a map as any other program makes one.
    pq.write_table(table.replace_schema_metadata(None), path)
    assert SemanticIds.load(path).fingerprint == ""


def test_a_bit_that_flips_in_a_map_never_changes_it_without_a_word(tmp_path):
    whole = (GOLDEN / "map-v2" / "named.parquet").read_bytes()
    path = tmp_path / "s.parquet"
    path.write_bytes(whole)
    true = SemanticIds.load(path)
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(len(whole), size=300):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            assert SemanticIds.load(path) == true
        except DQIndexError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("ids", ["int8", "uint64", "texts", "empty text"])
def test_ids_of_every_kind_are_in_the_checksum_whole(tmp_path, ids):
    kinds = {
        "int8": pa.array([-3, 2, 1], pa.int8()),
        "uint64": pa.array([2**64 - 1, 0, 5], pa.uint64()),
        "texts": pa.array(["a", "bc", "d"])[0:],
        "empty text": pa.array(["x", "", "bc", "d"], pa.large_string())[1:],
    }
    codes = np.array([[0, 1], [1, 0], [1, 1]], dtype=np.uint8)
    distortion = np.zeros(3, dtype=np.float32)
    made = SemanticIds(codes, codes, distortion, [2, 2], kinds[ids])
    made.save(tmp_path / "s.parquet")
    assert SemanticIds.load(tmp_path / "s.parquet").ids.to_pylist() == kinds[ids].to_pylist()
    other = SemanticIds(codes, codes, distortion, [2, 2], kinds[ids].take(pa.array([1, 0, 2])))
    assert rows_sha256(made) != rows_sha256(other)


# New items.


@pytest.mark.parametrize("unique", ["none", "reassign", "suffix", "cap"])
def test_append_moves_no_published_id(x, names, unique):
    model = DQModel(**SIZE).fit(x)
    settings = {"model": model, "unique": unique, "cap": 3 if unique == "cap" else 1}
    old = semantic_ids(x[:2800], names[:2800], **settings)
    new_vectors = np.concatenate([x[2800:], x[100:120]])  # some of them twins of published items
    new_names = np.array([f"new-{row}" for row in range(220)])
    whole, delta = old.append(new_vectors, new_names)
    np.testing.assert_array_equal(whole.codes[:2800], old.codes)
    np.testing.assert_array_equal(whole.codes[2800:], delta.codes)
    assert whole.ids.to_pylist() == [*names[:2800], *new_names]
    assert delta.ids.to_pylist() == new_names.tolist()
    counts = TupleSet(whole.codes, whole.sizes).counts
    assert counts.max() <= {"none": 3000, "reassign": 1, "suffix": 1, "cap": 3}[unique]
    assert (whole.codes.max(axis=0) < whole.sizes).all()
    # And once more, on top.
    again, _ = whole.append(x[100:110], np.array([f"third-{row}" for row in range(10)]))
    np.testing.assert_array_equal(again.codes[: len(whole)], whole.codes)


def test_append_without_ids(x):
    old = semantic_ids(x[:2000], **SIZE)
    whole, delta = old.append(x[2000:2100])
    assert whole.ids is None
    assert delta.item_ids.to_pylist() == list(range(2000, 2100))


def test_append_refuses(x, names, sids):
    with pytest.raises(InputError, match="3 ids are in the map already, for example 'sku-5'"):
        sids.append(x[:3], names[5:8])
    with pytest.raises(InputError, match="need ids"):
        sids.append(x[:3])
    with pytest.raises(InputError, match="map's are row numbers"):
        semantic_ids(x[:500], **SIZE).append(x[:3], names[:3])
    with pytest.raises(InputError, match="model of the map is missing"):
        SemanticIds(**{**vars(sids), "model": None}).append(x[:3], ["a", "b", "c"])
    numbers = semantic_ids(x[:500], np.arange(500), **SIZE)
    with pytest.raises(InputError, match="ids of type string, those of the map are int64"):
        numbers.append(x[:2], ["a", "b"])


# New vectors.


def test_refit_on_the_same_vectors_changes_little(x, names, sids):
    result = sids.refit(x, names)
    assert result.churn.tokens < 0.2
    assert result.fresh.tokens > 0.8  # 15 of 16 by chance
    assert result.churn.common == 3000
    assert result.sids.unique_share() == 1.0
    assert result.churn.distortion < 1.05 * result.fresh.distortion


@pytest.mark.parametrize("rotation", ["keep", "new"])
@pytest.mark.parametrize("coarse", [(), (8,)])
def test_refit_with_a_tenth_replaced(x, names, rotation, coarse):
    old = semantic_ids(x, names, coarse=coarse, **SIZE)
    now = np.concatenate([x[300:], clustered(300, 12, seed=4)])
    now_names = np.concatenate([names[300:], [f"new-{row}" for row in range(300)]])
    result = old.refit(now, now_names, rotation=rotation)
    assert result.churn.common == 2700
    assert result.churn.tokens < result.fresh.tokens
    if rotation == "keep":
        assert result.churn.tokens < 0.6 * result.fresh.tokens
        np.testing.assert_array_equal(
            result.sids.model.transform_.components_, old.model.transform_.components_
        )


def test_labels_are_matched_at_the_least_distance():
    book = np.random.default_rng(0).normal(size=(40, 3))
    order = np.random.default_rng(1).permutation(40)
    found = matched_labels(book, book[order] + 0.001)
    np.testing.assert_array_equal(order[found], np.arange(40))


def test_refit_refuses(x, names, sids):
    with pytest.raises(InputError, match="no item of the map is among"):
        sids.refit(x[:500], [f"other-{row}" for row in range(500)])
    with pytest.raises(InputError, match="width 3, but the model was fitted on 12"):
        sids.refit(x[:, :3], names)
    with pytest.raises(InputError, match="rotation is 'both'"):
        sids.refit(x, names, rotation="both")
    with pytest.raises(InputError, match="one of the map and the vectors has ids"):
        sids.refit(x)


def test_churn_counts(sids):
    moved = SemanticIds(**{**vars(sids), "codes": sids.codes.copy()})
    moved.codes[:30, 0] = (moved.codes[:30, 0] + 1) % 16
    found = churn(sids, moved)
    assert found.items == pytest.approx(0.01)
    assert found.tokens == pytest.approx(0.0025)


# Quality.


def hand_made(codes, sizes) -> SemanticIds:
    codes = np.array(codes, dtype=np.int32)
    return SemanticIds(codes, codes, np.full(len(codes), np.nan, np.float32), sizes)


def test_figures_of_a_small_map():
    figures = hand_made([[0, 1], [0, 1], [0, 0], [2, 1]], [4, 2]).evaluate()["after"]
    assert figures["unique_share"] == 0.75
    assert figures["collision_rate"] == 0.25
    assert figures["singleton_share"] == 0.5
    assert figures["largest_group"] == 2
    assert figures["entropy_ratio"] == pytest.approx(0.75)
    assert figures["gini"] == pytest.approx(1 / 6)
    first, second = figures["levels"]
    assert (first["coverage"], first["dead"]) == (0.5, 2)
    assert first["perplexity"] == pytest.approx(4 / 3**0.75)
    assert second["coverage"] == 1.0


def test_mutual_information_is_adjusted_for_chance():
    rng = np.random.default_rng(0)
    a, b = rng.integers(200, size=(2, 3000))  # sparse: 40,000 cells for 3,000 items
    figures = hand_made(np.stack([a, b, a], axis=1), [200] * 3).evaluate()["after"]
    information = figures["mutual_information"]
    assert information["between"] == [0, 2]
    assert information["largest"] == pytest.approx(1, abs=1e-6)
    assert information["mean"] == pytest.approx(1 / 3, abs=0.02)
    half = np.where(rng.random(3000) < 0.5, a, b)
    found = hand_made(np.stack([a, half], axis=1), [200] * 2).evaluate()["after"]
    expected = adjusted_mutual_info_score(a, half, average_method="geometric")
    assert found["mutual_information"]["mean"] == pytest.approx(expected, abs=0.02)


def test_neighbourhoods(x):
    fine = semantic_ids(x, n_subspaces=6, n_codewords=256)
    coarse = semantic_ids(x, n_subspaces=4, n_codewords=8)
    found = [one.evaluate(x) for one in (fine, coarse)]
    good, poor = (one["after"] for one in found)
    assert 1 >= good["neighbors_decoded"] > poor["neighbors_decoded"] > 0
    assert good["neighbors_tokens"] > 0.02  # at random: 10 of 3,000
    assert good["r_squared"] > 0.9 > poor["r_squared"]
    assert good["distortion"] == pytest.approx(fine.distortion.mean(), rel=1e-3)
    assert "before" in found[1]
    assert found[1]["before"]["unique_share"] < found[1]["after"]["unique_share"] == 1.0
    assert found[1]["before"]["distortion"] < found[1]["after"]["distortion"]


def test_ties_of_shared_tokens_are_shared_out():
    # All items have one token in common with all others: any ten of them are as good.
    figures = hand_made(np.zeros((101, 3), dtype=int), [1] * 3).evaluate(clustered(101, 5))
    assert figures["after"]["neighbors_tokens"] == pytest.approx(10 / 100)


def test_sixty_four_levels():
    rng = np.random.default_rng(0)
    codes = rng.integers(256, size=(500, 64)).astype(np.int32)
    codes[7] = codes[3]
    codes[8, :63] = codes[9, :63]
    figures = hand_made(codes, [256] * 64).evaluate()["after"]
    assert figures["unique_share"] == 499 / 500
    assert len(figures["levels"]) == 64


def test_evaluate_refuses(sids, x):
    with pytest.raises(InputError, match="10 vectors for a map of 3,000 items"):
        sids.evaluate(x[:10])


# Formats.


@pytest.mark.parametrize("form", GENERAL)
@pytest.mark.parametrize("ids", ["names", "numbers", None])
@pytest.mark.parametrize("levels", [3, 30])
def test_every_format_reads_back(tmp_path, form, ids, levels):
    rng = np.random.default_rng(levels)
    codes = rng.integers(5, size=(40, levels)).astype(np.int32)
    codes[5] = codes[6]
    sids = hand_made(codes, [5] * levels)
    given = {"names": [f"näme,{row}" for row in range(40)], "numbers": list(range(7, 47))}
    expected_ids: Any = given.get(ids, list(range(40)))
    sids.ids = None if ids is None else pa.array(expected_ids)
    suffix = SUFFIX.get(form, form)
    if form == "pt":
        pytest.importorskip("torch", reason="needs torch")
    sids.export(tmp_path / f"s.{suffix}", form)
    for found in (
        read_sids(tmp_path / f"s.{suffix}"),
        read_sids(tmp_path / f"s.{suffix}", form),
    ):
        read = dict(zip(found.item_ids.to_pylist(), found.codes.tolist(), strict=True))
        assert read == dict(zip(expected_ids, codes.tolist(), strict=True))


def test_formats_are_what_recommenders_read(tmp_path, sids):
    sids.export(tmp_path / "lc.json", "lc-rec")
    index = json.loads((tmp_path / "lc.json").read_text())
    codes = sids.codes[0].tolist()
    assert index["sku-0"] == [
        f"<{letter}_{code}>" for letter, code in zip("abcd", codes, strict=True)
    ]
    sids.export(tmp_path / "offset.json", "offset")
    record = json.loads((tmp_path / "offset.json").read_text())
    assert record["vocabulary_size"] == 64
    assert record["items"]["sku-0"] == [code + 16 * level for level, code in enumerate(codes)]
    sids.export(tmp_path / "r.jsonl", "reverse")
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert {"codes": codes, "items": ["sku-0"]} in lines
    assert [level_name(level) for level in (0, 25, 26, 27, 51, 52)] == [
        "a",
        "z",
        "aa",
        "ab",
        "az",
        "ba",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.json", "[]"),
        ("s.json", "{}"),
        ("s.json", '{"0": ["<a_1>"], "1": ["<a_1>", "<b_2>"]}'),
        ("s.json", '{"0": ["what"]}'),
        ("s.jsonl", '{"item_id": 1}\n'),
        ("s.csv", "item_id,token_0\n1,x\n"),
        ("s.npy", "x"),
        ("s.parquet", "x"),
    ],
)
def test_what_is_no_map(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(FileFormatError):
        read_sids(tmp_path / name)


# The command line.


def test_command_line(run, tmp_path, x, names):
    np.save(tmp_path / "v.npy", x[:2800])
    np.save(tmp_path / "new.npy", x[2800:])
    np.save(tmp_path / "all.npy", x)
    for name, part in (("a", names[:2800]), ("b", names[2800:]), ("c", names)):
        pq.write_table(pa.table({"id": part}), tmp_path / f"{name}.parquet")
    made = run(*"sids extract v.npy -o s.parquet -L 4 -K 16 --ids a.parquet --json".split())
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["unique_share"] == 1.0
    assert told["code_sizes"] == [16] * 4
    assert (tmp_path / f"s.{told['fingerprint'][:12]}.safetensors").exists()
    expected = semantic_ids(x[:2800], names[:2800], **SIZE)
    np.testing.assert_array_equal(SemanticIds.load(tmp_path / "s.parquet").codes, expected.codes)

    words = "sids append s.parquet new.npy -o t.parquet --ids b.parquet --delta d.parquet"
    done = run(*words.split())
    assert done.returncode == 0, done.stderr
    assert len(SemanticIds.load(tmp_path / "t.parquet")) == 3000
    assert len(SemanticIds.load(tmp_path / "d.parquet")) == 200

    done = run(
        "sids", "refit", "t.parquet", "all.npy", "-o", "u.parquet", "--ids", "c.parquet", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["refit"]["common"] == 3000

    done = run("sids", "evaluate", "u.parquet", "--vectors", "all.npy", "--json")
    assert json.loads(done.stdout)["after"]["unique_share"] == 1.0
    assert "perplexity" in run("sids", "evaluate", "s.parquet").stdout
    assert (
        json.loads(run("info", "s.parquet", "--json").stdout)["fingerprint"] == told["fingerprint"]
    )
    assert "unique_share" in run("info", "s.parquet").stdout
    assert run("sids", "export", "u.parquet", "-o", "u.json", "--format", "lc-rec").returncode == 0
    assert json.loads(run("sids", "evaluate", "u.json", "--json").stdout)["n"] == 3000
    assert run("sids", "neighbors", "u.parquet", "-o", "e.parquet", "-k", "3").returncode == 0
    edges = pq.read_table(tmp_path / "e.parquet")
    assert edges.column_names == ["source", "target", "weight"]
    assert edges.column("source")[0].as_py() == "sku-0"

    for arguments, word in (
        ("sids append s.parquet v.npy -o x.parquet --ids a.parquet", "ids are in the map already"),
        ("sids extract v.npy -o x.parquet -L 2 -K 16", "make only 256 IDs"),
        ("sids extract v.npy -o none/x.parquet", "make the folder first"),
        ("sids append s.parquet new.npy -o x.parquet --model v.npy", "not a readable safetensors"),
        ("sids evaluate none.parquet", "no such file"),
    ):
        failed = run(*arguments.split())
        assert failed.returncode == 1
        assert word in failed.stderr
        assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "x.parquet").exists()
    (tmp_path / f"s.{told['fingerprint'][:12]}.safetensors").unlink()
    done = run("sids", "append", "s.parquet", "new.npy", "-o", "x.parquet")
    assert "its model is not beside it" in done.stderr


def in_process(*words):
    """The command line within this process; what it raises comes out as it is."""
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize("verb", ["append", "refit"])
def test_a_map_that_another_writes_is_waited_for(tmp_path, x, sids, verb, monkeypatch):
    path, items = tmp_path / "s.parquet", tmp_path / "new.parquet"
    sids.save(path)
    sids.model.save(map_file.model_beside(path, sids.fingerprint))
    start = 0 if verb == "refit" else 3000
    new = [f"sku-{row}" for row in range(start, start + 500)]
    pq.write_table(pa.table({"item_id": new, "v": list(x[:500])}), items)
    before = path.read_bytes()
    monkeypatch.setattr(loading, "WAIT_SECONDS", 0.0)
    link = tmp_path / "link.parquet"
    link.symlink_to(path)
    with exclusive(path):
        for output in (path, link):
            with pytest.raises(BusyError, match="another process is writing to it"):
                in_process("sids", verb, path, items, "-o", output)
        # Another map can be written meanwhile.
        assert in_process("sids", verb, path, items, "-o", tmp_path / "t.parquet").exit_code == 0
    assert path.read_bytes() == before
    assert in_process("sids", verb, path, items, "-o", path).exit_code == 0
    assert path.read_bytes() == (tmp_path / "t.parquet").read_bytes() != before


def test_same_map_at_any_thread_count(x, names):
    made = [semantic_ids(x, names, threads=threads, coarse=(16,), **SIZE) for threads in (1, 2)]
    np.testing.assert_array_equal(made[0].codes, made[1].codes)
    assert made[0].fingerprint == made[1].fingerprint


def test_missing_file(tmp_path):
    with pytest.raises(StorageError, match="no such file"):
        SemanticIds.load(tmp_path / "none.parquet")
