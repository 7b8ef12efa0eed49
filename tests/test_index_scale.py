"""One scale of distances, by whatever way a search goes."""

from __future__ import annotations

from contextlib import nullcontext

import faiss
import numpy as np
import pytest
from conftest import clustered
from test_grammar import CODED, EXACT, SOME

from dqindex import build_index, open_index
from dqindex.index.adding import apply_transform
from dqindex.index.anatomy import dissect

N, D = 600, 16
ADDITIVE = """
    RQ4x4fs_32_Nrq2x4 RQ4x4fs_64_Nlsq2x4 LSQ4x4fs_32_Nrq2x4 LSQ4x4fs_32_Nlsq2x4
    PRQ2x2x4fs_32_Nrq2x4 PRQ2x2x4fs_32_Nlsq2x4 PLSQ2x2x4fs_32_Nrq2x4
    DQ4,RQ4x4fs_32_Nlsq2x4 DQ4_8,RQ4x4fs_32_Nrq2x4 PCA12,IVF4,RQ4x4fs_32_Nrq2x4
    IVF4,RQ4x4fs_32_Nrq2x4 IVF4,RQ4x4fsr_32_Nlsq2x4 IVF4,LSQ4x4fsr_64_Nrq2x4
    IVF4,PRQ2x2x4fsr_32_Nlsq2x4 DQ4,IVF4,PLSQ2x2x4fs_32_Nrq2x4 RQ4x4fs_32_Nrq2x4,RFlat
""".split()
# What FAISS estimates about the original vector, which is not what the code stands for.
ESTIMATED = ("RaBitQ", "SQtq")
SERVED: dict[str, tuple[str, ...]] = {
    spec: ("l2", "ip", "cosine") for spec in EXACT + CODED if "Dedup" not in spec
}
SERVED |= {spec: tuple(metrics.split()) for spec, metrics in SOME.items()}
SERVED |= {spec: ("l2", "cosine") for spec in ADDITIVE}
CASES = [
    (spec, metric)
    for spec, metrics in SERVED.items()
    for metric in metrics
    if not any(word in spec and "RFlat" not in spec for word in ESTIMATED)
]
X = clustered(N, D)
QUERIES = X[:6] * np.float32(1.01)


def apart(index, metric):
    """Distance of every query to what every code stands for, as the index's space has it."""
    every, queries = index.reconstruct(np.arange(N)), QUERIES
    parts = dissect(index.index)
    if metric == "cosine":
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    if parts.chain and parts.refine is None and parts.chain[-1].d_out < D:
        # Queries lose directions as well. A decoded vector is as long as it is.
        for link in parts.chain:
            if not isinstance(link, faiss.NormalizationTransform):
                queries, every = apply_transform(link, queries), apply_transform(link, every)
    queries, every = queries.astype(np.float64), every.astype(np.float64)
    if metric == "ip":
        return queries @ every.T
    return ((queries[:, None] - every) ** 2).sum(2)


def check_scale(index, spec, metric):
    near = apart(index, metric)
    loose = np.ptp(near) * 0.01
    given = {"nprobe": 4} if spec.removeprefix("DQ4,").startswith("IVF4") else {}
    rows = np.arange(N)
    for chosen in (None, rows >= 0, rows != 7, rows % 2 == 0, rows % 100 == 0):
        found = index.search(QUERIES, 6, filter=chosen, parameters=given)
        there = found.positions >= 0
        true = np.take_along_axis(near, np.maximum(found.positions, 0), 1)
        assert there.any(axis=1).all()
        np.testing.assert_allclose(found.distances[there], true[there], atol=loose)
    # A radius that a search gave finds what the search found.
    sign = -1 if metric == "ip" else 1
    found = index.search(QUERIES[:1], 6, parameters=given)
    radius = float(found.distances[0, -1]) + sign * loose
    within = index.range_search(QUERIES[:1], radius, parameters=given)
    assert set(found.positions[0]) - {-1} <= set(within.positions)
    np.testing.assert_allclose(within.distances, near[0, within.positions], atol=loose)


@pytest.mark.parametrize(("spec", "metric"), CASES)
def test_every_way_gives_distances_on_one_scale(spec, metric):
    check_scale(build_index(X, spec, metric=metric), spec, metric)


@pytest.mark.parametrize("spec", ["PRQ2x2x4fs_32_Nlsq2x4", "IVF4,RQ4x4fsr_32_Nlsq2x4"])
def test_the_scale_stays_with_the_file(spec, tmp_path):
    build_index(X, spec).save(tmp_path / "index")
    for mmap in (False, True):
        with pytest.warns() if mmap else nullcontext():
            index = open_index(tmp_path / "index", mmap=mmap)
        check_scale(index, spec, "l2")
