"""The adapter for ann-benchmarks, in that harness's layout and its loop."""

import importlib.util
import sys
import types
from itertools import product
from pathlib import Path

import faiss
import h5py
import numpy as np
import pytest
from conftest import clustered

FOLDER = Path(__file__).parent.parent / "benchmarks" / "ann_benchmarks"


class BaseANN:
    """The interface that the harness calls, as its documentation gives it."""

    name = ""

    def done(self):
        pass

    def get_additional(self):
        return {}

    def fit(self, X):
        raise NotImplementedError

    def query(self, q, n):
        raise NotImplementedError


@pytest.fixture
def module(monkeypatch):
    """``module.py`` where it would stand in the harness: ann_benchmarks/algorithms/dqindex."""
    packages = ["ann_benchmarks", "algorithms", "base"]
    name = ""
    for part in packages:
        name = f"{name}.{part}" if name else part
        package = types.ModuleType(name)
        package.__path__ = []
        monkeypatch.setitem(sys.modules, name, package)
    base = types.ModuleType("ann_benchmarks.algorithms.base.module")
    vars(base)["BaseANN"] = BaseANN
    monkeypatch.setitem(sys.modules, base.__name__, base)
    ours = types.ModuleType("ann_benchmarks.algorithms.dqindex")
    ours.__path__ = [str(FOLDER)]
    monkeypatch.setitem(sys.modules, ours.__name__, ours)
    spec = importlib.util.spec_from_file_location(f"{ours.__name__}.module", FOLDER / "module.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(autouse=True)
def threads():
    """The adapter sets FAISS's threads, which are those of the process."""
    before = faiss.omp_get_max_threads()
    yield
    faiss.omp_set_num_threads(before)


@pytest.fixture
def dataset(tmp_path):
    """A small file in the harness's layout, angular."""
    from dqindex import exact_neighbors

    x = clustered(4050, 20)
    train, test = x[:4000] * 3, x[4000:]
    neighbors, distances = exact_neighbors(train, test, 100, metric="cosine")
    with h5py.File(tmp_path / "small-20-angular.hdf5", "w") as file:
        file.attrs["distance"] = "angular"
        for key, value in {
            "train": train,
            "test": test,
            "neighbors": neighbors.astype(np.int32),
            "distances": distances / 2,
        }.items():
            file[key] = value
    return tmp_path / "small-20-angular.hdf5"


def groups():
    """The runs that config.yml asks for: constructor arguments and query arguments."""
    # Its few nested lists, without a YAML parser in the tests' dependencies.
    text = (FOLDER / "config.yml").read_text()
    lines = [line.strip() for line in text.splitlines()]
    quoted = [line.partition(": ")[2] for line in lines if line.startswith(("args:", "query_args"))]
    import ast

    values = [ast.literal_eval(one) for one in quoted]
    return list(zip(values[::2], values[1::2], strict=True))


def test_config_names_what_is_there(module):
    text = (FOLDER / "config.yml").read_text()
    constructor = text.partition("constructor: ")[2].split()[0]
    assert hasattr(module, constructor)
    for arguments, queries in groups():
        assert len(arguments) == 3
        assert len(queries) == 2
    assert len(groups()) == 2


@pytest.mark.parametrize("batch", [False, True])
def test_the_harness_loop(module, dataset, batch):
    with h5py.File(dataset) as file:
        train, test = np.array(file["train"]), np.array(file["test"])
        neighbors = np.array(file["neighbors"])
        distance = file.attrs["distance"]
    before = test.copy()
    recalls = {}
    for (_, grain, refinement), (probes, factors) in [
        ((None, grains, refinements[0]), query)
        for (_, grains_all, refinements), query in groups()
        for grains in grains_all
    ]:
        algorithm = module.DQFastScan(distance, 16, grain, refinement)
        faiss.omp_set_num_threads(2)
        algorithm.fit(train)
        assert faiss.omp_get_max_threads() == 1
        for query_arguments in product(probes[:5:4], factors[::4]):
            algorithm.set_query_arguments(*query_arguments)
            if batch:
                algorithm.batch_query(test, 10)
                answers = algorithm.get_batch_results()
            else:
                answers = [algorithm.query(one, 10) for one in test]
            assert all(len(answer) <= 10 for answer in answers)
            hits = [
                np.isin(answer, true[:10]).sum()
                for answer, true in zip(answers, neighbors, strict=True)
            ]
            recalls[str(algorithm)] = sum(hits) / (10 * len(test))
        assert algorithm.get_additional() == {}
        algorithm.done()
    np.testing.assert_array_equal(test, before)
    assert len(recalls) == 16  # every setting has a name of its own
    assert max(recalls.values()) > 0.98
    assert min(recalls.values()) < max(recalls.values())
