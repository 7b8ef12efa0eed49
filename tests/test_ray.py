"""Ray, on this machine: the models, maps and indexes of one machine, however rows are cut."""

from __future__ import annotations

import itertools
import os
import warnings

import numpy as np
import pyarrow as pa
import pytest
from conftest import clustered

import dqindex
from dqindex import open_index
from dqindex.errors import InputError, NonFiniteError
from dqindex.quantizer.family import new_model

pytest.importorskip("ray.data", reason="the extra 'ray' is not installed")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ray
    import ray.data

    from dqindex import ray as engine

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

N, D = 900, 8


@pytest.fixture(scope="module", autouse=True)
def cluster():
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
        logging_level="ERROR",
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


def catalogue_of(vectors, ids):
    lists = pa.array(list(vectors), pa.list_(pa.float32()))
    return pa.table({"item_id": pa.array(ids), "vector": lists})


@pytest.fixture(scope="module")
def catalogue():
    vectors = clustered(N, D, seed=1)
    rng = np.random.default_rng(2)
    vectors[:50] = vectors[60] + 1e-3 * rng.normal(size=(50, D))
    return catalogue_of(vectors, rng.permutation(10 * N)[:N])


def dataset_of(table, blocks):
    """Rows in any order, in so many blocks of uneven sizes."""
    rng = np.random.default_rng(blocks)
    order = rng.permutation(len(table))
    inner = np.sort(rng.choice(np.arange(1, len(table)), blocks - 1, replace=False))
    edges = [0, *inner.tolist(), len(table)]
    return ray.data.from_arrow(
        [table.take(pa.array(order[a:b])) for a, b in itertools.pairwise(edges)]
    )


def rows_of(made):
    return pa.concat_tables(made.iter_batches(batch_size=None, batch_format="pyarrow"))


def by_id(table):
    return {row["item_id"]: (row["codes"], row["base_codes"]) for row in table.to_pylist()}


FAMILIES = {
    "dq": {"n_subspaces": 3, "n_codewords": 16},
    "coarse": {"n_subspaces": 2, "n_codewords": 12, "coarse": (12,), "polish": 1, "beam": 2},
    "rq": {"method": "rq", "n_subspaces": 3, "n_codewords": 12, "polish": 1, "beam": 2},
}


@pytest.mark.parametrize(("family", "blocks"), [("dq", 12), ("coarse", 1), ("rq", 7)])
def test_a_map_is_that_of_one_machine(catalogue, family, blocks, pytestconfig):
    if blocks == 12 and pytestconfig.getoption("--long"):
        blocks = 64
    local = dqindex.semantic_ids(catalogue, **FAMILIES[family])
    ds = dataset_of(catalogue, blocks)
    model = engine.fit(ds, **FAMILIES[family])
    assert model.to_bytes() == local.model.to_bytes()
    made = rows_of(engine.semantic_ids(ds, model=model))
    assert made.column_names == ["item_id", "codes", "base_codes", "distortion"]
    assert by_id(made) == by_id(local.table())
    assert (local.codes != local.base_codes).any()
    ours, theirs = (
        one.sort_by("item_id")["distortion"].to_numpy() for one in (made, local.table())
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unique", ["suffix", "none", "cap"])
def test_other_ways_to_be_unique(catalogue, unique):
    table = catalogue.append_column("sales", pa.array(np.arange(N) % 5))
    how = {"unique": unique, "cap": 2 if unique == "cap" else 1}
    model = new_model("dq", 2, 30).fit(catalogue)
    local = dqindex.semantic_ids(table, model=model, priority="sales", **how)
    made = engine.semantic_ids(dataset_of(table, 3), model=model, priority="sales", **how)
    assert by_id(rows_of(made)) == by_id(local.table())


def test_an_index_is_that_of_one_machine(catalogue, tmp_path):
    made = engine.build_index(dataset_of(catalogue, 4), "DQ4,IVF8,PQ4", tmp_path / "index", seed=2)
    local = dqindex.build_index(catalogue, "DQ4,IVF8,PQ4", seed=2)
    assert made.training == local.training
    again = open_index(tmp_path / "index")
    queries = np.array(catalogue["vector"].to_pylist(), dtype=np.float32)[::50]
    found, wanted = (one.search(queries, 10) for one in (again, local))
    np.testing.assert_allclose(found.distances, wanted.distances, rtol=1e-5)
    some = catalogue["item_id"].to_pylist()[::90]
    np.testing.assert_array_equal(again.reconstruct(some), local.reconstruct(some))


def test_tokens_of_a_dataset(catalogue):
    model = new_model("dq", 2, 8).fit(catalogue)
    made = rows_of(engine.encode(dataset_of(catalogue, 3), model))
    wanted = model.encode_arrow(catalogue)
    tokens = [{row["item_id"]: row["codes"] for row in one.to_pylist()} for one in (made, wanted)]
    assert tokens[0] == tokens[1]


def test_what_can_not_be_is_refused(catalogue):
    model = new_model("dq", 2, 8).fit(catalogue)
    ds = dataset_of(catalogue, 2)
    with pytest.raises(InputError, match="900 items, but 8 x 8 codes make only 64 IDs"):
        engine.semantic_ids(ds, model=model)
    twice = catalogue_of(np.eye(3, D), [7, 7, 8])
    with pytest.raises(InputError, match=r"1 ids stand more than once, for example 7 \(2 times\)"):
        engine.semantic_ids(ray.data.from_arrow([twice.slice(0, 1), twice.slice(1)]), model=model)
    with pytest.raises(InputError, match="give a Dataset of Ray"):
        engine.fit(catalogue)
    with pytest.raises(InputError, match="no setting 'colour'"):
        engine.fit(ds, colour=3)
    bad = catalogue_of([*np.eye(5, D), np.full(D, np.nan)], np.arange(6))
    with pytest.raises(NonFiniteError, match=r"its id: 5\)"):
        engine.fit(ray.data.from_arrow(bad))
