"""Files of every format version ever released are read, and answer as they did (tests/golden)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from dqindex import DQModel, SemanticIds, open_index, read_sids, semantic_ids
from dqindex.bench.results import FORMAT_VERSION as BENCH_VERSION
from dqindex.bench.results import open_results, read_results
from dqindex.index.folder import FORMAT_VERSION
from dqindex.quantizer.model_file import FORMAT_VERSION as MODEL_VERSION
from dqindex.report.page import write_page
from dqindex.sids.map_file import FORMAT_VERSION as MAP_VERSION

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("version", range(1, MODEL_VERSION + 1))
def test_models(version):
    answers = np.load(GOLDEN / f"model-v{version}.npz")
    model = DQModel.load(GOLDEN / f"model-v{version}.safetensors")
    np.testing.assert_array_equal(model.encode(answers["x"]), answers["codes"])


def test_training_gives_the_model_that_it_gave():
    """A change of what is learned from the same vectors is made on purpose, and said."""
    x = np.load(GOLDEN / f"model-v{MODEL_VERSION}.npz")["x"]
    then = DQModel.load(GOLDEN / f"model-v{MODEL_VERSION}.safetensors")
    now = DQModel(2, [4, 6], coarse=(3,)).fit(x)
    tensors = load(now.to_bytes())
    for name, expected in load(then.to_bytes()).items():
        np.testing.assert_allclose(tensors[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(now.encode(x), then.encode(x))


def test_extracting_gives_the_map_that_it_gave():
    answers = np.load(GOLDEN / f"map-v{MAP_VERSION}" / "answers.npz")
    x = answers["x"][:250]
    made = semantic_ids(x, n_subspaces=3, n_codewords=4, unique="suffix")
    for what in ("codes", "base_codes"):
        np.testing.assert_array_equal(getattr(made, what), answers[f"plain_{what}"])
    np.testing.assert_allclose(made.distortion, answers["plain_distortion"], rtol=1e-4)


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_indexes(version):
    answers = np.load(GOLDEN / f"index-v{version}.npz")
    found = open_index(GOLDEN / f"index-v{version}").search(answers["x"][:5], 3)
    np.testing.assert_array_equal(found.ids.astype(str), answers["ids"])
    np.testing.assert_allclose(found.distances, answers["distances"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["named", "plain"])
@pytest.mark.parametrize("version", range(1, MAP_VERSION + 1))
def test_maps(version, name):
    folder = GOLDEN / f"map-v{version}"
    answers = np.load(folder / "answers.npz")
    sids = read_sids(folder / f"{name}.parquet")
    ids = [f"i{row}" for row in range(250)] if name == "named" else list(range(250))
    assert sids.item_ids.to_pylist() == ids
    assert sids.unique == ("reassign" if name == "named" else "suffix")
    for what in ("codes", "base_codes", "distortion"):
        np.testing.assert_array_equal(getattr(sids, what), answers[f"{name}_{what}"])
    # Its model knows it, and puts new items where it did.
    model = DQModel.load(folder / f"{name}.safetensors")
    sids = SemanticIds.load(folder / f"{name}.parquet", model)
    more = [f"i{row}" for row in range(250, 300)] if name == "named" else None
    _, new = sids.append(answers["x"][250:], more)
    np.testing.assert_array_equal(new.codes, answers[f"{name}_appended"])


@pytest.mark.parametrize("version", range(1, BENCH_VERSION + 1))
def test_bench_results(version, tmp_path):
    file = GOLDEN / f"bench-v{version}.jsonl"
    index, *points = map(json.loads, file.read_text().splitlines())
    read = read_results([file])
    assert [one["key"] for one in read] == [one["key"] for one in points]
    for got, point in zip(read, points, strict=True):
        assert got["method"] == index["method"]
        assert {name: got[name] for name in ("parameters", "recall", "batch", "single")} == {
            name: point[name] for name in ("parameters", "recall", "batch", "single")
        }
    write_page(read, tmp_path / "page.html")
    # A run goes on where that version's stopped.
    copy = Path(shutil.copy(file, tmp_path / "more.jsonl"))
    with open_results(copy) as results:
        assert results.complete == {index["job"]}
        assert results.done == {one["key"] for one in points}
