"""Codes, maps, models and indexes at URIs: whole or not at all, and never over another's."""

from __future__ import annotations

import contextvars
import io
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import SECRET, clustered, content_at, put_all

from dqindex import DQModel, SemanticIds, build_index, open_index, open_vectors, read_sids
from dqindex import semantic_ids as make_map
from dqindex.cli import cli
from dqindex.errors import (
    BusyError,
    FileFormatError,
    InputError,
    IntegrityError,
    StorageError,
)
from dqindex.index import folder as folder_module
from dqindex.index.folder import MANIFEST, write_folder
from dqindex.places import put as put_module
from dqindex.places.place import RemotePath, State, place
from dqindex.storage.files import atomic_file, check_writable
from dqindex.storage.lock import exclusive

fsspec = pytest.importorskip("fsspec", reason="the extra cloud is not installed")

X = clustered(600, 8)
Y = clustered(700, 8, seed=1)


@pytest.fixture(params=["s3", "memory"])
def store(request) -> str:
    """A new folder on S3, and in memory: a store that offers conditional writes, and one not."""
    if request.param == "s3":
        return str(request.getfixturevalue("s3"))
    return f"memory://{request.node.name}"


@pytest.fixture(scope="module")
def index() -> Any:
    return build_index(X, "DQ4,IVF4,PQ4")


@pytest.fixture(scope="module")
def newer() -> Any:
    return build_index(Y, "DQ4,IVF4,PQ4")


def same(found: Any, expected: Any) -> None:
    ours, right = found.search(X[:20], 5), expected.search(X[:20], 5)
    np.testing.assert_array_equal(ours.ids, right.ids)
    np.testing.assert_array_equal(ours.distances, right.distances)


# What is written there is what is written here.


def test_every_command_that_writes_writes_there(tmp_path, s3):
    """The commands of a catalogue's life, here and at a URI: the same bytes."""
    for name, x, start in (("x", X[:500], 0), ("new", X[500:], 500)):
        np.save(tmp_path / f"{name}.npy", x)
        names = np.arange(start, start + len(x))
        np.save(tmp_path / f"{name}-ids.npy", names)
    np.save(tmp_path / "new-ids-more.npy", np.arange(1000, 1500))
    (tmp_path / "gone.txt").write_text("3\n5\n")
    put_all(tmp_path, s3)

    def commands(root: str) -> list[str]:
        return [
            f"fit {root}/x.npy -o {root}/m.safetensors -L 4 -K 16",
            f"encode {root}/m.safetensors {root}/x.npy -o {root}/codes.npy",
            f"encode {root}/m.safetensors {root}/x.npy --ids {root}/x-ids.npy "
            f"-o {root}/codes.parquet",
            f"decode {root}/m.safetensors {root}/codes.npy -o {root}/back.npy",
            f"sids extract {root}/x.npy --ids {root}/x-ids.npy -o {root}/map.parquet -L 4 -K 16",
            f"sids append {root}/map.parquet {root}/new.npy --ids {root}/new-ids.npy "
            f"-o {root}/map.parquet",
            f"sids export {root}/map.parquet --format npy -o {root}/tokens.npy",
            f"sids export {root}/tokens.npy --format csv -o {root}/map.csv",
            f"sids neighbors {root}/map.csv -o {root}/edges.parquet -k 3",
            f"build {root}/x.npy --ids {root}/x-ids.npy -o {root}/ix --spec DQ4,IVF4,PQ4",
            f"search {root}/ix {root}/new.npy -k 3 -o {root}/found.jsonl",
            f"add {root}/ix {root}/new.npy --ids {root}/new-ids.npy",
            f"remove {root}/ix {root}/gone.txt",
            f"build {root}/x.npy --ids {root}/new-ids-more.npy -o {root}/shard --like {root}/ix",
            f"merge {root}/ix {root}/shard -o {root}/merged",
        ]

    for line in commands(str(tmp_path)) + commands(s3):
        command(*line.split(), "-q")
    here = {
        str(file.relative_to(tmp_path)): file.read_bytes()
        for file in tmp_path.rglob("*")
        if file.is_file()
    }
    there = content_at(s3)
    assert set(there) == set(here)
    assert {"back.npy", "map.csv", "tokens.ids.parquet", "ix/manifest.json", "found.jsonl"} <= set(
        here
    )
    for name, content in here.items():
        assert there[name] == content, name


def command(*words: str) -> str:
    """What a command prints, in this process."""
    result = CliRunner().invoke(cli, words)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_what_is_there_is_told_and_read(s3, index):
    index.save(f"{s3}/ix")
    make_map(X, n_subspaces=4, n_codewords=16).save(f"{s3}/map.parquet")
    told = json.loads(command("info", f"{s3}/ix", "--json"))
    assert (told["n"], told["spec"]) == (len(X), "DQ4,IVF4,PQ4")
    told = json.loads(command("info", f"{s3}/map.parquet", "--json"))
    assert told["n"] == len(X)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "lc-rec", "offset", "npy", "reverse"])
def test_maps_of_every_format_go_there_and_back(store, form):
    sids = make_map(X, [f"i{row}" for row in range(len(X))], n_subspaces=4, n_codewords=16)
    sids.export(f"{store}/map.{form}", form)
    back = read_sids(f"{store}/map.{form}", form)
    order = np.argsort(back.item_ids.to_pylist()), np.argsort(sids.item_ids.to_pylist())
    np.testing.assert_array_equal(back.codes[order[0]], sids.codes[order[1]])


def test_a_model_goes_there_and_back(store):
    model = DQModel(4, 16).fit(X)
    model.save(f"{store}/m.safetensors")
    assert DQModel.load(f"{store}/m.safetensors").fingerprint == model.fingerprint
    with pytest.raises(StorageError, match=r"other\.safetensors: no such file"):
        DQModel.load(f"{store}/other.safetensors")


def test_an_index_goes_there_and_back(tmp_path, store, index, newer):
    index.save(tmp_path / "ix")
    index.save(f"{store}/ix")
    here = {file.name: file.read_bytes() for file in (tmp_path / "ix").iterdir()}
    assert content_at(f"{store}/ix") == here
    same(open_index(f"{store}/ix"), index)
    newer.save(f"{store}/ix")
    same(open_index(f"{store}/ix"), newer)
    # What the first version had and the second has not is gone.
    newer.save(tmp_path / "ix")
    assert set(content_at(f"{store}/ix")) == {file.name for file in (tmp_path / "ix").iterdir()}


def test_an_index_there_lives(s3, index, newer):
    index.save(f"{s3}/one")
    newer.save(f"{s3}/two")
    ours, other = open_index(f"{s3}/one"), open_index(f"{s3}/one")
    ours.add(Y[:50])
    ours.save(f"{s3}/one")
    assert open_index(f"{s3}/one").n == len(X) + 50
    # It was opened before, and the change would be lost.
    other.add(Y[50:60])
    with pytest.raises(BusyError, match="another version was published"):
        other.save(f"{s3}/one")
    with pytest.raises(InputError, match="only a local folder can be mapped"):
        open_index(f"{s3}/one", mmap=True)


def test_damage_there_is_found(s3, index):
    index.save(s3)
    (name,) = (name for name in content_at(s3) if name.endswith(".faiss"))
    system = fsspec.filesystem("s3")
    whole = system.cat_file(f"{s3}/{name}")
    for damaged in (whole[:-1], whole[:100] + b"x" + whole[101:]):
        system.pipe_file(f"{s3}/{name}", damaged)
        with pytest.raises(IntegrityError, match=f"{s3}/{name}"):
            open_index(s3)
    system.rm_file(f"{s3}/{name}")
    with pytest.raises(IntegrityError, match=f"{name}: is missing"):
        open_index(s3)
    system.pipe_file(f"{s3}/{MANIFEST}", b"{}")
    with pytest.raises(FileFormatError, match="not the manifest of a dqindex index"):
        open_index(s3)
    with pytest.raises(StorageError, match="no index there"):
        open_index(f"{s3}/none")


def test_a_reader_sees_one_whole_version_while_it_is_replaced(s3, index, newer, monkeypatch):
    """The files of the version that a reader began with go before it opens them."""
    index.save(s3)
    read, turns = folder_module.read_manifest, iter([True])

    def late(path: Any) -> Any:
        manifest = read(path)
        if next(turns, False):
            newer.save(s3)
        return manifest

    monkeypatch.setattr(folder_module, "read_manifest", late)
    same(open_index(s3), newer)


# Killed half-way.


KILLED = """
    import json, os, signal, sys
    import dqindex.cli.build, dqindex.cli.sids.extract, dqindex.index.build, s3fs, botocore.auth
    from dqindex.cli import cli
    from dqindex.places import put
    send = put._send
    for left, arguments in json.loads(sys.argv[1]):
        def stop(*what):
            global left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            send(*what)
        put._send = stop
        child = os.fork()
        if not child:
            cli.main(arguments, standalone_mode=False)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, arguments
"""


def test_what_is_killed_leaves_what_stood_there(tmp_path, s3, index, newer):
    """A build killed after one and two puts, a first build before its manifest, a map before it."""
    np.save(tmp_path / "y.npy", Y)
    put_all(tmp_path, s3)
    sids = make_map(X, n_subspaces=4, n_codewords=16)
    for folder in ("one", "two"):
        index.save(f"{s3}/{folder}")
    sids.save(f"{s3}/maps/map.parquet")
    before = {folder: content_at(f"{s3}/{folder}") for folder in ("one", "two", "first", "maps")}
    build = ["build", f"{s3}/y.npy", "--spec", "DQ4,IVF4,PQ4", "-q", "-o"]
    extract = ["sids", "extract", f"{s3}/y.npy", "-L", "4", "-K", "16", "-q", "-o"]
    runs = [
        (2, [*build, f"{s3}/one"]),
        (3, [*build, f"{s3}/two"]),
        (3, [*build, f"{s3}/first"]),
        (2, [*extract, f"{s3}/maps/map.parquet"]),
    ]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), json.dumps(runs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (put, _), (folder, stood) in zip(runs, before.items(), strict=True):
        after = content_at(f"{s3}/{folder}")
        assert {name: after.get(name) for name in stood} == stood
        # What was put goes by its content, and nothing names it.
        assert len(after) == len(stood) + put - 1
    for folder in ("one", "two"):
        same(open_index(f"{s3}/{folder}"), index)
    assert SemanticIds.load(f"{s3}/maps/map.parquet") == sids
    with pytest.raises(StorageError, match="no index there"):
        open_index(f"{s3}/first")
    # And the next is not kept out.
    newer.save(f"{s3}/first")
    same(open_index(f"{s3}/first"), newer)


@pytest.mark.parametrize("failing", ["upload_part", "complete_multipart_upload"])
def test_a_large_object_comes_whole_or_not_at_all(s3, monkeypatch, failing):
    monkeypatch.setattr(put_module, "PART", 5 * 2**20)
    system = fsspec.filesystem("s3", use_listings_cache=False)
    content = np.random.default_rng(0).bytes(11 * 2**20)
    path = place(f"{s3}/large")
    assert isinstance(path, RemotePath)

    def write() -> None:
        with atomic_file(path) as file:
            file.write(content)

    write()
    assert path.read_bytes() == content
    call = type(system).call_s3

    def fail(self: Any, method: str, **arguments: Any) -> Any:
        if method == failing:
            raise OSError("the line is dead")
        return call(self, method, **arguments)

    monkeypatch.setattr(type(system), "call_s3", fail)
    content = content[::-1]
    with pytest.raises(StorageError, match=r"large: cannot be written \(the line is dead\)"):
        write()
    monkeypatch.setattr(type(system), "call_s3", call)
    assert path.read_bytes() == content[::-1]
    assert not system.call_s3("list_multipart_uploads", Bucket="bucket").get("Uploads")


# Two at once.


def writer_of(index: Any, uri: str) -> tuple[Any, Callable[[], None]]:
    """A writer that has begun, and what ends it."""
    # As in a thread of its own.
    context = contextvars.copy_context()
    manager = write_folder(uri)
    writer = context.run(manager.__enter__)

    def end() -> None:
        try:
            context.run(index.save, writer)
        except BaseException:
            assert not context.run(manager.__exit__, *sys.exc_info())
            raise
        context.run(manager.__exit__, None, None, None)

    return writer, end


def lie(monkeypatch: Any) -> None:
    """Let a writer see what it saw at first, as if the other came just after it looked."""
    seen: dict[RemotePath, State | None] = {}
    state = RemotePath.state

    def first(self: RemotePath) -> State | None:
        return seen.setdefault(self, state(self)) if self.name == MANIFEST else state(self)

    monkeypatch.setattr(RemotePath, "state", first)


@pytest.mark.parametrize("stands", [False, True])
@pytest.mark.parametrize("close", [False, True])
def test_the_second_writer_is_refused(s3, index, newer, monkeypatch, stands, close):
    """By the store itself where both look before either puts."""
    oldest = build_index(X[:400], "DQ4,IVF4,PQ4")
    if stands:
        oldest.save(s3)
    _, end_first = writer_of(index, s3)
    if close:
        lie(monkeypatch)
    _, end_second = writer_of(newer, s3)
    end_first()
    with pytest.raises(BusyError, match=r"manifest\.json: another process has written it"):
        end_second()
    monkeypatch.undo()
    same(open_index(s3), index)
    newer.save(s3)
    same(open_index(s3), newer)


@pytest.mark.parametrize("stands", [False, True])
def test_the_second_writer_is_refused_where_the_store_offers_nothing(request, index, newer, stands):
    uri = f"memory://{request.node.name}"
    if stands:
        build_index(X[:400], "DQ4,IVF4,PQ4").save(uri)
    _, end_first = writer_of(index, uri)
    _, end_second = writer_of(newer, uri)
    end_first()
    with pytest.raises(BusyError):
        end_second()
    same(open_index(uri), index)


def test_a_server_that_knows_no_conditions_is_written_to(s3, index, newer, monkeypatch):
    system = type(fsspec.filesystem("s3"))
    call = system.call_s3

    def old(self: Any, method: str, **arguments: Any) -> Any:
        if {"IfMatch", "IfNoneMatch"} & set(arguments):
            cause = OSError("NotImplemented")
            cause.response = {"Error": {"Code": "NotImplemented"}}  # type: ignore[attr-defined]
            raise OSError("a header is not implemented") from cause
        return call(self, method, **arguments)

    monkeypatch.setattr(system, "call_s3", old)
    index.save(s3)
    newer.save(s3)
    same(open_index(s3), newer)


def test_an_answer_that_was_lost_is_no_other_writer(s3, index, monkeypatch):
    """The request is sent again, and finds its own object."""
    system = type(fsspec.filesystem("s3"))
    call = system.call_s3

    def twice(self: Any, method: str, **arguments: Any) -> Any:
        if method == "put_object" and {"IfMatch", "IfNoneMatch"} & set(arguments):
            call(self, method, **arguments)
        return call(self, method, **arguments)

    monkeypatch.setattr(system, "call_s3", twice)
    for _ in range(2):
        index.save(s3)
        same(open_index(s3), index)


def test_two_that_add_to_one_map_lose_nothing(s3):
    path = place(f"{s3}/map.parquet")
    whole = make_map(X[:500], n_subspaces=4, n_codewords=16)
    whole.save(path)
    with exclusive(path):
        ours = SemanticIds.load(path)
        ours.model = whole.model
        more, _ = ours.append(X[500:550])
        with exclusive(path):
            other, _ = whole.append(X[550:])
            other.save(path)
        with pytest.raises(BusyError, match=r"map\.parquet: another process has written it"):
            more.save(path)
    assert SemanticIds.load(path) == other


def test_what_is_held_may_be_written_twice_by_its_holder(store):
    path = place(f"{store}/one")
    with exclusive(path):
        for content in (b"1", b"2"):
            with atomic_file(path) as file:
                file.write(content)
    assert path.read_bytes() == b"2"


# What is ours, and what is not.


def test_only_what_is_ours_and_old_goes(s3, index, newer, monkeypatch):
    system = fsspec.filesystem("s3")
    index.save(s3)
    (model,) = (name for name in content_at(s3) if name.startswith("model"))
    lost = f"index-{'0' * 16}.faiss"
    system.pipe_file(f"{s3}/{lost}", b"somebody's")
    with write_folder(s3) as writer:
        writer.write("ids", lambda file: file.write(b"left behind"))
    (orphan,) = (name for name in content_at(s3) if name.startswith("ids"))
    system.pipe_file(f"{s3}/notes.txt", b"mine")
    newer.save(s3)
    # Another writer may be about to name it.
    assert orphan in content_at(s3)
    assert model not in content_at(s3)
    monkeypatch.setattr(folder_module, "LEFT_BEHIND", timedelta(days=-1))
    index.save(s3)
    assert orphan not in content_at(s3)
    assert content_at(s3)[lost] == b"somebody's"
    assert content_at(s3)["notes.txt"] == b"mine"


def test_a_folder_with_other_things_is_no_place_for_an_index(s3, index):
    fsspec.filesystem("s3").pipe_file(f"{s3}/ix/notes.txt", b"mine")
    with pytest.raises(StorageError, match=r"ix: holds files, but no index \(notes.txt\)"):
        index.save(f"{s3}/ix")
    fsspec.filesystem("s3").pipe_file(f"{s3}/file", b"mine")
    with pytest.raises(StorageError, match="file: is a file; name a new folder"):
        index.save(f"{s3}/file")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("s3://no-such-bucket/m.parquet", "there is no bucket 'no-such-bucket'"),
        ("s3://bucket", "names a bucket and nothing in it"),
        (f"https://host/m.parquet?Signature={SECRET}", "https:// can only be read"),
    ],
)
def test_where_nothing_can_be_written(s3_server, output, message):
    model, sids = DQModel(2, 4).fit(X), make_map(X, n_subspaces=2, n_codewords=32)
    for write in (check_writable, model.save, build_index(X, "Flat").save, sids.save):
        with pytest.raises(StorageError, match=message) as caught:
            write(output)
        assert SECRET not in str(caught.value)


def test_an_output_that_is_an_input_is_refused(tmp_path, s3):
    (tmp_path / "parts").mkdir()
    np.save(tmp_path / "x.npy", X)
    pq.write_table(open_vectors_table(), tmp_path / "parts" / "x.parquet")
    put_all(tmp_path, s3)
    before = content_at(s3)
    for vectors, output, words in (
        (f"{s3}/x.npy", f"{s3}/x.npy", "is the input"),
        (f"{s3}/parts", f"{s3}/parts/x.parquet", "lies in the folder"),
        (f"{s3}/parts/*", f"{s3}/parts/x.parquet", "is the input"),
    ):
        with pytest.raises(InputError, match=words):
            command("fit", vectors, "-o", output)
    assert content_at(s3) == before


def open_vectors_table() -> Any:
    import pyarrow as pa

    return pa.table({"v": list(X)})


def test_rows_that_are_left_out_are_told_there(tmp_path, s3):
    x = X.copy()
    x[7, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    put_all(tmp_path, s3)
    command("fit", f"{s3}/x.npy", "-o", f"{s3}/m.safetensors", "--skip-invalid", "-q")
    written = content_at(s3)["m.safetensors.skipped.parquet"]
    assert pq.read_table(io.BytesIO(written))["item_id"].to_pylist() == [7]
    assert open_vectors(f"{s3}/x.npy", skip_invalid=True).skipped.tolist() == [7]


def test_names_say_where_it_is(tmp_path):
    with pytest.raises(StorageError, match="no-such-folder"):
        DQModel(2, 4).fit(X).save(f"file://{tmp_path}/no-such-folder/m.safetensors")
    DQModel(2, 4).fit(X).save(f"file://{tmp_path}/m.safetensors")
    assert Path(tmp_path / "m.safetensors").is_file()
