"""Vectors behind URIs: of every format the same as here, in parts, and with one error a fault."""

from __future__ import annotations

import http.server
import importlib
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import SECRET, put_all
from test_vectors_kinds import KINDS, NAMES, N, X, table

from dqindex import DQModel, open_index, open_vectors, read_sids
from dqindex import semantic_ids as make_map
from dqindex.cli import cli
from dqindex.errors import (
    DQIndexError,
    FileFormatError,
    InputError,
    MissingDependencyError,
    StorageError,
)
from dqindex.places import content
from dqindex.places.ahead import ahead
from dqindex.places.content import RemoteContent
from dqindex.places.place import RemotePath, is_glob, matching, place, shown
from dqindex.places.refusals import scrubbed, told
from dqindex.storage.files import check_writable
from dqindex.vectors import read_ids
from dqindex.vectors.id_list import read_id_list

fsspec = pytest.importorskip("fsspec", reason="the extra cloud is not installed")

FILES = [
    name
    for name in KINDS
    if name.startswith(".") or name.partition(",")[0] in ("folder", "glob", "list of paths")
]


@pytest.fixture(scope="module")
def model() -> DQModel:
    return DQModel(4, 16).fit(X)


@pytest.mark.parametrize("name", FILES)
def test_a_uri_gives_what_the_file_gives(tmp_path, s3, model, name):
    kind = KINDS[name]
    if kind.needs is not None:
        pytest.importorskip(kind.needs, reason=f"{name}: {kind.needs} is not installed")
    here = kind.make(tmp_path)
    put_all(tmp_path, s3)

    def there(path: Any) -> str:
        return str(path).replace(str(tmp_path), s3)

    local = open_vectors(here)
    source = open_vectors([there(one) for one in here] if isinstance(here, list) else there(here))
    assert (source.n, source.d, source.dtype) == (local.n, local.d, local.dtype)
    assert (source.ids.to_pylist() if kind.ids else source.ids) == (NAMES if kind.ids else None)
    for rows in (64, N):
        codes = [codes for codes, _ in model.encode_blocks(source.blocks(rows))]
        right = [codes for codes, _ in model.encode_blocks(local.blocks(rows))]
        np.testing.assert_array_equal(np.concatenate(codes), np.concatenate(right))
    some = [250, 3, 3, 99, 100]
    np.testing.assert_array_equal(source.rows(some), local.rows(some))


@pytest.mark.parametrize("form", [".parquet", ".npy"])
def test_other_kinds_of_uri(tmp_path, s3, s3_server, model, form):
    """Memory, this machine, and the web, which here is the same server."""
    KINDS[form].make(tmp_path)
    put_all(tmp_path, s3)
    fsspec.filesystem("s3").chmod(f"{s3}/x{form}", "public-read")
    put_all(tmp_path, f"memory://{s3.rpartition('/')[2]}")
    web = s3.replace("s3://", f"{s3_server}/")
    for uri in (
        f"memory://{s3.rpartition('/')[2]}/x{form}",
        f"file://{tmp_path}/x{form}",
        f"{web}/x{form}",
        f"{web}/x{form}?X-Amz-Signature={SECRET}",
    ):
        source = open_vectors(uri)
        np.testing.assert_array_equal(source.read(), X)
        assert SECRET not in repr(source)


def test_ids_from_a_uri(tmp_path, s3):
    np.save(tmp_path / "ids.npy", np.arange(5) * 3)
    pq.write_table(pa.table({"name": NAMES, "other": NAMES}), tmp_path / "ids.parquet")
    put_all(tmp_path, s3)
    assert read_ids(f"{s3}/ids.npy").to_pylist() == [0, 3, 6, 9, 12]
    assert read_ids(f"{s3}/ids.parquet", "name").to_pylist() == NAMES
    with pytest.raises(InputError, match="name the id column"):
        read_ids(f"{s3}/ids.parquet")


def test_a_hive_tree_has_its_columns_and_its_order(tmp_path, s3):
    for shard in (10, 2):
        folder = tmp_path / f"shard={shard}"
        folder.mkdir()
        pq.write_table(table().slice(shard, 1), folder / "part.parquet")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part.parquet").write_bytes(b"nothing")
    put_all(tmp_path, s3)
    for source in (s3, f"{s3}/", f"{s3}/*", f"{s3}/**/*.parquet"):
        found = open_vectors(source, id_column="shard")
        assert found.ids.to_pylist() == [2, 10]
        np.testing.assert_array_equal(found.read(), X[[2, 10]])


@pytest.mark.parametrize("pattern", ["*", "*/*.pq", "**/*.pq", "a/?.pq", "[ab]/1.pq", "a/[!1].pq"])
def test_patterns_mean_what_they_mean_here(tmp_path, s3, pattern):
    for name in ("a/1.pq", "a/2.pq", "b/1.pq", "b/c/3.pq", "4.pq", "a/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    put_all(tmp_path, s3)
    here = {str(one.relative_to(tmp_path)) for one in matching(f"{tmp_path}/{pattern}")}
    root = place(s3)
    there = {str(one.relative_to(root)) for one in matching(f"{s3}/{pattern}")}
    assert here
    assert there == here
    assert is_glob(f"{s3}/{pattern}")


# In parts.


@pytest.fixture
def fetches(monkeypatch) -> list[tuple[str, int, int]]:
    """The ranges that are fetched: name, first byte, length."""
    seen: list[tuple[str, int, int]] = []
    read = RemoteContent.read

    def listen(self: RemoteContent, start: int, length: int) -> bytes:
        seen.append((self.path.name, start, length))
        return read(self, start, length)

    monkeypatch.setattr(RemoteContent, "read", listen)
    return seen


def test_rows_touch_their_row_groups_and_columns_only(tmp_path, s3, fetches, monkeypatch):
    monkeypatch.setattr(content, "GAP", 0)
    big = table().append_column("text", pa.array(["x" * 1000] * N))
    pq.write_table(big, tmp_path / "x.parquet", row_group_size=30, use_dictionary=False)
    put_all(tmp_path, s3)
    source = open_vectors(f"{s3}/x.parquet")
    fetches.clear()
    np.testing.assert_array_equal(source.rows([31, 65, 33]), X[[31, 65, 33]])
    metadata = pq.read_metadata(tmp_path / "x.parquet")
    column = metadata.schema.to_arrow_schema().names.index("v")
    chunks = [metadata.row_group(group).column(column) for group in (1, 2)]
    assert [start for _, start, _ in fetches] == [chunk.data_page_offset for chunk in chunks]
    assert sum(length for _, _, length in fetches) == sum(
        chunk.total_compressed_size + 128 for chunk in chunks
    )


def test_rows_of_a_flat_file_touch_their_windows_only(tmp_path, s3, fetches, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    put_all(tmp_path, s3)
    source = open_vectors(f"{s3}/x.npy")
    monkeypatch.setattr(type(source), "default_block_rows", lambda self: 10)
    fetches.clear()
    np.testing.assert_array_equal(source.rows([31, 205]), X[[31, 205]])
    assert [length for _, _, length in fetches] == [10 * X.strides[0]] * 2


def test_the_next_is_fetched_while_this_is_used():
    begun = threading.Event()

    def second() -> str:
        begun.set()
        return "second"

    results = ahead([lambda: "first", second])
    assert next(results) == "first"
    # Nobody asked for it yet.
    assert begun.wait(30)
    assert list(results) == ["second"]


def test_what_is_no_longer_wanted_is_not_fetched():
    calls: list[int] = []
    with closing(ahead([partial(calls.append, place) for place in range(100)])) as results:
        next(results)
    assert len(calls) <= 2


def test_an_error_ahead_is_raised_at_its_place():
    def fail() -> int:
        raise StorageError("gone")

    results = ahead([lambda: 1, fail, lambda: 3])
    assert next(results) == 1
    with pytest.raises(StorageError, match="gone"):
        next(results)


def test_many_pieces_make_one_file(tmp_path, s3, monkeypatch):
    monkeypatch.setattr(content, "PIECE", 1500)
    for name in (".npy", ".npy, Fortran", ".parquet", ".feather", ".safetensors", ".fvecs"):
        folder = tmp_path / name
        folder.mkdir()
        here = KINDS[name].make(folder)
        put_all(folder, f"{s3}/{name}")
        there = str(here).replace(str(folder), f"{s3}/{name}")
        np.testing.assert_array_equal(open_vectors(there).read(), X)


# What goes wrong.


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://no-such-bucket/x.npy", "no-such-bucket/x.npy: there is no bucket 'no-such-bucket'"),
        ("s3://bucket/none.parquet", "none.parquet: no such file"),
        ("s3://bucket/none-*.parquet", "no file matches"),
        ("memory://none.npy", "no such file"),
    ],
)
def test_what_is_not_there(s3_server, uri, message):
    with pytest.raises(StorageError, match=message):
        open_vectors(uri)
    with pytest.raises(StorageError, match=r"no such file|there is no bucket"):
        read_ids(uri.replace("-*", ""))


def test_every_reader_says_that_there_is_no_bucket(s3_server):
    for read in (DQModel.load, open_index, read_sids, open_vectors, read_ids, read_id_list):
        given = {"integers": True} if read is read_id_list else {}
        for name in ("x", "x.parquet"):
            with pytest.raises(StorageError, match="there is no bucket 'no-such-bucket'"):
                read(f"s3://no-such-bucket/{name}", **given)
        with pytest.raises(StorageError, match=r"no such file|no index there"):
            read("s3://bucket/none.parquet", **given)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nix://bucket/x.npy", "nix://: is not a kind of URI that dqindex reads; use one of s3://"),
        (f"s3://me:{SECRET}@bucket/x.npy", "s3://: this URI holds a password"),
        ("file://elsewhere/x.npy", "is not on this machine"),
        (
            Path("s3://bucket/x.npy"),
            "a Path drops one of the slashes of a URI; give the URI as text",
        ),
    ],
)
def test_what_is_no_uri(uri, message):
    with pytest.raises(InputError, match=message) as caught:
        open_vectors(uri)
    assert SECRET not in str(caught.value)


def test_what_is_not_permitted(tmp_path, s3, s3_server):
    import requests

    np.save(tmp_path / "x.npy", X)
    put_all(tmp_path, s3)
    # From here on the server asks who it is, and nobody is known to it.
    requests.post(f"{s3_server}/moto-api/reset-auth", data=b"0", timeout=30)
    try:
        with pytest.raises(StorageError, match=r"x\.npy: cannot be read \(not permitted\)"):
            open_vectors(f"{s3}/x.npy")
        with pytest.raises(StorageError, match=r"m\.safetensors: cannot be written \(not permitt"):
            DQModel(2, 4).fit(X).save(f"{s3}/m.safetensors")
        with pytest.raises(StorageError, match="not permitted") as caught:
            check_writable(f"{s3}/codes.npy")
    finally:
        requests.post(f"{s3_server}/moto-api/reset-auth", data=b"inf", timeout=30)
    shown = "".join(traceback.format_exception(caught.value))
    assert "somebody" not in shown
    assert SECRET not in shown


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("hf", "huggi")])
@pytest.mark.parametrize("absent", ["fsspec", None])
def test_a_package_that_is_missing(monkeypatch, scheme, package, absent):
    real = importlib.import_module

    def without(name: str) -> Any:
        if name == absent or name.startswith(package):
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(
        MissingDependencyError, match=rf"{scheme}://.*pip install 'dqindex\[cloud\]"
    ):
        open_vectors(f"{scheme}://bucket/x.npy")


def test_an_object_that_is_replaced_while_it_is_read(tmp_path, s3):
    for name in ("x.npy", "x.parquet"):
        KINDS[Path(name).suffix].make(tmp_path)
        put_all(tmp_path, s3)
        source = open_vectors(f"{s3}/{name}")
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[::-1])
        put_all(tmp_path, s3)
        with pytest.raises(StorageError, match=f"{name}: was replaced while it was read"):
            source.read()


def test_an_object_that_goes_while_it_is_read(tmp_path, s3):
    for name in ("x.npy", "x.parquet"):
        KINDS[Path(name).suffix].make(tmp_path)
        put_all(tmp_path, s3)
        source = open_vectors(f"{s3}/{name}")
        place(f"{s3}/{name}").unlink()
        with pytest.raises(DQIndexError, match=name):
            source.read()


@pytest.mark.parametrize(
    "suffix", [".npy", ".fvecs", ".fbin", ".parquet", ".arrow", ".safetensors"]
)
def test_a_damaged_object_is_refused(tmp_path, s3, suffix):
    here = KINDS[suffix].make(tmp_path)
    name = Path(str(here).partition(":")[0]).name
    whole = (tmp_path / name).read_bytes()
    for damaged in (b"", b"\xff" * 100, whole[:-3], whole[: len(whole) // 2 - 1]):
        (tmp_path / name).write_bytes(damaged)
        put_all(tmp_path, s3)
        with pytest.raises(FileFormatError, match=rf"{s3}/{name}"):
            open_vectors(f"{s3}/{name}").read()


class _Whole(http.server.BaseHTTPRequestHandler):
    """A server that gives whole files, whatever part is asked for."""

    body = bytes(1000)
    tells = True

    def do_GET(self) -> None:
        self.send_response(200)
        if self.tells:
            self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self.body)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture
def whole_files() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Whole) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("tells", [True, False])
def test_a_server_that_gives_no_parts(whole_files, monkeypatch, tells):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(_Whole, "tells", tells)
    with pytest.raises(StorageError, match="download it first"):
        open_vectors(f"{whole_files}/x.fbin?Signature={SECRET}")


@pytest.fixture(params=["dead", "broken"])
def failing_server(request, monkeypatch) -> Iterator[tuple[str, str]]:
    """The address of a server that is down, or that fails, and what is to be said of it."""
    pytest.importorskip("aiohttp")
    if request.param == "dead":
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        yield f"http://127.0.0.1:{port}", r"no connection to 127\.0\.0\.1\); see that its server"
        return
    monkeypatch.setattr(_Whole, "do_GET", lambda self: self.send_error(500))
    monkeypatch.setattr(_Whole, "do_HEAD", lambda self: self.send_error(500))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Whole) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", "500"
        server.shutdown()
        thread.join()


def test_a_server_that_fails_is_no_missing_file(failing_server):
    address, message = failing_server
    for read in (DQModel.load, open_index, read_sids, open_vectors, read_ids):
        for name in ("x.npy", "x.parquet"):
            with pytest.raises(StorageError, match=f"cannot be read .*{message}") as caught:
                read(f"{address}/{name}")
            assert "no such" not in str(caught.value)


def test_a_file_that_a_server_lacks_is_a_missing_file(whole_files, monkeypatch):
    monkeypatch.setattr(_Whole, "do_GET", lambda self: self.send_error(404))
    monkeypatch.setattr(_Whole, "do_HEAD", lambda self: self.send_error(404))
    with pytest.raises(StorageError, match="no such file"):
        open_vectors(f"{whole_files}/x.npy")


# What errors say.


class _Answer(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"GET https://me:{SECRET}@host/x?Signature={SECRET} said {status}")
        self.status = status


class NoCredentialsError(Exception):
    """As botocore calls it."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError("x"), "not permitted"),
        (_Answer(401), "not permitted"),
        (_Answer(403), "not permitted"),
        (_Answer(500), "https://host/x"),
        (NoCredentialsError("x"), "no credentials"),
        (ValueError(f"key {SECRET} is wrong"), "key … is wrong"),
        (ValueError(""), "ValueError"),
    ],
)
def test_what_a_store_says_is_told_without_secrets(monkeypatch, error, message):
    monkeypatch.setenv("SOME_SECRET_KEY", SECRET)
    with pytest.raises(StorageError, match=message) as caught, told("s3://b/x", "be read"):
        raise error
    assert str(caught.value).startswith("s3://b/x: cannot be read (")
    assert SECRET not in str(caught.value)
    assert SECRET not in scrubbed(error)
    assert caught.value.__suppress_context__


def test_nothing_there_is_told_as_that():
    with pytest.raises(FileNotFoundError) as caught, told("s3://b/x", "be read"):
        raise _Answer(404)
    assert caught.value.filename == "s3://b/x"


def test_a_condition_that_does_not_hold_is_told_as_that():
    with pytest.raises(FileExistsError), told("gs://b/x", "be written"):
        raise _Answer(412)


def test_no_command_tells_a_signature(tmp_path, s3, s3_server):
    """What is printed and what is recorded, of everything that a URI may be given for."""
    signed = f"?X-Amz-Signature={SECRET}"
    np.save(tmp_path / "x.npy", X)
    make_map(X, n_subspaces=2, n_codewords=64).save(tmp_path / "map.parquet")
    model = DQModel(2, 16).fit(X)
    model.save(tmp_path / "m.safetensors")
    np.save(tmp_path / "codes.npy", model.encode(X))
    put_all(tmp_path, s3)
    web = s3.replace("s3://", f"{s3_server}/")
    for name in ("x.npy", "map.parquet", "m.safetensors", "codes.npy"):
        fsspec.filesystem("s3").chmod(f"{s3}/{name}", "public-read")

    def at(name: str) -> str:
        return f"{web}/{name}{signed}"

    lines = [
        ["info", at("map.parquet")],
        ["info", at("m.safetensors")],
        ["info", at("none.npy")],
        ["encode", at("m.safetensors"), at("x.npy"), "-o", str(tmp_path / "c.npy")],
        ["decode", at("m.safetensors"), at("codes.npy"), "-o", str(tmp_path / "back.npy")],
        ["decode", at("m.safetensors"), at("x.npy"), "-o", str(tmp_path / "back.npy")],
        ["sids", "evaluate", at("map.parquet"), "--vectors", at("x.npy")],
        ["sids", "append", at("map.parquet"), at("x.npy"), "-o", str(tmp_path / "more.parquet")],
        ["fit", at("x.npy"), "-o", at("m.safetensors")],
        ["validate", at("x.npy"), "-L", "2", "-K", "16"],
        ["build", at("x.npy"), "-o", str(tmp_path / "ix"), "--spec", "IVF4,Flat"],
        ["search", at("x.npy"), at("x.npy")],
    ]
    for line in lines:
        result = CliRunner().invoke(cli, line)
        told_all = result.output + str(result.exception or "")
        assert SECRET not in told_all, line
        assert isinstance(result.exception, DQIndexError | SystemExit | None), line
    assert (tmp_path / "back.npy").exists()
    assert (tmp_path / "ix").is_dir()
    assert shown(at("x.npy")).endswith("/x.npy?…")


# Names.


def test_a_remote_path_is_named_as_a_path_is():
    for text in ("bucket/a/b.c.npy", "bucket/x", "bucket/.hidden"):
        there, here = place(f"s3://{text}"), Path(text)
        assert isinstance(there, RemotePath)
        for what in ("name", "stem", "suffix", "parts"):
            assert getattr(there, what) == getattr(here, what)
        assert str(there.parent) == f"s3://{here.parent}"
        assert str(there.with_name("z")) == f"s3://{here.with_name('z')}"
        assert str(there / "z") == f"s3://{here / 'z'}"
    assert place("S3://bucket/a") == place("s3://bucket/a/") != place("s3://bucket/A")
    assert place("s3://bucket/a").within(place("s3://bucket"))
    assert not place("s3://bucket/ab").within(place("s3://bucket/a"))
    assert not place("gs://bucket/a/b").within(place("s3://bucket/a"))
    assert place(Path("x")) == Path("x")
    assert place("file:///tmp/a%20b") == place("file://localhost/tmp/a%20b") == Path("/tmp/a b")
    web = place(f"https://host/a/x.npy?sig={SECRET}")
    assert (web.name, web.suffix, str(web)) == ("x.npy", ".npy", "https://host/a/x.npy?…")
    assert web.uri.endswith(SECRET)


@pytest.mark.parametrize("form", ["tree", "tree/", "tree/*", "tree/**"])
def test_marks_of_folders_are_no_files(tmp_path, s3, form):
    """A console makes an object ``NAME/`` of 0 bytes when it makes a folder."""
    put_all(with_two_files(tmp_path), s3)
    system = fsspec.filesystem("s3")
    bucket, _, key = s3.removeprefix("s3://").partition("/")
    for name in ("tree/", "tree/sub.parquet/", "tree/other.parquet/"):
        system.call_s3("put_object", Bucket=bucket, Key=f"{key}/{name}", Body=b"")
    system.invalidate_cache()
    assert open_vectors(f"{s3}/{form}").n == 2


def with_two_files(folder: Path) -> Path:
    """`folder` with two files in it, one in a folder that is called as a file is."""
    for file in ("tree/x.parquet", "tree/sub.parquet/y.parquet"):
        (folder / file).parent.mkdir(exist_ok=True, parents=True)
        pq.write_table(pa.table({"v": [[1.0, 2.0]]}), folder / file)
    return folder
