"""Data and settings that the tests of Spark and of Ray share."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from conftest import clustered

import dqindex
from dqindex.quantizer.model import DQModel
from dqindex.sids.linkage import linkage
from dqindex.sids.semantic_ids import SemanticIds

D = 8
FAMILIES = {
    "dq": {"n_subspaces": 3, "n_codewords": 16},
    "coarse": {"n_subspaces": 2, "n_codewords": 12, "coarse": (12,), "polish": 1, "beam": 2},
    "rq": {"method": "rq", "n_subspaces": 3, "n_codewords": 16, "polish": 1, "beam": 2},
}
# Ways to be unique, and where the published map is: in a table, in memory, or in a file.
APPENDED = [("reassign", "table"), ("cap", "memory"), ("suffix", "file"), ("none", "table")]


def catalogue_of(vectors, ids):
    lists = pa.array(list(vectors), pa.list_(pa.float32()))
    return pa.table({"item_id": pa.array(ids), "vector": lists})


def alike(n, seed=1):
    """Clusters, with some items that are alike and some that are the same."""
    vectors = clustered(n, D, seed=seed)
    rng = np.random.default_rng(2)
    vectors[:60] = vectors[60] + 1e-3 * rng.normal(size=(60, D))
    vectors[100:110] = vectors[99]
    return catalogue_of(vectors, rng.permutation(10 * n)[:n])


def with_value(catalogue, value, row=33):
    """The catalogue, with a vector that can't be used."""
    rows = catalogue["vector"].to_pylist()
    rows[row][2] = value
    return catalogue_of([np.array(one, dtype=np.float32) for one in rows], catalogue["item_id"])


def by_id(table):
    return {row["item_id"]: (row["codes"], row["base_codes"]) for row in table.to_pylist()}


def assert_same_map(made, local):
    """Tokens to the bit; distortions but for their rounding."""
    assert made.column_names == ["item_id", "codes", "base_codes", "distortion"]
    local = local.table().select(made.column_names)
    assert len(made) == len(local)
    assert by_id(made) == by_id(local)
    ours, theirs = (one.sort_by("item_id")["distortion"].to_numpy() for one in (made, local))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def published(catalogue, unique, path):
    """A map of the first items, and the tables of these and of the others.

    The new items have neighbours among the published ones, and priorities of their own.
    """
    n = len(catalogue) * 2 // 3
    numbers = np.random.default_rng(7).integers(0, 4, len(catalogue)).astype(float)
    catalogue = catalogue.append_column("sales", pa.array(numbers))
    order = np.random.default_rng(5).permutation(len(catalogue))
    old, new = (catalogue.take(pa.array(some)) for some in (order[:n], order[n:]))
    model = DQModel(3, 10).fit(old)
    how = {"unique": unique, "cap": 2 if unique == "cap" else 1}
    sids = dqindex.semantic_ids(old, model=model, **how)
    sids.save(path)
    model.save(path.with_name(f"{path.stem}.{model.fingerprint[:12]}.safetensors"))
    return sids, new, how


def assert_appended(whole, delta, sids, new, priority):
    """Published IDs as they were, and the new ones as one machine gives them."""
    wanted_whole, wanted = sids.append(new, priority=priority)
    assert_same_map(delta, wanted)
    assert_same_map(whole, wanted_whole)
    before, after = by_id(sids.table()), by_id(whole)
    assert {one: after[one] for one in before} == before
    if sids.unique in ("reassign", "cap"):
        assert (wanted.codes != wanted.base_codes).any()


def in_order_of_ids(sids):
    """The same map, as one machine would have made it of sorted items."""
    order = np.argsort(sids.ids.to_numpy())
    table = sids.table().take(pa.array(order))
    return SemanticIds(
        sids.codes[order],
        sids.base_codes[order],
        sids.distortion[order],
        sids.sizes,
        table["item_id"].combine_chunks(),
        sids.fingerprint,
        model=sids.model,
    )


def edges_of(table):
    order = [("source", "ascending"), ("weight", "descending"), ("target", "ascending")]
    return [tuple(row.values()) for row in table.sort_by(order).to_pylist()]


def local_edges(sids, k):
    """Edges of one machine, by ids."""
    ids = sids.item_ids.to_pylist()
    return [
        (ids[source], ids[target], weight)
        for block in linkage(sids, k)
        for source, target, weight in zip(*(one.tolist() for one in block), strict=True)
    ]


def assert_figures(ours, theirs):
    """The same names, and the same values but for rounding."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert_figures(ours[name], theirs[name])
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_figures(one, other)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9)
    else:
        assert ours == theirs
