"""What goes out again as a table or frame: search results, and projections."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dqindex import DQModel, DQTransform, build_index, open_vectors
from dqindex.errors import DQWarning, InputError, MissingDependencyError
from dqindex.quantizer import output

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
    with pytest.warns(DQWarning, match=r"name it by .*: row"):
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
