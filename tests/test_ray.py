"""Ray, on this machine: the models, maps and indexes of one machine, however rows are cut."""

from __future__ import annotations

import itertools
import os
import signal
import warnings

import numpy as np
import pyarrow as pa
import pytest
from distributed import (
    APPENDED,
    FAMILIES,
    D,
    alike,
    assert_appended,
    assert_figures,
    assert_same_map,
    by_id,
    catalogue_of,
    edges_of,
    in_order_of_ids,
    local_edges,
    published,
)

import dqindex
from dqindex import open_index
from dqindex.errors import InputError, NonFiniteError
from dqindex.partitions import neighbours
from dqindex.quantizer.family import new_model
from dqindex.quantizer.model import DQModel

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

N = 900


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


@pytest.fixture(scope="module")
def catalogue():
    return alike(N)


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


@pytest.mark.parametrize(("family", "blocks"), [("dq", 12), ("coarse", 1), ("rq", 7)])
def test_a_map_is_that_of_one_machine(catalogue, family, blocks, pytestconfig, monkeypatch):
    if blocks == 12 and pytestconfig.getoption("--long"):
        blocks = 64
    if family == "dq":  # As if very many items collided.
        monkeypatch.setattr(neighbours, "PLACE_ITEMS", 200)
    local = dqindex.semantic_ids(catalogue, **FAMILIES[family])
    ds = dataset_of(catalogue, blocks)
    model = engine.fit(ds, **FAMILIES[family])
    assert model.to_bytes() == local.model.to_bytes()
    made = rows_of(engine.semantic_ids(ds, model=model))
    assert_same_map(made, local)
    assert (local.codes != local.base_codes).any()


def test_workers_that_die(catalogue, tmp_path):
    """One that reads rows, and one that has to encode them: the model is deadly for the first."""

    def die_once(marker):
        try:
            (tmp_path / marker).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def read(table):
        die_once("reading")
        return table

    class Deadly(DQModel):
        def __setstate__(self, state):
            die_once("encoding")
            self.__dict__.update(state)

    local = dqindex.semantic_ids(catalogue, **FAMILIES["dq"])
    model = Deadly(**FAMILIES["dq"])
    model.__dict__.update(local.model.__dict__)
    ds = dataset_of(catalogue, 5).map_batches(read, batch_format="pyarrow")
    made = rows_of(engine.semantic_ids(ds, model=model))
    assert {one.name for one in tmp_path.iterdir()} == {"reading", "encoding"}
    assert_same_map(made, local)


@pytest.mark.parametrize("unique", ["suffix", "none", "cap"])
def test_other_ways_to_be_unique(catalogue, unique):
    table = catalogue.append_column("sales", pa.array(np.arange(N) % 5))
    how = {"unique": unique, "cap": 2 if unique == "cap" else 1}
    model = new_model("dq", 2, 30).fit(catalogue)
    local = dqindex.semantic_ids(table, model=model, priority="sales", **how)
    made = engine.semantic_ids(dataset_of(table, 3), model=model, priority="sales", **how)
    assert by_id(rows_of(made)) == by_id(local.table())


@pytest.mark.parametrize(("unique", "where"), APPENDED)
def test_new_items_are_appended(catalogue, tmp_path, unique, where):
    sids, new, how = published(catalogue, unique, tmp_path / "map.parquet")
    priority = "sales" if unique == "cap" else None
    given = {"priority": priority}
    if where == "table":
        before, given = dataset_of(sids.table(), 2), {**given, **how, "model": sids.model}
    else:
        before = sids if where == "memory" else tmp_path / "map.parquet"
    whole, delta = engine.append(before, dataset_of(new, 3), **given)
    assert_appended(rows_of(whole), rows_of(delta), sids, new, priority)


def test_figures_and_edges_are_those_of_one_machine(catalogue):
    sids = dqindex.semantic_ids(catalogue.slice(0, 500), n_subspaces=3, n_codewords=10)
    rows = dataset_of(sids.table(), 3)
    local = in_order_of_ids(sids)
    found = engine.evaluate(rows, dataset_of(catalogue, 2), model=sids.model)
    assert_figures(found, local.evaluate(catalogue))
    assert edges_of(rows_of(engine.linkage(rows, 4))) == local_edges(local, 4)


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
    with pytest.raises(InputError, match=r"1 ids occur more than once, for example 7 \(2 times\)"):
        engine.semantic_ids(ray.data.from_arrow([twice.slice(0, 1), twice.slice(1)]), model=model)
    with pytest.raises(InputError, match="give a Dataset of Ray"):
        engine.fit(catalogue)
    sids = dqindex.semantic_ids(catalogue, n_subspaces=3, n_codewords=14)
    with pytest.raises(InputError, match=r"900 ids are in the map already, for example \d+"):
        engine.append(sids, ds)
    with pytest.raises(InputError, match="no setting 'colour'"):
        engine.fit(ds, colour=3)
    bad = catalogue_of([*np.eye(5, D), np.full(D, np.nan)], np.arange(6))
    with pytest.raises(NonFiniteError, match=r"its id: 5\)"):
        engine.fit(ray.data.from_arrow(bad))
