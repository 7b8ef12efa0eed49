"""Every kind of source that docs/vectors.md names, with its real library.

Each holds the same vectors; each must give the codes that the ``.npy`` gives, bit for bit, and the
ids that the table says. A library that is not installed is skipped, and named.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import textwrap
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from conftest import clustered, put_all
from test_vectors import write_bin, write_hdf5, write_safetensors, write_vecs

from dqindex import DQModel, build_index, open_vectors
from dqindex.errors import DQWarning, FileFormatError, InputError
from dqindex.vectors import source as source_module

DOCS = Path(__file__).parent.parent / "docs" / "vectors.md"
N, D = 300, 8
X = clustered(N, D, seed=2)
NAMES = [f"item {row}" for row in range(N)]


class Kind(NamedTuple):
    """How vectors become a source of the kind, and what is lost on the way to it."""

    make: Callable[[Path], Any]
    ids: bool = False
    # What the kind can hold of X.
    x: Callable[[np.ndarray], np.ndarray] = lambda x: x
    needs: str | None = None


def table() -> pa.Table:
    return pa.table({"item_id": NAMES, "v": pa.FixedSizeListArray.from_arrays(X.ravel(), D)})


def bfloat16(x: np.ndarray) -> np.ndarray:
    """What is left of float32 in bfloat16, rounded to the nearest and to even."""
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def library(name: str) -> Any:
    return importlib.import_module(name)


def save(path: Path, x: np.ndarray) -> Path:
    np.save(path / "x.npy", x)
    return path / "x.npy"


def saved(write: Callable[..., object], name: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        write(table(), path / name)
        return path / name

    return make


def hive(path: Path) -> Path:
    for place in range(3):
        folder = path / "tree" / f"shard={place}"
        folder.mkdir(parents=True)
        pq.write_table(table().slice(place * 100, 100), folder / "part.parquet", row_group_size=30)
    return path / "tree"


def in_memory(path: Path) -> str:
    """Of a store, s3:// is tried with every format in test_places_reading.py."""
    put_all(hive(path), f"memory://{path.name}")
    return f"memory://{path.name}"


def blocks(source: Any) -> Iterator[Any]:
    for start in range(0, N, 64):
        yield source[start : start + 64]


class OnlyDlpack:
    """What offers DLPack and nothing else."""

    def __dlpack__(self, **options: Any) -> Any:
        return X.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return X.__dlpack_device__()


class OnlyStream:
    """What offers the Arrow stream and nothing else, as a database's cursor may."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return table().__arrow_c_stream__(requested_schema)


def pandas_wide(path: Path) -> Any:
    return library("pandas").DataFrame(X).assign(item_id=NAMES)


def pandas_index(path: Path) -> Any:
    pandas = library("pandas")
    return pandas.DataFrame(X, index=pandas.Index(NAMES, name="item_id"))


def lance(path: Path) -> Any:
    library("lance").write_dataset(table(), path / "x.lance", max_rows_per_file=100)
    return library("lance").dataset(path / "x.lance")


def duckdb(path: Path) -> Any:
    return library("duckdb").connect().from_arrow(table())


def hugging_face(path: Path) -> Any:
    return library("datasets").Dataset(table())


def chosen_rows(path: Path) -> Any:
    """Rows that were turned around, and turned again by a selection."""
    turned = table().take(pa.array(range(N - 1, -1, -1)))
    return library("datasets").Dataset(turned).select(range(N - 1, -1, -1))


def hugging_face_folder(path: Path) -> Any:
    library("datasets").Dataset(table()).save_to_disk(path / "saved")
    return path / "saved"


def zarr(path: Path) -> Any:
    return library("zarr").array(X, chunks=(64, 3))


def torch(dtype: str) -> Callable[[Path], Any]:
    def make(path: Path) -> Any:
        module = library("torch")
        return module.tensor(X, dtype=getattr(module, dtype)).requires_grad_()

    return make


def torch_safetensors(path: Path) -> Path:
    save_file = library("safetensors.torch").save_file
    save_file({"emb": library("torch").tensor(X).bfloat16()}, path / "x.safetensors")
    return path / "x.safetensors"


def jax(dtype: str) -> Callable[[Path], Any]:
    return lambda path: library("jax.numpy").asarray(X, dtype=dtype)


KINDS: dict[str, Kind] = {
    ".npy": Kind(lambda path: save(path, X)),
    ".npy, float64": Kind(lambda path: save(path, X.astype(np.float64))),
    ".npy, float16": Kind(
        lambda path: save(path, X.astype(np.float16)), x=lambda x: x.astype("f2").astype("f4")
    ),
    ".npy, Fortran": Kind(lambda path: save(path, np.asfortranarray(X))),
    ".fvecs": Kind(lambda path: write_vecs(".fvecs")(path, X)),
    ".bvecs": Kind(
        lambda path: write_vecs(".bvecs")(path, np.abs(X * 9).astype("u1")),
        x=lambda x: np.abs(x * 9).astype("u1").astype("f4"),
    ),
    ".ivecs": Kind(
        lambda path: write_vecs(".ivecs")(path, np.round(X * 9).astype("i4")),
        x=lambda x: np.round(x * 9),
    ),
    ".fbin": Kind(lambda path: write_bin(".fbin")(path, X)),
    ".u8bin": Kind(
        lambda path: write_bin(".u8bin")(path, np.abs(X * 9).astype("u1")),
        x=lambda x: np.abs(x * 9).astype("u1").astype("f4"),
    ),
    ".i8bin": Kind(
        lambda path: write_bin(".i8bin")(path, np.round(X * 9).astype("i1")),
        x=lambda x: np.round(x * 9).astype("i1").astype("f4"),
    ),
    ".ibin": Kind(
        lambda path: write_bin(".ibin")(path, np.round(X * 9).astype("i4")),
        x=lambda x: np.round(x * 9),
    ),
    ".hdf5": Kind(lambda path: write_hdf5(path, X), needs="h5py"),
    ".safetensors": Kind(lambda path: write_safetensors(path, X)),
    ".safetensors, bfloat16": Kind(torch_safetensors, x=bfloat16, needs="torch"),
    ".parquet": Kind(saved(pq.write_table, "x.parquet"), ids=True),
    ".feather": Kind(saved(feather.write_feather, "x.feather"), ids=True),
    ".arrow": Kind(
        saved(lambda table, path: feather.write_feather(table, path), "x.arrow"), ids=True
    ),
    "folder": Kind(hive, ids=True),
    "glob": Kind(lambda path: f"{hive(path)}/*/*.parquet", ids=True),
    "list of paths": Kind(lambda path: sorted(hive(path).iterdir()), ids=True),
    "URI": Kind(in_memory, ids=True, needs="fsspec"),
    "URI, file": Kind(lambda path: save(path, X).as_uri()),
    "numpy array": Kind(lambda path: X),
    "list": Kind(lambda path: X.tolist()),
    "ml_dtypes.bfloat16": Kind(
        lambda path: X.astype(library("ml_dtypes").bfloat16), x=bfloat16, needs="ml_dtypes"
    ),
    "DLPack": Kind(lambda path: OnlyDlpack()),
    "torch tensor": Kind(torch("float32"), needs="torch"),
    "torch tensor, bfloat16": Kind(torch("bfloat16"), x=bfloat16, needs="torch"),
    "JAX array": Kind(jax("float32"), needs="jax"),
    "JAX array, bfloat16": Kind(jax("bfloat16"), x=bfloat16, needs="jax"),
    "zarr array": Kind(zarr, needs="zarr"),
    "pa.Table": Kind(lambda path: table(), ids=True),
    "pa.RecordBatch": Kind(lambda path: table().to_batches()[0], ids=True),
    "pa.RecordBatchReader": Kind(lambda path: table().to_reader(64), ids=True),
    "pa.FixedSizeListArray": Kind(lambda path: table()["v"].chunk(0)),
    "pa.FixedShapeTensorArray": Kind(lambda path: pa.FixedShapeTensorArray.from_numpy_ndarray(X)),
    "pa.ListArray": Kind(lambda path: pa.array(list(X))),
    "pa.LargeListArray": Kind(lambda path: pa.array(list(X), pa.large_list(pa.float32()))),
    "pa.ListViewArray": Kind(lambda path: pa.array(list(X), pa.list_view(pa.float32()))),
    "pa.ChunkedArray": Kind(lambda path: pa.chunked_array([list(X[:7]), list(X[7:])])),
    "pyarrow.dataset": Kind(lambda path: ds.dataset(hive(path), partitioning="hive"), ids=True),
    "pyarrow.dataset, filtered": Kind(
        lambda path: ds.dataset(hive(path)).filter(ds.field("item_id") != ""), ids=True
    ),
    "pandas frame": Kind(lambda path: table().to_pandas(), ids=True, needs="pandas"),
    "pandas frame, wide": Kind(pandas_wide, ids=True, needs="pandas"),
    "pandas frame, named index": Kind(pandas_index, ids=True, needs="pandas"),
    "polars frame": Kind(lambda path: library("polars").from_arrow(table()), True, needs="polars"),
    "polars series": Kind(lambda path: library("polars").from_arrow(table())["v"], needs="polars"),
    "DuckDB relation": Kind(duckdb, ids=True, needs="duckdb"),
    "Lance": Kind(lance, ids=True, needs="lance"),
    "datasets.Dataset": Kind(chosen_rows, ids=True, needs="datasets"),
    "datasets.IterableDataset": Kind(
        lambda path: hugging_face(path).to_iterable_dataset(), ids=True, needs="datasets"
    ),
    "datasets, saved": Kind(hugging_face_folder, ids=True, needs="datasets"),
    "__arrow_c_stream__": Kind(lambda path: OnlyStream(), ids=True),
    "generator of arrays": Kind(lambda path: blocks(X)),
    "generator of tables": Kind(lambda path: blocks(_Rows()), ids=True),
}


class _Rows:
    """The table, sliced as an array is."""

    def __getitem__(self, rows: slice) -> pa.Table:
        return table().slice(rows.start, rows.stop - rows.start)


@pytest.fixture(scope="module")
def model() -> DQModel:
    return DQModel(4, 16).fit(X)


@pytest.fixture
def quiet_libraries() -> Iterator[None]:
    """Warnings of the libraries under test, such as of what they deprecate, are theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", DQWarning)
        yield


@pytest.mark.usefixtures("quiet_libraries")
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_gives_the_codes_of_the_npy(tmp_path, model, name):
    kind = KINDS[name]
    if kind.needs is not None:
        pytest.importorskip(kind.needs, reason=f"{name}: {kind.needs} is not installed")
    expected = kind.x(X)
    (tmp_path / "expected").mkdir()
    plain = open_vectors(save(tmp_path / "expected", expected))
    source = open_vectors(kind.make(tmp_path))
    assert (source.n, source.d) == (N, D)
    assert source.has_ids == kind.ids
    assert (source.ids.to_pylist() if kind.ids else source.ids) == (NAMES if kind.ids else None)
    for rows in (64, N):
        codes = [codes for codes, _ in model.encode_blocks(source.blocks(rows))]
        right = [codes for codes, _ in model.encode_blocks(plain.blocks(rows))]
        np.testing.assert_array_equal(np.concatenate(codes), np.concatenate(right))
    np.testing.assert_array_equal(source.read(), expected)
    some = [250, 3, 3, 99, 100]
    np.testing.assert_array_equal(source.rows(some), expected[some])
    np.testing.assert_array_equal(source._window(90, 210), expected[90:210])


def test_every_kind_is_in_the_documentation():
    rows = re.findall(r"^\| `?([^|`]+?)`? \|", DOCS.read_text(), flags=re.MULTILINE)
    documented = {row.strip() for row in rows} - {"source", "---"}
    assert {name.split(", ")[0] for name in KINDS} == documented


# What goes wrong with tables.


def wide(**more: Any) -> pa.Table:
    return pa.table({**{f"x{place}": X[:, place] for place in range(3)}, **more})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (wide(asin=np.arange(N)), "'asin' has integers where others have fractions"),
        (wide(asin=NAMES), "'asin' is string"),
        (wide(flag=np.ones(N, bool)), "'flag' is bool"),
        (pa.table({"asin": [1, 2], "year": [3, 4]}), "any of its columns of integers .asin, year"),
        (pa.table({"x1": [1, 2], "x3": [3, 4]}), "any of its columns of integers"),
        (pa.table({"item_id": NAMES}), "has no column of vectors"),
        (pa.table({"v": [[[1.0]]]}), "column 'v' holds list.*, not numbers"),
        (pa.table({"v": [[True]]}), "column 'v' holds bool"),
        (pa.array([1, 2]), "holds int64, not vectors"),
        (pa.table({"v": pa.array([], pa.list_(pa.float32()))}), "0 dimensions|0 rows"),
        ({"a": [1.0]}, "dict: is not a set of vectors"),
        (None, "NoneType: is not a set of vectors"),
        (b"x.npy", "bytes: is not a set of vectors"),
        (np.ma.masked_less(X, 0), "masked values"),
        ([[1.0], [2.0, 3.0]], "array: is not a set of vectors"),
        (iter([X, X[:, :3]]), "block 1: its vectors are 3 wide where those before are 8"),
        (iter([table(), table().drop(["item_id"])]), "block 1: some blocks have ids"),
        (iter([]), "holds no vectors"),
        (["a.npy", "b.npy"], "a.npy: of a list, Parquet and Arrow files are read, and no .npy"),
        (["a.parquet", "b.fbin.crop_nb_10"], "b.fbin.crop_nb_10: of a list, .* no .fbin"),
    ],
)
def test_what_is_no_set_of_vectors(source, message):
    with pytest.raises((InputError, FileFormatError), match=message):
        open_vectors(source)


class Endless:
    """As a data set of torch: it has a length, and answers any number."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, place: int) -> Any:
        assert place < 1000, "asked without end"
        return X[0]


class Iterated:
    """As an iterable data set of torch; it is empty."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter([])


@pytest.mark.parametrize("kind", [Endless, Iterated])
def test_what_gives_rows_in_turn_is_no_array(model, kind):
    with pytest.raises(InputError, match=f"{kind.__name__}: is not a set of vectors"):
        open_vectors(kind())
    for take in (model.encode, DQModel(4, 16).fit, build_index(X, "Flat").search):
        with pytest.raises(InputError, match=kind.__name__):
            take(kind())


@pytest.mark.parametrize("rows", [[], [X[:2]]])
def test_data_sets_of_torch_and_hugging_face_that_give_rows_in_turn(rows):
    torch, datasets = pytest.importorskip("torch"), pytest.importorskip("datasets")

    class Set(torch.utils.data.IterableDataset):  # type: ignore[misc, name-defined]
        def __iter__(self):
            return iter(rows)

    with pytest.raises(InputError, match="Set: is not a set of vectors"):
        open_vectors(Set())
    given = [{"v": row.tolist()} for block in rows for row in block]
    streamed = datasets.IterableDataset.from_generator(lambda: iter(given))
    if given:
        np.testing.assert_array_equal(open_vectors(streamed).read(), X[:2])
        return
    with pytest.raises(InputError, match="stream: holds no vectors"):
        open_vectors(streamed)
    with pytest.raises(InputError, match="dataset: has no column of vectors; it has none"):
        open_vectors(datasets.Dataset.from_dict({}))


def test_types_that_arrow_and_numpy_lack_are_refused():
    polars = pytest.importorskip("polars")
    wide_ids = polars.Series("item_id", range(N), dtype=polars.Int128)
    for source in (
        polars.DataFrame({"item_id": wide_ids, "v": X.tolist()}),
        polars.DataFrame({"v": polars.Series([[1, 2]], dtype=polars.List(polars.Int128))}),
        polars.Series([[1, 2]], dtype=polars.List(polars.Int128)),
    ):
        with pytest.raises(InputError, match="holds a type that Arrow does not have"):
            open_vectors(source)
    index = build_index(X, "Flat")
    for take in (
        lambda ids: index.search(X[:2], filter=ids),
        lambda ids: index.search(X[:2], exclude=ids),
        index.remove,
        index.reconstruct,
        lambda ids: open_vectors(X, ids=ids).ids,
    ):
        with pytest.raises(InputError, match="the ids are not plain integers"):
            take(wide_ids)


def test_rows_of_several_lengths_are_refused(model):
    for take in (model.decode, model.codebooks_.decode):
        for codes in ([[1, 2, 3, 4], [1]], [[1, 2, 3, 4], 3]):
            with pytest.raises(InputError, match="codes: their rows are not of one length"):
                take(codes)
    with pytest.raises(InputError, match="positions are not an array; give integers"):
        open_vectors(X).rows([[1, 2], [3]])


def test_integers_may_be_dimensions_where_their_names_say_so():
    numbers = np.arange(12).reshape(4, 3)
    for names in (["0", "1", "2"], ["x_5", "x_6", "x_7"]):
        columns = dict(zip(names, numbers.T, strict=True))
        np.testing.assert_array_equal(open_vectors(pa.table(columns)).read(), numbers)
    named = open_vectors(pa.table({"a": [1, 2], "b": [3, 4], "key": [5, 6]}), id_column="key")
    np.testing.assert_array_equal(named.read(), [[1, 3], [2, 4]])
    assert named.ids.to_pylist() == [5, 6]
    known = open_vectors(pa.table({"a": [1, 2], "id": [5, 6]}))
    assert (known.d, known.ids.to_pylist()) == (1, [5, 6])


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_an_integer_id_is_never_a_dimension(name):
    module = pytest.importorskip(name)
    frame = module.DataFrame({"asin": range(N), "a": X[:, 0], "b": X[:, 1]})
    with pytest.raises(InputError, match="'asin' has integers"):
        open_vectors(frame)
    source = open_vectors(frame, id_column="asin")
    np.testing.assert_array_equal(source.read(), X[:, :2])
    assert source.ids.to_pylist() == list(range(N))
    index = build_index(source, "Flat")
    assert index.search(X[:5, :2], k=1).ids.ravel().tolist() == [0, 1, 2, 3, 4]
    known = module.DataFrame({"id": range(N), "a": X[:, 0], "b": X[:, 1]})
    assert DQModel(1, 4).fit(known).n_features_in_ == 2


def test_frames_are_matrices_too(model):
    """`encode` and `transform` take what `open_vectors` does, and never the id for a number."""
    expected = model.encode(X)
    np.testing.assert_array_equal(model.encode(table()), expected)
    np.testing.assert_array_equal(model.encode(open_vectors(X)), expected)
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(model.encode(pandas.DataFrame(X).assign(id=NAMES)), expected)
    assert model.transform_.transform(pandas.DataFrame(X.astype(float))).dtype == np.float64
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(model.encode(torch.tensor(X).requires_grad_()), expected)


def test_an_index_without_a_name_is_told_of():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, index=NAMES)
    with pytest.warns(DQWarning, match="its index has no name"):
        assert open_vectors(frame).ids is None
    frame.columns = ["a"] * D
    with pytest.raises(InputError, match="8 columns are called 'a'"):
        open_vectors(frame.reset_index(drop=True))


@pytest.mark.parametrize("make", ["reader", "generator", "frame"])
def test_memory_is_bounded_by_a_block(monkeypatch, make):
    """No copy of the whole: 40 MB of vectors are opened, read and sampled with far less."""
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 2**20)
    n, d, block = 160_000, 64, 4096
    one = np.random.default_rng(0).normal(size=(block, d)).astype(np.float32)
    batch = pa.record_batch({"v": pa.FixedSizeListArray.from_arrays(one.ravel(), d)})
    count = n // block
    if make == "reader":
        source = pa.RecordBatchReader.from_batches(batch.schema, (batch for _ in range(count)))
    elif make == "generator":
        source = (one for _ in range(count))
    else:
        source = pytest.importorskip("pandas").DataFrame(np.tile(one, (count, 1)))
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        opened = open_vectors(source)
        assert opened.n == count * block
        total = sum(float(rows[:, 0].sum()) for rows in opened.blocks(block))
        opened.sample(1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == pytest.approx(count * float(one[:, 0].sum()), rel=1e-3)
    assert peak < 4 * n * d // 3
    assert pa.total_allocated_bytes() - before < 4 * n * d // 3


@pytest.mark.parametrize("wide", [False, True])
def test_memory_does_not_depend_on_the_row_groups_of_a_file(tmp_path, wide):
    """One group of 64 MB, as writers make them by default, read in blocks of 1 MB."""
    n, d = 2**18, 64
    x = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    columns = {"v": pa.FixedSizeListArray.from_arrays(x.ravel(), d)}
    if wide:
        columns = {f"x{place}": x[:, place] for place in range(d)}
    pq.write_table(
        pa.table(columns), tmp_path / "x.parquet", row_group_size=n, use_dictionary=False
    )
    del columns
    np.save(tmp_path / "x.npy", x)
    # In a process of its own, as the most that Arrow ever took can't be set back.
    script = """
        import sys
        import numpy as np, pyarrow as pa
        from dqindex import open_vectors
        from dqindex.vectors import source
        source.BLOCK_BYTES = 2**20
        x, opened = np.load(sys.argv[2], mmap_mode="r"), open_vectors(sys.argv[1])
        start = 0
        for block in opened.blocks(5000):
            np.testing.assert_array_equal(block, x[start : start + 5000])
            start += len(block)
        some = [len(x) - 1, 0, 777]
        np.testing.assert_array_equal(opened.rows(some), x[some])
        print(start, pa.default_memory_pool().max_memory())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path / "x.parquet", tmp_path / "x.npy"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows, peak = map(int, done.stdout.split())
    assert rows == n
    if int(pa.__version__.split(".")[0]) < 26:
        pytest.skip("readers of Arrow before 26 hold more of a row group")
    assert peak < 4 * n * d // 2
