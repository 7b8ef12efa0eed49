"""Indexes rank right for every metric and kind, are stock FAISS, and are repeatable."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings

import faiss
import numpy as np
import pytest
from conftest import clustered

from dqindex import build_index, exact_neighbors, open_index, open_vectors, recall_at
from dqindex.errors import InputError, NonFiniteError, SpecError
from dqindex.index.anatomy import dissect

SPECS = """
    DQ8,PQ8 DQ8_16,PQ8 DQ8,PQ8x4fs DQ8,PQ8x10 DQ8,IVF16,PQ8 DQ8,IVF16,PQ8x4fs DQ8,IVF16,PQ8x4fsr
    DQ8,IVF16_HNSW8,PQ8 DQ8,IVF16,PQ8,RFlat DQ8,IVF16,PQ8x4fs,Refine(SQ8) DQ8,HNSW8_PQ8
    DQ8,IVF16,Flat DQ8,IVF16,SQ8 PCA20,DQ5,IVF16,PQ5 DQ8,IVF16,PQ8+8 DQ8,IMI2x3,PQ8
""".split()


@pytest.fixture(scope="module")
def data():
    x = clustered(5000, 24, seed=1)
    return x[:4900], x[4900:]


@pytest.mark.parametrize("spec", SPECS)
def test_every_kind_finds_neighbours(data, spec):
    base, queries = data
    index = build_index(base, spec)
    assert index.n == len(base)
    true, _ = exact_neighbors(base, queries, 10)
    probes = {"nprobe": 16} if "IVF" in spec else None
    found = index.search(queries, 50, parameters=probes)
    assert recall_at(found.positions, true) > (0.7 if "x4" in spec or "_16" in spec else 0.85)
    assert (np.diff(found.distances, axis=1) >= -1e-3).all()


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("spec", ["DQ8,Flat", "DQ8,IVF4,Flat", "DQ8,PQ8x12,RFlat"])
def test_metrics_rank_as_exact_search_does(metric, spec):
    # Norms and a mean that make the three metrics disagree.
    rng = np.random.default_rng(2)
    x = clustered(5000, 24, seed=2) * rng.uniform(0.2, 5, size=(5000, 1)).astype(np.float32) + 3
    base, queries = x[:4900], x[4900:]
    true, distances = exact_neighbors(base, queries, 10, metric=metric)
    assert recall_at(exact_neighbors(base, queries, 10, metric="l2")[0], true) < (
        1.1 if metric == "l2" else 0.8
    )
    index = build_index(base, spec, metric=metric)
    index.set_parameters({"k_factor_rf": 100} if "RFlat" in spec else {})
    if "IVF" in spec:
        index.set_parameters({"nprobe": 4})
    found = index.search(queries, 10)
    assert recall_at(found.positions, true) > 0.99
    np.testing.assert_allclose(found.distances, distances, rtol=2e-3, atol=2e-3)


def test_inner_product_is_not_centred(data):
    base, queries = data
    far = base + 10  # a mean that would change every product by <x, mean>
    index = build_index(far, "DQ8,PQ8", metric="ip")
    link = dissect(index.index).chain[0]
    assert not link.have_bias
    true, _ = exact_neighbors(far, queries, 10, metric="ip")
    assert recall_at(index.search(queries, 50).positions, true) > 0.8


def test_cosine_is_stock_faiss(tmp_path, data):
    base, queries = data
    scaled = base * np.random.default_rng(0).uniform(0.1, 9, (len(base), 1)).astype(np.float32)
    for spec in ("DQ8,IVF16,PQ8", "DQ8,PQ8,RFlat"):
        build_index(scaled, spec, metric="cosine").save(tmp_path / "i")
        opened = open_index(tmp_path / "i")
        stock = faiss.read_index(str(tmp_path / "i" / opened.manifest["files"]["index"]["name"]))
        distances, positions = stock.search(queries * 7, 5)  # lengths of queries do not matter
        result = opened.search(queries, 5)
        np.testing.assert_array_equal(result.positions, positions)
        np.testing.assert_allclose(result.distances, distances, rtol=1e-4, atol=1e-5)


def test_stock_faiss_gives_the_same_answers(tmp_path, data):
    base, queries = data
    np.save(tmp_path / "base.npy", base)
    np.save(tmp_path / "q.npy", queries)
    build_index(tmp_path / "base.npy", "DQ8,IVF16,PQ8").save(tmp_path / "i")
    opened = open_index(tmp_path / "i")
    result = opened.search(tmp_path / "q.npy", 7)
    file = tmp_path / "i" / opened.manifest["files"]["index"]["name"]
    script = f"""
        import faiss, numpy as np
        index = faiss.read_index({str(file)!r})
        D, I = index.search(np.load({str(tmp_path / "q.npy")!r}), 7)
        np.savez({str(tmp_path / "out.npz")!r}, D=D, I=I)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
    stock = np.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(stock["I"], result.ids)
    np.testing.assert_array_equal(stock["D"], result.distances)


@pytest.mark.parametrize("spec", ["DQ8,PQ8", "DQ8,IVF16,PQ8", "DQ8,IVF16,PQ8x4fs"])
def test_the_model_makes_the_codes_of_the_index(data, spec):
    base, _ = data
    index = build_index(base, spec)
    core = dissect(index.index).core
    codes = index.model.encode(base)
    if hasattr(core, "invlists") and "fs" not in spec:
        invlists = core.invlists
        for number in range(core.nlist):
            size = invlists.list_size(number)
            rows = faiss.rev_swig_ptr(invlists.get_ids(number), size)
            stored = faiss.rev_swig_ptr(invlists.get_codes(number), size * 8).reshape(size, 8)
            assert (codes[rows, 0] == number).mean() > 0.999
            assert (codes[rows, 1:] == stored).mean() > 0.999
    elif "IVF" not in spec:
        stored = faiss.vector_to_array(core.codes).reshape(-1, 8)
        assert (codes == stored).mean() > 0.999
    else:
        assert codes.shape == (len(base), 8)


def test_coarse_k_means_is_trained_once(data):
    base, _ = data
    index = build_index(base, "DQ8,IVF16,PQ8")
    core = dissect(index.index).core
    rotated = dissect(index.index).chain[0].apply(index.model.coarse_[0])
    centroids = faiss.downcast_index(core.quantizer).reconstruct_n(0, 16)
    np.testing.assert_allclose(rotated, centroids, atol=1e-5)


def test_a_quantizer_that_trains_itself_sees_the_whole_sample(data):
    base, queries = data
    true, _ = exact_neighbors(base, queries, 10)
    ours = build_index(base, "DQ8,IMI2x3,PQ8x4")
    stock = faiss.index_factory(24, "RR24,IMI2x3,PQ8x4")
    stock.train(base)
    stock.add(base)
    faiss.ParameterSpace().set_index_parameter(stock, "nprobe", 64)
    expected = recall_at(stock.search(queries, 10)[1], true)
    found = ours.search(queries, 10, parameters={"nprobe": 64}).positions
    assert recall_at(found, true) > expected - 0.05


def test_rotation_lowers_the_distortion(data):
    base, queries = data
    true, _ = exact_neighbors(base, queries, 10)
    recalls = {
        spec: recall_at(build_index(base, spec).search(queries, 10).positions, true)
        for spec in ("PQ4", "DQ4,PQ4")
    }
    assert recalls["DQ4,PQ4"] > recalls["PQ4"]


def test_covariance_is_that_of_what_is_quantised(data):
    base, _ = data
    assert build_index(base, "DQ8,IVF16,PQ8").manifest["settings"]["covariance"] == "residual"
    assert build_index(base, "DQ8,IVF16,PQ8x4fs").manifest["settings"]["covariance"] == "raw"
    assert build_index(base, "DQ8,PQ8").manifest["settings"]["covariance"] == "raw"
    raw = build_index(base, "DQ8,IVF16,PQ8", covariance="raw")
    assert raw.manifest["settings"]["covariance"] == "raw"
    for spec in ("DQ8,PQ8", "DQ8,IVF16,PQ8x4fs", "DQ8,IMI2x3,PQ8"):
        with pytest.raises(SpecError, match="'residual' needs an IVF that encodes residuals"):
            build_index(base, spec, covariance="residual")
    with pytest.raises(SpecError, match="has no DQ"):
        build_index(base, "PQ8", covariance="raw")
    with pytest.raises(InputError, match="covariance is 'both'"):
        build_index(base, "DQ8,PQ8", covariance="both")


@pytest.mark.parametrize("spec", ["DQ8,PQ8", "DQ8,IVF16,PQ8", "DQ8,IVF16,PQ8x4fs,RFlat"])
def test_same_bytes_at_any_thread_count(tmp_path, data, spec):
    base, _ = data
    for threads in (1, 2):
        build_index(base, spec, threads=threads, seed=3).save(tmp_path / str(threads))
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / str(threads)).iterdir()}
        for threads in (1, 2)
    )
    assert first == second


def test_blocks_change_nothing(tmp_path, data):
    base, _ = data
    build_index(base, "DQ8,IVF16,PQ8").save(tmp_path / "whole")
    build_index(base, "DQ8,IVF16,PQ8", block_rows=333).save(tmp_path / "blocks")
    names = [
        sorted(file.name for file in (tmp_path / one).iterdir()) for one in ("whole", "blocks")
    ]
    assert names[0] == names[1]  # the names carry hashes of the content


@pytest.mark.parametrize("ids", [np.arange(4900) * 7 - 3, np.array([f"w{i}" for i in range(4900)])])
def test_ids_come_back(tmp_path, data, ids):
    base, queries = data
    build_index(open_vectors(base, ids=ids), "DQ8,PQ8").save(tmp_path / "i")
    result = open_index(tmp_path / "i").search(queries, 3)
    np.testing.assert_array_equal(result.ids, ids[result.positions])
    assert result.ids.dtype == (np.int64 if ids.dtype.kind == "i" else object)


@pytest.mark.parametrize(
    ("ids", "nothing"), [(None, -1), (list(range(300)), -1), (list(map(str, range(300))), None)]
)
def test_fewer_than_k_found(ids, nothing):
    x = clustered(300, 8)
    index = build_index(open_vectors(x, ids=ids), "IVF20,Flat")
    result = index.search(x[:4], 300, parameters={"nprobe": 1})
    missing = result.positions < 0
    assert missing.any()
    assert all(one == nothing for one in result.ids[missing])


def test_search_parameters(data):
    base, queries = data
    index = build_index(base, "DQ8,IVF16,PQ8,RFlat")
    assert index.manifest["search_parameters"] == {"nprobe": 1, "k_factor_rf": 8.0}
    true, _ = exact_neighbors(base, queries, 10)
    one = recall_at(index.search(queries, 10, parameters={"nprobe": 1}).positions, true)
    all_ = recall_at(index.search(queries, 10, parameters={"nprobe": 16}).positions, true)
    assert all_ > one
    with pytest.raises(SpecError, match="efSearch=5 does not fit"):
        index.search(queries, parameters={"efSearch": 5})
    with pytest.raises(SpecError, match="nprobe=many does not fit"):
        index.search(queries, parameters={"nprobe": "many"})


def test_bad_input(data):
    base, queries = data
    index = build_index(base, "DQ8,PQ8")
    with pytest.raises(InputError, match="k is 0"):
        index.search(queries, 0)
    with pytest.raises(InputError, match="expecting 24"):
        index.search(queries[:, :3])
    with pytest.raises(NonFiniteError):
        index.search(np.full((1, 24), np.nan))
    with pytest.raises(InputError, match=r"100 vectors are too few for 'DQ8,PQ8'.*at least 256"):
        build_index(base[:100], "DQ8,PQ8")
    with pytest.raises(InputError, match="at least 1024"):
        build_index(base[:500], "IVF1024,Flat")
    broken = base.copy()
    broken[4321] = np.nan
    with pytest.raises(NonFiniteError, match=r"1 of 4900 rows .* first row 4321"):
        build_index(broken, "DQ8,PQ8")
    with pytest.raises(InputError, match="balance is 'x'"):
        build_index(base, "DQ8,PQ8", balance="x")
    with pytest.raises(InputError, match="threads is 0"):
        build_index(base, "DQ8,PQ8", threads=0)


def test_threads_are_restored(data):
    base, _ = data
    before = faiss.omp_get_max_threads()
    build_index(base, "DQ8,PQ8", threads=1)
    assert faiss.omp_get_max_threads() == before


def test_few_distinct_vectors():
    x = np.repeat(clustered(20, 8), 100, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        index = build_index(x, "DQ4,IVF4,PQ4")
    assert index.search(x[:5], 1, parameters={"nprobe": 4}).distances.max() < 1e-3


def test_progress_is_told(data):
    base, _ = data
    heard = []
    build_index(base, "DQ8,IVF16,PQ8", block_rows=1000, progress=lambda *said: heard.append(said))
    kinds = [what for what, _, _ in heard]
    assert kinds[:5] == ["check"] * 5
    assert {"train coarse", "train rotation", "train codebooks"} <= set(kinds)
    assert heard[-1] == ("add", 4900, 4900)
