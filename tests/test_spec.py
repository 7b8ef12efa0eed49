"""The spec grammar is FAISS's, with DQ wherever OPQ stands."""

from __future__ import annotations

import faiss
import pytest

from dqindex.errors import SpecError
from dqindex.index.anatomy import dissect
from dqindex.index.spec import make_index, parse_spec


@pytest.mark.parametrize(
    ("text", "d", "factory"),
    [
        ("DQ16,IVF1024,PQ16", 64, "OPQ16_64,IVF1024,PQ16"),
        ("DQ16,IVF1024,PQ16", 50, "OPQ16_64,IVF1024,PQ16"),
        ("DQ16_32,PQ16x4fs", 50, "OPQ16_32,PQ16x4fs"),
        ("DQ16_40,PQ16", 50, "OPQ16_48,PQ16"),
        ("DQ8, IVF64_HNSW32, PQ8+8", 50, "OPQ8_56,IVF64_HNSW32,PQ8+8"),
        ("DQ8,IVF64,PQ8x4fsr,Refine(SQ8)", 64, "OPQ8_64,IVF64,PQ8x4fsr,Refine(SQ8)"),
        ("PCA32,DQ8,PQ8", 64, "PCA32,OPQ8_32,PQ8"),
        ("DQ4,HNSW16_PQ4", 64, "OPQ4_64,HNSW16_PQ4"),
        ("IVF64,PQ8", 64, "IVF64,PQ8"),
        ("DQ4,Flat", 64, "OPQ4_64,Flat"),
    ],
)
def test_dq_becomes_the_opq_of_the_same_shape(text, d, factory):
    spec = parse_spec(text, d)
    assert spec.factory == factory
    index = make_index(spec, d, "l2")
    assert index.d == d
    if "DQ" in text:
        assert isinstance(dissect(index).chain[spec.position], faiss.OPQMatrix)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("DQ16,IVF64,PQ8", "DQ16 balances 16 subspaces, but PQ8 quantises 8; use DQ8"),
        ("DQ16,PQ8x4fs", "use DQ8"),
        ("DQ16,HNSW32_PQ8", "use DQ8"),
        ("DQ8,DQ8,PQ8", "stands 2 times"),
        ("IVF64(DQ8,PQ8),PQ8", "a word of its own"),
        ("DQ,PQ8", "a word of its own"),
        ("DQ0,PQ8", "at least 1 subspace"),
        ("DQ8_0,PQ8", "at least 1 subspace"),
        ("IVF64,DQ8,PQ8", "DQ8 can't stand behind IVF64"),
        ("DQ8,PQ8,nonsense", "'nonsense' stands behind a whole index, PQ8"),
        ("", "ends before an index"),
        ("DQ8", "ends before an index"),
        ("PQ7", "7 subspaces do not divide the width 64"),
        ("IDMap,DQ8,PQ8", "leave out IDMap"),
    ],
)
def test_bad_specs(text, message):
    with pytest.raises(SpecError, match=message):
        make_index(parse_spec(text, 64), 64, "l2")


def test_bad_metric():
    with pytest.raises(SpecError, match="metric 'dot'; use one of l2, ip, cosine"):
        make_index(parse_spec("Flat", 8), 8, "dot")
