"""An index's life on the command line: each command in a process of its own, forked from one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import clustered
from reliability.children import Children, Ran, command

from dqindex import open_index
from dqindex.cli import changing
from dqindex.cli.remove import command as remove
from dqindex.errors import BusyError
from dqindex.index.folder import write_folder

D = 8
SPEC = "DQ2,IVF4,PQ2x4"
X = clustered(760, D, seed=4)
Run = Callable[..., Ran]


def _in_folder(folder: Path, words: tuple[str, ...], fed: bytes) -> Ran:
    """In a child: the command, in `folder`, with `fed` on its standard input."""
    os.chdir(folder)
    reading, writing = os.pipe()
    os.write(writing, fed)
    os.close(writing)
    os.dup2(reading, 0)
    return command(*words)


@pytest.fixture(scope="module")
def server() -> Iterator[Children]:
    with Children() as one:
        yield one


@pytest.fixture
def cli(server: Children, tmp_path: Path) -> Run:
    """``cli("add a b.parquet", fed=b"")``: how it ended."""

    def call(words: str, fed: bytes = b"") -> Ran:
        # Readers of Parquet reserve address space by the gigabyte.
        outcome = server.run(_in_folder, tmp_path, tuple(words.split()), fed, memory=4 * 2**30)
        assert outcome.kind == "answer", outcome.said
        ran: Ran = outcome.value
        assert "Traceback" not in ran.err
        return ran

    return call


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran.err
    return ran


def failed(ran: Ran, code: int, *words: str) -> None:
    """Exit code, one clear line on stderr, nothing on stdout."""
    assert ran.code == code, (ran.out, ran.err)
    assert ran.out == ""
    if code == 1:
        assert ran.err.startswith("error: ")
        assert ran.err.count("\n") == 1
        assert "unexpected" not in ran.err
    for word in words:
        assert word in ran.err


def write(path: Path, x: np.ndarray, ids: list[Any] | None = None) -> None:
    """Vectors, with ids where there are any."""
    if ids is None:
        np.save(path, x)
        return
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
    pq.write_table(pa.table({"item_id": ids, "vector": vectors}), path)


def items(rows: range) -> list[str]:
    return [f"item {row}" for row in rows]


@pytest.fixture(scope="module")
def built(server: Children, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``a``, built from 300 items, and vectors to go on with."""
    folder = tmp_path_factory.mktemp("built")
    for name, rows in {"a": range(300), "b": range(300, 500), "c": range(500, 600)}.items():
        write(folder / f"{name}.parquet", X[rows.start : rows.stop], items(rows))
    write(folder / "numbers.parquet", X[:300], list(range(1000, 1300)))
    write(folder / "more.parquet", X[300:340], list(range(2000, 2040)))
    write(folder / "a.npy", X[:300])
    write(folder / "q.npy", X[700:708])
    for words in (
        f"build a.parquet -o a --spec {SPEC}",
        f"build numbers.parquet -o numbers --spec {SPEC}",
        f"build a.npy -o counted --spec {SPEC}",
    ):
        outcome = server.run(_in_folder, folder, tuple(words.split()), b"", memory=4 * 2**30)
        assert outcome.kind == "answer", outcome.said
        done(outcome.value)
    return folder


@pytest.fixture
def place(built: Path, tmp_path: Path) -> Path:
    """`built`, to be changed."""
    for file in built.rglob("*"):
        if file.is_file():
            to = tmp_path / file.relative_to(built)
            to.parent.mkdir(exist_ok=True)
            to.write_bytes(file.read_bytes())
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def nearest(decoded: np.ndarray, ids: list[Any], k: int) -> list[list[Any]]:
    """Ids of the `k` nearest of `decoded` to each query, in float64."""
    apart = ((X[700:708, None].astype(np.float64) - decoded[None]) ** 2).sum(axis=2)
    return [[ids[row] for row in np.argsort(one, kind="stable")[:k]] for one in apart]


def answers(ran: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done(ran).out.splitlines()]


def same_neighbours(
    found: list[dict[str, Any]], decoded: np.ndarray, ids: list[Any], k: int
) -> None:
    """That `found` are the `k` nearest, up to what float32 cannot tell apart."""
    of = {name: row for row, name in enumerate(ids)}
    for query, one, wanted in zip(X[700:708], found, nearest(decoded, ids, k), strict=True):
        assert len(one["ids"]) == len(set(one["ids"])) == min(k, len(ids))
        for names in (one["ids"], wanted):
            rows = decoded[[of[name] for name in names]]
            apart = ((query.astype(np.float64) - rows) ** 2).sum(axis=1)
            np.testing.assert_allclose(one["distances"], apart, rtol=1e-4, atol=1e-4)


def test_a_life(cli, place):
    """Shards, a merge, additions, removals, replacements; searched as a plain list would be."""
    done(cli("build b.parquet -o b --like a"))
    assert json.loads(done(cli("merge a b -o whole --json")).out)["n"] == 500
    told = json.loads(done(cli("add whole c.parquet --json")).out)
    assert (told["added"], told["n"]) == (100, 600)
    told = json.loads(done(cli("remove whole - --json", b"item 0\nitem 7\r\n\nitem 599")).out)
    assert (told["removed"], told["missing"], told["n"]) == (3, 0, 597)
    write(place / "changed.parquet", X[600:620], items(range(20, 40)))
    assert json.loads(done(cli("update whole changed.parquet --json")).out)["updated"] == 20

    wanted = {name: X[row] for row, name in enumerate(items(range(600)))}
    for name in ("item 0", "item 7", "item 599"):
        del wanted[name]
    wanted |= dict(zip(items(range(20, 40)), X[600:620], strict=True))
    ids = list(wanted)
    # The same codes as those of a list of these vectors under the training of `a`.
    write(place / "list.parquet", np.stack(list(wanted.values())), ids)
    done(cli("build list.parquet -o list --like a"))
    index, plain = open_index(place / "whole"), open_index(place / "list")
    assert sorted(index.ids.to_pylist()) == sorted(ids)
    decoded = plain.reconstruct(ids)
    np.testing.assert_array_equal(index.reconstruct(ids), decoded)

    few = [f"item {row}" for row in range(1, 600, 29) if row != 7]
    (place / "few.txt").write_text("".join(f"{name}\n" for name in (*few, "unknown")))
    pq.write_table(pa.table({"id": few, "why": ["gone"] * len(few)}), place / "few.parquet")
    among = np.isin(ids, few)
    probe = "--param nprobe=4 --json"
    found = answers(cli(f"search whole q.npy -k 5 {probe}"))
    same_neighbours(found, decoded, ids, 5)
    found = answers(cli(f"search whole q.npy -k 30 --filter few.txt --mmap {probe}"))
    same_neighbours(found, decoded[among], few, 30)
    found = answers(cli(f"search whole q.npy -k 5 --exclude few.parquet {probe}"))
    same_neighbours(found, decoded[~among], [one for one in ids if one not in few], 5)
    found = answers(cli(f"search whole q.npy --radius 9 --exclude few.parquet {probe}"))
    for query, one in zip(X[700:708], found, strict=True):
        apart = ((query - decoded) ** 2).sum(axis=1)
        assert set(one["ids"]) == {
            name for name, far, out in zip(ids, apart, among, strict=True) if far < 9 and not out
        }
        assert one["distances"] == sorted(one["distances"])

    told = done(cli("info whole")).out
    assert "597" in told
    # Stock FAISS does not find what was removed, either.
    name = json.loads((place / "whole/manifest.json").read_text())["files"]["index"]["name"]
    assert faiss.read_index(str(place / "whole" / name)).ntotal == 597


def test_results_in_files(cli, place):
    """Of a filter that leaves fewer than k, and of a radius: lists as long as what was found."""
    (place / "two.txt").write_text("1005\n1000\n")
    few = "search numbers q.npy -k 4 --filter two.txt -o"
    done(cli(f"{few} few.parquet"))
    done(cli(f"{few} few.jsonl"))
    table = pq.read_table(place / "few.parquet")
    lines = [json.loads(line) for line in (place / "few.jsonl").read_text().splitlines()]
    for row, line in zip(table.to_pylist(), lines, strict=True):
        assert row["query"] == line["query"]
        assert set(line["ids"]) == {1000, 1005}
        assert row["ids"] == [*line["ids"], None, None]
        assert row["distances"] == [*line["distances"], None, None]
    done(cli("search a q.npy --radius 5 -o near.parquet"))
    done(cli("search a q.npy --radius 5 -o near.jsonl"))
    lines = [json.loads(line) for line in (place / "near.jsonl").read_text().splitlines()]
    assert pq.read_table(place / "near.parquet").to_pylist() == lines
    assert len({len(line["ids"]) for line in lines}) > 1
    shown = done(cli("search a q.npy --radius 5")).out
    assert lines[0]["ids"][0] in shown


def test_stock_faiss_returns_the_catalogues_ids(cli, place):
    done(cli(f"build numbers.parquet -o i --spec {SPEC} --embed-ids"))
    done(cli("add i more.parquet"))
    done(cli("remove i -", b" 1000 \n"))
    name = json.loads((place / "i/manifest.json").read_text())["files"]["index"]["name"]
    stock = faiss.read_index(str(place / "i" / name))
    _, labels = stock.search(X[[300, 0]], 1)
    ours = open_index(place / "i").search(X[[300, 0]], 1).ids
    assert labels.tolist() == ours.tolist()
    assert stock.ntotal == 339
    _, labels = stock.search(X[:40], 300)
    assert labels.max() >= 2000
    assert not (labels == 1000).any()
    assert "stock FAISS returns them" in done(cli("info i")).out


def test_an_emptied_index_takes_vectors_again(cli, place):
    (place / "all.txt").write_text("".join(f"{row}\n" for row in range(300)))
    done(cli("remove counted all.txt"))
    assert answers(cli("search counted q.npy --json"))[0]["ids"] == []
    done(cli("add counted a.npy"))
    # Numbers are not given twice.
    assert set(answers(cli("search counted q.npy --json"))[0]["ids"]) <= set(range(300, 600))
    assert "next id" in done(cli("info counted")).out


def test_missing_ids_are_counted(cli, place):
    told = json.loads(done(cli("remove a - --missing-ok --json", b"item 3\nnone\n")).out)
    assert (told["removed"], told["missing"], told["n"]) == (1, 1, 299)
    before = content(place)
    said = done(cli("remove a - --missing-ok", b"none\n")).err
    assert "0 vectors removed, 299 are left; 1 ids were not there" in said
    done(cli("remove a - --missing-ok"))
    beyond = f"-1\n{2**64 - 1}\n{10**25}\n-{10**25}\n007\n".encode()
    assert "5 ids were not there" in done(cli("remove numbers - --missing-ok", beyond)).err
    found = done(cli("search numbers q.npy --json --filter -", beyond + b"1003\n"))
    assert [one["ids"] for one in answers(found)] == [[1003]] * 8
    assert content(place) == before


def test_skipped_rows_are_told_of(cli, place):
    x = X[300:320].copy()
    x[3, 2] = np.nan
    write(place / "holes.npy", x)
    assert "1 of 20 rows can't be used" in done(cli("add counted holes.npy --skip-invalid")).err
    assert pq.read_table(place / "counted.skipped.parquet").column(0).to_pylist() == [3]
    assert open_index(place / "counted").n == 319


def test_vectors_of_another_kind_are_told_of(cli, place):
    """Warned of as they come; `info` goes on saying it."""
    write(place / "far.npy", 20 + 6 * X[:100])
    write(place / "many.npy", X[:600])
    done(cli("build many.npy -o flat --spec DQ2,PQ2x4"))
    said = done(cli("add flat far.npy")).err.splitlines()
    assert said[0].startswith("warning: far.npy: the mean distortion of these vectors is ")
    assert said[1] == "flat: 100 vectors added, 700 now"
    record = json.loads(done(cli("info flat --json")).out)["distortion"]
    assert record["added_rows"] == 100
    assert record["added"] > 10 * record["trained"]
    shown = done(cli("info flat")).out
    for what in ("vectors added since", "distortion of those", "drift, theirs by the first"):
        assert what in shown
    assert "not known" in done(cli("info a")).out


def test_readers_keep_the_version_that_they_opened(cli, place):
    readers = [open_index(place / "a", mmap=mmap) for mmap in (True, False)]
    before = [reader.search(X[700:708], 5).ids.tolist() for reader in readers]
    done(cli("add a c.parquet"))
    done(cli("remove a -", b"item 0\n"))
    assert [reader.search(X[700:708], 5).ids.tolist() for reader in readers] == before
    assert all(len(reader) == 300 and "item 0" in reader for reader in readers)
    assert len(open_index(place / "a")) == 399


ERRORS: dict[str, tuple[str, list[str]]] = {
    "no index": ("add none a.npy", ["none: no index there"]),
    "a folder without an index": ("add empty a.npy", ["empty: no index there"]),
    "no vectors": ("add counted none.npy", ["none.npy: no such file"]),
    "an id that is there": ("add a a.parquet", ["300 ids are already", "'item 0'"]),
    "an id twice": ("add a twice.parquet", ["1 ids occur more than once", "'new'"]),
    "another width": ("add counted wide.npy", ["wide.npy", "width 7", "8 features"]),
    "not finite": ("add counted nan.npy", ["nan.npy", "NaN"]),
    "a catalogue without ids": ("add a a.npy", ["a.npy: has no ids", "give ids"]),
    "ids for an index that counts": ("add counted b.parquet", ["this index numbers"]),
    "ids of another type": ("add numbers b.parquet", ["string"]),
    "an unknown id": ("remove a ids.txt", ["1 of 2 are not in the index", "'nobody'"]),
    "an id twice, to remove": ("remove a both.txt", ["both.txt: 'item 1' occurs more than once"]),
    "no ids": ("remove a empty.txt", ["empty.txt: holds no ids"]),
    "no ids on stdin": ("remove a -", ["standard input: holds no ids"]),
    "no file of ids": ("remove a none.txt", ["none.txt: no such file"]),
    "a folder of ids": ("remove a empty", ["empty", "is a folder"]),
    "a pipe of ids": ("remove a pipe", ["pipe: is a pipe"]),
    "not text": ("remove a a.npy.txt", ["is not UTF-8"]),
    "words where integers are": ("remove numbers ids.txt", ["line 1 is 'item 1'", "integers"]),
    "too large": (
        "remove numbers large.txt",
        ["large.txt: 1 of 1 are not in the index", str(2**64), "--missing-ok"],
    ),
    "an index that is a file": ("search a.npy q.npy", ["a.npy: is a file; give an index folder"]),
    "integers where words are": ("remove a one.parquet", ["int64", "strings"]),
    "which column": ("remove a several.parquet", ["name the id column, one of x, y"]),
    "no such column": ("remove a several.parquet --id-column z", ["no column 'z'"]),
    "a column of text": ("remove a ids.txt --id-column z", ["has no columns"]),
    "an unknown id, to update": (
        "update a b.parquet",
        ["b.parquet: ids: 200 of 200 are not in the index", "add them first"],
    ),
    "whose vectors": ("update counted a.npy", ["has no ids; say whose"]),
    "another width, to update": ("update a wide.parquet", ["width 7"]),
    "another training": ("merge a other -o m", ["other: was trained apart from a"]),
    "another metric": ("merge a cosine -o m", ["cosine: its metric is cosine"]),
    "one index twice": ("merge a a/ -o m", ["is given twice"]),
    "an id in two": ("merge a again -o m", ["is in 2 of the indexes"]),
    "ids and none": ("merge counted named -o m", ["have different kinds of ids"]),
    "an output that is an input": ("merge a b -o a", ["choose another"]),
    "an output within an input": ("merge a again -o a/m", ["choose another"]),
    "an input within the output": ("add a a/more.npy", ["choose another"]),
    "ids within the output": ("remove a a/ids.txt", ["choose another"]),
    "like itself": ("build a.npy -o counted --like counted", ["choose another"]),
    "like nothing": ("build a.npy -o m --like none", ["none: no index there"]),
    "like another width": ("build wide.npy -o m --like counted", ["width 7"]),
    "no lists to hold ids": (
        "build numbers.parquet -o m --spec DQ2,PQ2x4 --embed-ids",
        ["it has no lists"],
    ),
    "text in the lists": (f"build a.parquet -o m --spec {SPEC} --embed-ids", ["are strings"]),
    "no ids for the lists": (f"build a.npy -o m --spec {SPEC} --embed-ids", ["no ids to embed"]),
    "an empty filter": ("search a q.npy --filter empty.txt", ["--filter empty.txt: holds no ids"]),
    "no file of a filter": ("search a q.npy --filter none", ["none: no such file"]),
    "not a number": ("search a q.npy --radius nan", ["radius"]),
    "over its filter": (
        "search a q.npy --exclude ids.txt -o ids.txt.parquet/x.jsonl",
        ["make the folder first"],
    ),
    "an unwritable place": ("merge a b -o /proc/m", ["/proc/m"]),
}


@pytest.fixture(scope="module")
def wrong(server: Children, built: Path) -> Path:
    """`built` with inputs that do not fit."""
    folder = built
    x = clustered(300, 7)
    write(folder / "wide.npy", x)
    write(folder / "wide.parquet", x[:5], items(range(5)))
    spoilt = X[:20].copy()
    spoilt[7, 1] = np.nan
    write(folder / "nan.npy", spoilt)
    write(folder / "twice.parquet", X[:3], ["new", "new", "newer"])
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe")
    for name, text in {
        "ids.txt": "item 1\nnobody\n",
        "both.txt": "item 1\nitem 2\nitem 1\n",
        "empty.txt": "\n\n",
        "large.txt": f"{2**64}\n",
    }.items():
        (folder / name).write_text(text)
    (folder / "a.npy.txt").write_bytes((folder / "a.npy").read_bytes())
    pq.write_table(pa.table({"x": [1]}), folder / "one.parquet")
    pq.write_table(pa.table({"x": items(range(300))}), folder / "names.parquet")
    pq.write_table(pa.table({"x": ["item 1"], "y": ["item 2"]}), folder / "several.parquet")
    for words in (
        "build b.parquet -o b --like a",
        "build a.parquet -o again --like a",
        "build a.npy -o named --ids names.parquet --like counted",
        f"build b.parquet -o other --spec {SPEC} --seed 5",
        f"build b.parquet -o cosine --spec {SPEC} --metric cosine",
    ):
        outcome = server.run(_in_folder, folder, tuple(words.split()), b"", memory=4 * 2**30)
        done(outcome.value)
    for name in ("a/more.npy", "a/ids.txt"):
        (folder / name).write_text("mine")
    return folder


def test_what_does_not_fit_is_one_clear_line_and_changes_nothing(server, wrong):
    before = content(wrong)
    for case, (words, said) in ERRORS.items():
        outcome = server.run(_in_folder, wrong, tuple(words.split()), b"", memory=4 * 2**30)
        assert outcome.kind == "answer", f"{case}: {outcome.said}"
        try:
            failed(outcome.value, 1, *said)
        except AssertionError as error:
            raise AssertionError(f"{case}: {words}: {outcome.value}") from error
        assert content(wrong) == before, case
        assert not (wrong / "m").exists(), case


USAGE = {
    "add a": "Missing argument",
    "remove a": "Missing argument",
    "merge -o m": "Missing argument",
    "merge a": "-o",
    "build a.npy -o m": "give --spec, --like",
    f"build a.npy -o m --like a --spec {SPEC}": "--spec is for a training",
    "build a.npy -o m --like a --metric l2": "--metric is for a training",
    "build a.npy -o m --like a --target-recall 0.5": "--target-recall is for a training",
    "build a.npy -o m --target-recall 0.5 --embed-ids": "--embed-ids needs",
    "search a q.npy -k 3 --radius 1": "not both",
    "search a q.npy --filter - --exclude -": "standard input",
    "search a q.npy --radius far": "--radius",
}


def test_usage_errors(cli):
    for words, said in USAGE.items():
        failed(cli(words), 2, said)


def test_a_second_writer_is_refused_after_a_while(place, monkeypatch):
    """While the first one's work is published."""
    monkeypatch.setattr(changing, "WAIT_SECONDS", 0.0)
    with (
        write_folder(place / "a"),
        pytest.raises(BusyError, match="another process"),
        changing.changing(str(place / "a")),
    ):
        pass
    with changing.changing(str(place / "a")) as (index, publish):
        index.remove(["item 0"])
        publish()
    assert len(open_index(place / "a")) == 299


def test_input_is_waited_for_before_the_index_is_held(place, monkeypatch):
    """Who pipes ids in slowly keeps no other writer out."""

    class Slow:
        def read(self) -> bytes:
            with write_folder(place / "a"):
                return b"item 0\n"

    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": Slow()})())
    remove.main([str(place / "a"), "-", "--quiet"], standalone_mode=False)
    assert len(open_index(place / "a")) == 299


def test_paths_complete_in_the_shell():
    """Every argument and option that is a path is one for click."""
    import click

    from dqindex.cli import cli as group

    paths = (
        "DIR DIR0 DIR... IDS FILE OUT MODEL MAP CODES ITEMS VECTORS EDGES DATA PICTURE.png "
        "REPORT.html RESULTS.jsonl [RESULTS.jsonl]..."
    ).split()
    words = "vectors items queries path codes model map_path index folder folders ids".split()

    def walk(one: click.Command, name: str) -> Iterator[tuple[str, click.Parameter]]:
        for parameter in one.params:
            yield name, parameter
        if isinstance(one, click.Group):
            for child in one.list_commands(click.Context(one)):
                yield from walk(one.get_command(click.Context(one), child), f"{name} {child}")

    seen = 0
    for name, parameter in walk(group, "dqindex"):
        argument = isinstance(parameter, click.Argument) and parameter.name in words
        if argument or parameter.metavar in paths:
            assert isinstance(parameter.type, click.Path), f"{name} {parameter.name}"
            seen += 1
    assert seen > 40
