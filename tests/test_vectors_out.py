"""What goes out again as a table or frame: search results, codes, maps, and projections."""

from __future__ import annotations

import importlib
import importlib.util
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from dqindex import DQModel, DQTransform, build_index, open_vectors, semantic_ids
from dqindex.errors import (
    DQWarning,
    InputError,
    MissingDependencyError,
    NonFiniteError,
    RangeError,
)
from dqindex.quantizer import output
from dqindex.vectors import source as source_module

N, D = 60, 6
X = np.random.default_rng(4).normal(size=(N, D)).astype(np.float32)


@pytest.mark.parametrize(
    "ids",
    [
        None,
        pa.array([f"i{row}" for row in range(N)]),
        pa.array(range(N), pa.int8()),
        pa.array([2**64 - 1 - row for row in range(N)], pa.uint64()),
    ],
)
def test_a_result_is_a_table(ids):
    named = pa.table({"item_id": pa.array(range(N)) if ids is None else ids, "v": list(X)})
    index = build_index(X if ids is None else named, "IVF4,Flat")
    result = index.search(X[:9], k=N, parameters={"nprobe": 1})
    table = result.table()
    assert table.column_names == ["query", "ids", "distances"]
    assert table["query"].to_pylist() == list(range(9))
    expected = [
        [None if place < 0 else one for one, place in zip(row, places, strict=True)]
        for row, places in zip(result.ids.tolist(), result.positions.tolist(), strict=True)
    ]
    assert any(None in row for row in expected)
    assert table["ids"].to_pylist() == expected
    np.testing.assert_array_equal(np.array(table["distances"].to_pylist()), result.distances)
    if ids is not None:
        assert [row[0] for row in table["ids"].to_pylist()] == ids.to_pylist()[:9]
    names = [f"q{row}" for row in range(9)]
    assert result.table(names)["query"].to_pylist() == names
    with pytest.raises(InputError, match="8 ids for 9 vectors"):
        result.table(names[:8])


IDS = [
    pa.array([f"i{row}" for row in range(N)]),
    pa.array(range(N), pa.int8()),
    pa.array([2**64 - 1 - row for row in range(N)], pa.uint64()),
]


@pytest.mark.parametrize("ids", IDS)
def test_codes_and_maps_are_tables_with_the_ids_that_came_in(ids):
    table = pa.table({"item_id": ids, "v": list(X)})
    model = DQModel(2, 4).fit(table)
    codes = model.encode_arrow(table)
    assert codes["item_id"].combine_chunks().equals(ids)
    assert codes["codes"].to_pylist() == model.encode(X).tolist()
    sids = semantic_ids(table, n_subspaces=2, n_codewords=16)
    made = sids.table()
    assert made["item_id"].combine_chunks().equals(ids)
    assert made["codes"].to_pylist() == sids.codes.tolist()
    # Both go on in a frame, and a frame comes in again.
    polars = pytest.importorskip("polars")
    frame = polars.from_arrow(codes).join(polars.from_arrow(made), on="item_id")
    assert frame["codes"].to_list() == codes["codes"].to_pylist()
    assert frame["codes_right"].to_list() == made["codes"].to_pylist()


def sources(dtype):
    """The same vectors as a table, a frame, a tensor, a stream and an open source."""
    x = X.astype(dtype)
    column = pa.FixedSizeListArray.from_arrays(x.ravel(), D)
    yield pa.table({"v": column})
    yield column
    yield pa.table({"v": column}).to_reader(7)
    yield open_vectors(x)
    for library, make in (
        ("pandas", lambda module: module.DataFrame(x)),
        ("polars", lambda module: module.DataFrame({"v": list(x)})),
        ("torch", lambda module: module.tensor(x)),
    ):
        if importlib.util.find_spec(library) is not None:
            yield make(importlib.import_module(library))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
@pytest.mark.parametrize("settings", [{}, {"coarse": (4,), "beam": 3}])
def test_codes_do_not_depend_on_what_vectors_came_in(monkeypatch, dtype, settings):
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 4 * D * 13)
    x = (X * 9).astype(dtype)
    model = DQModel(2, 8, **settings).fit(x)
    expected = model.encode(x)
    monkeypatch.setattr(f"{__name__}.X", X * 9)
    for source in sources(dtype):
        found = model.encode(source)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("encode", ["encode", "encode_arrow"])
@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (np.nan, NonFiniteError, "2 of 60 rows hold NaN"),
        (1e12, RangeError, "2 of 60 rows have a n"),
    ],
)
def test_rows_that_cannot_be_encoded_are_counted(monkeypatch, encode, value, error, words):
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 4 * D * 13)
    bad = X.copy()
    bad[[17, 50], 2] = value
    model = DQModel(2, 4).fit(X)
    with pytest.raises(error, match=f"{words}.*first row 17"):
        getattr(model, encode)(pa.table({"v": list(bad)}))
    with pytest.raises(InputError, match="X has 5 features, but DQModel is expecting 6"):
        getattr(model, encode)(pa.table({"v": list(X[:, :5])}))


@pytest.mark.parametrize("encode", ["encode", "encode_arrow"])
def test_encoding_a_table_takes_the_codes_and_a_block(monkeypatch, encode):
    """40 MB of vectors, whose codes are 2 MB, and 20 MB as lists with distortions and rows."""
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 2**20)
    n, d, block = 160_000, 64, 4096
    one = np.random.default_rng(0).normal(size=(block, d)).astype(np.float32)
    model = DQModel(4, 4, n_iter=1).fit(one)
    batch = pa.record_batch({"v": pa.FixedSizeListArray.from_arrays(one.ravel(), d)})
    table = pa.Table.from_batches([batch] * (n // block))
    held = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        found = getattr(model, encode)(table)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == len(table)
    assert peak < 4 * n * d * 3 // 4
    assert pa.total_allocated_bytes() - held < 4 * n * d // 4


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_transform_gives_frames(library):
    module = pytest.importorskip(library)
    transform = DQTransform(2).fit(X)
    plain = transform.transform(X)
    assert transform.set_output(transform=library) is transform
    frame = transform.transform(X)
    assert isinstance(frame, module.DataFrame)
    assert list(frame.columns) == transform.get_feature_names_out().tolist()
    np.testing.assert_array_equal(frame.to_numpy(), plain)
    np.testing.assert_array_equal(transform.projected(X), plain)
    assert transform.set_output() is transform
    assert isinstance(transform.transform(X), module.DataFrame)
    transform.set_output(transform="default")
    assert isinstance(transform.transform(X), np.ndarray)


def test_a_frame_keeps_its_index():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        X, columns=list("abcdef"), index=pandas.Index(range(5, N + 5), name="row")
    )
    transform = DQTransform(2).fit(frame).set_output(transform="pandas")
    assert transform.transform(frame).index.equals(frame.index)
    assert transform.feature_names_in_.tolist() == list("abcdef")
    with pytest.warns(DQWarning, match=r"name it with .*: row"):
        assert open_vectors(frame).ids is None
    assert open_vectors(frame, id_column="row").ids.to_pylist() == list(frame.index)


def test_a_model_whose_transform_gives_frames_still_codes():
    pytest.importorskip("pandas")
    model = DQModel(2, 4).fit(X)
    codes, losses = model.encode(X), model.losses(X).codebook
    model.transform_.set_output(transform="pandas")
    np.testing.assert_array_equal(model.encode(X), codes)
    np.testing.assert_array_equal(model.losses(X).codebook, losses)


def test_the_choice_survives_a_clone_and_a_pipeline():
    pandas = pytest.importorskip("pandas")
    from sklearn.base import clone
    from sklearn.pipeline import make_pipeline

    cloned = clone(DQTransform(2).set_output(transform="pandas"))
    assert isinstance(cloned.fit_transform(X), pandas.DataFrame)
    pipeline = make_pipeline(DQTransform(2)).set_output(transform="pandas")
    assert isinstance(pipeline.fit_transform(X), pandas.DataFrame)


def test_what_is_no_container(monkeypatch):
    for wrong in ("arrow", 3, "PANDAS"):
        with pytest.raises(InputError, match="transform is"):
            DQTransform(2).set_output(transform=wrong)

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(output, "import_module", absent)
    with pytest.raises(MissingDependencyError, match="needs the package pandas"):
        DQTransform(2).set_output(transform="pandas").fit_transform(X)
