"""A set of ids in few bits: none of the set is lost, and few others pass."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from dqindex.partitions import sieve
from dqindex.partitions.sieve import bound, marks, page_of, pages_for, sifted


def made_of(table, n, parts=3):
    """A sieve, from parts of the set in which pages are made one by one."""
    number = pages_for(n)
    edges = np.linspace(0, len(table), parts + 1).astype(int)
    every = pa.concat_tables(
        [marks(table.slice(a, b - a), number) for a, b in itertools.pairwise(edges)]
    )
    pages = [
        page_of(every.filter(pa.compute.equal(every["page"], page)))
        for page in pa.compute.unique(every["page"]).to_pylist()
    ]
    return bound(pa.concat_tables([sieve.PAGES.empty_table(), *pages[::-1]]), number)


@pytest.mark.parametrize("text", [False, True])
def test_all_of_a_set_pass_and_few_others(text):
    ids = np.random.default_rng(0).permutation(10**6)[:200_000]
    column = pa.array([f"item {one}" for one in ids]) if text else pa.array(ids)
    table = pa.table({"item_id": column, "vector": np.arange(len(ids))})
    inside, others = table.slice(0, 2**16), table.slice(2**16)
    found = made_of(inside, len(inside))
    assert found.shape[0] == 2
    assert sifted(inside, found).equals(inside)
    passed = len(sifted(others, found)) / len(others)
    # Two bits of 16 an id: (1 - exp(-2 / 16)) squared.
    assert passed == pytest.approx(0.0138, abs=0.002)


def test_a_sieve_is_bounded_and_then_lets_more_pass(monkeypatch):
    monkeypatch.setattr(sieve, "MOST_BITS", 2 * sieve.PAGE_BITS)
    table = pa.table({"item_id": np.arange(400_000)})
    inside, others = table.slice(0, 300_000), table.slice(300_000)
    assert pages_for(len(inside)) == 2
    found = made_of(inside, len(inside))
    assert sifted(inside, found).equals(inside)
    assert 0.15 < len(sifted(others, found)) / len(others) < 0.25


def test_an_empty_set_lets_nothing_pass():
    table = pa.table({"item_id": np.arange(100)})
    found = made_of(table.slice(0, 0), 0)
    assert len(sifted(table, found)) == 0
    assert len(sifted(table.slice(0, 0), found)) == 0
