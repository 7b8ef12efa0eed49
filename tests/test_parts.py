"""A catalogue in parts: the model, the tokens and the errors are those of the whole."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest
from conftest import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex import DQModel, open_vectors
from dqindex.errors import InputError, NonFiniteError, RangeError
from dqindex.quantizer.family import new_model
from dqindex.vectors.least import hash_bound, rows_below, sample_of_parts

FAMILIES = {
    "dq": lambda: new_model("dq", 4, 8),
    "coarse": lambda: new_model("dq", 2, 8, coarse=(8,)),
    "rq": lambda: new_model("rq", 3, 8),
}


def table(vectors, ids, name="item_id"):
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    return pa.table({name: pa.array(ids), "vector": flat})


@pytest.fixture(scope="module")
def catalogue():
    vectors = clustered(6000, 12)
    return table(vectors, [f"item-{row}" for row in range(6000)])


def in_parts(whole, count, seed=0):
    """Rows in any order, in parts of uneven sizes."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(whole))
    edges = np.sort(rng.choice(np.arange(1, len(whole)), count - 1, replace=False))
    return [whole.take(pa.array(part)) for part in np.split(order, edges)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [1, 7, 64])
def test_a_model_of_parts_is_that_of_the_whole(catalogue, family, count):
    whole = FAMILIES[family]().set_params(max_points_per_codeword=64).fit(catalogue)
    made = FAMILIES[family]().set_params(max_points_per_codeword=64)
    assert made.training_rows(12) < len(catalogue)
    made.fit_parts(iter(in_parts(catalogue, count, seed=count)))
    assert made.to_bytes() == whole.to_bytes()


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    k=st.integers(1, 70),
    count=st.integers(1, 9),
    seed=st.integers(0, 2**40),
    text=st.booleans(),
)
def test_the_sample_of_parts_is_that_of_the_whole(n, k, count, seed, text):
    vectors = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    whole = table(vectors, [f"{row}" for row in range(n)] if text else np.arange(n))
    rows, _ = sample_of_parts(in_parts(whole, min(count, n), seed), lambda d: k, seed)
    np.testing.assert_array_equal(rows, open_vectors(whole).sample(k, seed=seed))


@pytest.mark.parametrize(("k", "n"), [(1, 1), (1, 4000), (50, 4000), (3999, 4000), (9000, 4000)])
def test_a_bound_lets_the_sample_through_and_little_more(k, n):
    source = open_vectors(table(np.ones((n, 1), dtype=np.float32), np.arange(n)))
    for seed in range(20):
        below = rows_below(source, hash_bound(k, n), seed)
        assert min(k, n) <= len(below) <= k + 16 * np.sqrt(k) + 128
        sample = set(source._drawn_by_id(k, seed).tolist())
        assert sample <= set(below.tolist())


def test_parts_that_are_none_are_refused():
    model = DQModel(2, 4)
    good = table(clustered(300, 4), np.arange(300))
    with pytest.raises(InputError, match="no parts"):
        model.fit_parts([])
    with pytest.raises(InputError, match="without ids"):
        model.fit_parts([good, clustered(300, 4)])
    with pytest.raises(InputError, match="width 6 beside one of width 4"):
        model.fit_parts([good, table(clustered(30, 6), np.arange(30))])
    with pytest.raises(InputError, match="parts is 'abc'; it must be"):
        model.fit_parts("abc")
    assert not model.__sklearn_is_fitted__()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_encoded_beside_its_ids(catalogue, family):
    model = FAMILIES[family]().fit(catalogue)
    vectors = open_vectors(catalogue).read()
    for batch in (catalogue, catalogue.to_batches()[0], catalogue.slice(17, 100)):
        made = model.encode_arrow(batch)
        assert made.column_names == ["item_id", "codes", "distortion"]
        assert made.schema.field("codes").type == pa.list_(pa.int32())
        assert made.schema.field("distortion").type == pa.float32()
        ids = batch["item_id"]
        assert made["item_id"].to_pylist() == ids.to_pylist()
        rows = np.array([int(one.removeprefix("item-")) for one in ids.to_pylist()])
        codes = np.array(made["codes"].to_pylist())
        np.testing.assert_array_equal(codes, model.encode(vectors[rows]))
        lost = ((model.decode(codes) - vectors[rows]) ** 2).sum(axis=1)
        np.testing.assert_allclose(made["distortion"].to_numpy(), lost, rtol=1e-3)


def test_columns_of_a_batch_are_named(catalogue):
    model = DQModel(2, 4).fit(catalogue)
    other = catalogue.rename_columns(["sku", "a"]).append_column("b", catalogue["vector"])
    made = model.encode_arrow(other, vector_column="b", id_column="sku")
    assert made.equals(model.encode_arrow(catalogue))


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (np.nan, NonFiniteError, "NaN"),
        (np.inf, NonFiniteError, "infinity"),
        (1e12, RangeError, "norm above"),
        (None, InputError, "null"),
    ],
)
def test_a_bad_row_is_named_by_its_id(catalogue, value, kind, words):
    model = DQModel(2, 4).fit(catalogue)
    rows = catalogue["vector"].to_pylist()[:50]
    rows[33][3] = value
    bad = pa.table({"item_id": catalogue["item_id"][:50], "vector": rows})
    with pytest.raises(kind, match=rf"{words}.*its id: 'item-33'"):
        model.encode_arrow(bad)


def test_a_row_of_another_width_is_named_by_its_id(catalogue):
    model = DQModel(2, 4).fit(catalogue)
    rows = catalogue["vector"].to_pylist()[:50]
    rows[20] = rows[20][:3]
    with pytest.raises(InputError, match=r"has 3 values.*its id: 'item-20'"):
        model.encode_arrow(pa.table({"item_id": catalogue["item_id"][:50], "vector": rows}))
    with pytest.raises(InputError, match=r"5 features.*expecting 12"):
        model.encode_arrow(table(clustered(10, 5), np.arange(10)))


def test_a_missing_id_is_refused(catalogue):
    model = DQModel(2, 4).fit(catalogue)
    ids = pa.array(["a", None, "c"])
    with pytest.raises(InputError, match="1 ids are missing"):
        model.encode_arrow(pa.table({"item_id": ids, "vector": catalogue["vector"][:3]}))


def test_a_model_ships_small():
    """What a pickle holds is little more than the file: no moments, which are (d, d) float64."""
    vectors = clustered(2000, 128)
    model = DQModel(8, 16, n_components=16).fit(vectors)
    shipped = pickle.dumps(model)
    assert len(shipped) < len(model.to_bytes()) + 20_000 < 128 * 128 * 8
    again = pickle.loads(shipped)
    assert again.fingerprint == model.fingerprint
    np.testing.assert_array_equal(again.encode(vectors), model.encode(vectors))
    # The model itself keeps what it had.
    assert hasattr(model.transform_, "_moments")
    assert pickle.loads(pickle.dumps(DQModel(2, 4))).get_params() == DQModel(2, 4).get_params()
