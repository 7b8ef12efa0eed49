"""An index that is added to, taken from, changed, merged, saved and opened, in any order.

After each step it equals a plain list of vectors, each as its code has it; and so does the file,
read by stock FAISS in a process of its own.
"""

from __future__ import annotations

import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from stock_faiss import StockFaiss

from dqindex import build_index, build_like, merge_indexes, open_index, open_vectors
from dqindex.errors import InputError
from dqindex.index.anatomy import dissect

D, K, TRAINED = 8, 4, 260
SPECS = (
    "Flat",
    "DQ2,PQ2x4",
    "DQ2,PQ2x4fs",
    "PQ4x4fs_64",
    "IVF4,Flat",
    "IVF4,SQ8",
    "DQ4,IVF4,PQ4x4",
    "DQ4,IVF4,PQ4x4fs",
    "IVF4,PQ4x4fsr_64",
    "DQ4,IVF4,PQ4x4fs,Refine(SQ8)",
    "DQ2,PQ2x4,RFlat",
    "HNSW8,Flat",
)
METRICS = ("l2", "ip", "cosine")


def vectors(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.5, 2.0, (n, 1))
    made: np.ndarray = (rng.normal(size=(n, D)) * spread + 0.3).astype(np.float32)
    return made


QUERIES = vectors(5, seed=1)


@pytest.fixture(scope="module")
def stock() -> Iterator[StockFaiss]:
    with StockFaiss() as child:
        yield child


def as_coded(index: Any, x: np.ndarray) -> np.ndarray:
    """What the codes of `x` stand for, by FAISS alone: `index` was trained, and not read."""
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        chain = [inner.chain.at(place) for place in range(inner.chain.size())]
        links = [faiss.downcast_VectorTransform(link) for link in chain]
        for link in links:
            x = link.apply(np.ascontiguousarray(x))
        x = as_coded(inner.index, x)
        for link in reversed(links):
            x = link.reverse_transform(np.ascontiguousarray(x))
        return x
    if isinstance(inner, faiss.IndexRefine):
        return as_coded(inner.refine_index, x)
    if hasattr(inner, "hnsw"):
        return as_coded(inner.storage, x)
    coded: np.ndarray = inner.sa_decode(inner.sa_encode(np.ascontiguousarray(x)))
    return coded


class Life(RuleBasedStateMachine):
    """The index, and a list of ids and vectors that it must equal."""

    trained: Any  # an index of `TRAINED` vectors, to start from
    stock: StockFaiss

    @initialize(kind=st.sampled_from(["counted", "integers", "text"]), seed=st.integers(0, 99))
    def begin(self, kind: str, seed: int) -> None:
        self.kind, self.made, self.next = kind, 0, 0
        self.folder = tempfile.TemporaryDirectory()
        self.queries = Path(self.folder.name) / "queries.npy"
        np.save(self.queries, QUERIES)
        self.ids: list[Any] = []
        self.coded = np.empty((0, D), dtype=np.float32)
        x = vectors(40, seed)
        self.index = build_like(open_vectors(x, ids=self.new_ids(40)), self.trained)
        self.append(x)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def new_ids(self, n: int) -> Any:
        """Ids that the catalogue gives to `n` vectors; None where the index counts."""
        first, self.made = self.made, self.made + n
        if self.kind == "counted":
            self.fresh: list[Any] = list(range(self.next, self.next + n))
            self.next += n
            return None
        numbers = [(one * 7919) % 100_003 for one in range(first, first + n)]
        self.fresh = numbers if self.kind == "integers" else [f"item {one}" for one in numbers]
        return self.fresh

    def append(self, x: np.ndarray) -> None:
        self.ids += self.fresh
        self.coded = np.concatenate([self.coded, as_coded(self.trained.index, x)])

    @rule(n=st.integers(1, 40), seed=st.integers(0, 10**6))
    def add(self, n: int, seed: int) -> None:
        x = vectors(n, seed)
        self.index.add(x, ids=self.new_ids(n), block_rows=17)
        self.append(x)

    @rule(share=st.sampled_from([0.05, 0.3, 0.9, 1.0]), seed=st.integers(0, 10**6))
    def remove(self, share: float, seed: int) -> None:
        goes = np.random.default_rng(seed).random(len(self.ids)) < share
        gone = [one for one, out in zip(self.ids, goes, strict=True) if out][::-1]
        unknown = [self.unknown()] if gone else []
        assert self.index.remove([*gone, *unknown], missing_ok=True) == len(unknown)
        self.ids = [one for one, out in zip(self.ids, goes, strict=True) if not out]
        self.coded = self.coded[~goes]

    @precondition(lambda self: self.ids)
    @rule(n=st.integers(1, 12), seed=st.integers(0, 10**6))
    def update(self, n: int, seed: int) -> None:
        rows = np.random.default_rng(seed).permutation(len(self.ids))[:n]
        x = vectors(len(rows), seed + 1)
        self.index.update(x, [self.ids[row] for row in rows])
        self.coded[rows] = as_coded(self.trained.index, x)

    @rule(n=st.integers(1, 30), seed=st.integers(0, 10**6))
    def merge(self, n: int, seed: int) -> None:
        x = vectors(n, seed)
        shard = build_like(open_vectors(x, ids=self.new_ids(n)), self.index)
        self.index = merge_indexes([self.index, shard])
        self.append(x)

    @rule(mapped=st.booleans())
    def save_and_open(self, mapped: bool) -> None:
        folder = Path(self.folder.name) / "index"
        self.index.save(folder)
        if mapped:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # fast-scan codes are read
                self.equals(open_index(folder, mmap=True))
        self.index = open_index(folder)
        n, labels, distances = self.stock.search(folder, self.queries, K)
        assert n == len(self.ids)
        if n:
            names = np.array([*self.ids, None], dtype=object)
            found = labels if self.index.embeds_ids else names[labels]
            self.answers(found, distances)

    @precondition(lambda self: self.can_embed())
    @rule()
    def embed(self) -> None:
        self.index.embed_ids()

    def can_embed(self) -> bool:
        parts = dissect(self.trained.index)
        named = self.kind != "text" and not self.index.names.plain
        return named and parts.ivf is not None and parts.refine is None

    def unknown(self) -> Any:
        return "item none" if self.kind == "text" else 10**9

    @precondition(lambda self: self.ids)
    @rule()
    def refused(self) -> None:
        one, x = self.ids[0], vectors(2, seed=5)
        wrong: list[Callable[[], object]] = [lambda: self.index.remove([one, self.unknown()])]
        wrong.append(lambda: self.index.update(x, [one, self.unknown()]))
        wrong.append(lambda: self.index.update(x, [one, one]))
        wrong.append(lambda: self.index.remove([one, one]))
        wrong.append(lambda: self.index.add(x[:, :5], ids=[one, one]))
        wrong.append(lambda: self.index.add(x, ids=[self.unknown(), one]))
        for call in wrong:
            with pytest.raises(InputError):
                call()

    @invariant()
    def is_the_list(self) -> None:
        if hasattr(self, "index"):
            self.equals(self.index)

    def equals(self, index: Any) -> None:
        n = len(self.ids)
        assert len(index) == n
        assert index.names.take(np.arange(n)).tolist() == self.ids
        assert (self.unknown() in index) is False
        everything = {"nprobe": 4, "k_factor_rf": 1000.0, "efSearch": 1000}
        known = dict.fromkeys(index.manifest["search_parameters"])
        known |= dict.fromkeys(["efSearch"] if self.graph() else [])
        chosen = {name: everything[name] for name in known}
        result = index.search(QUERIES, K, parameters=chosen)
        assert result.positions.shape == (len(QUERIES), K)
        if n:
            self.answers(result.ids, result.distances)
            some = self.ids[:: max(1, n // 3)]
            rows = [self.ids.index(one) for one in some]
            assert all(one in index for one in some)
            np.testing.assert_allclose(index.reconstruct(some), self.coded[rows], atol=1e-4)
        else:
            assert (result.positions == -1).all()

    def graph(self) -> bool:
        return hasattr(dissect(self.trained.index).core, "hnsw")

    def answers(self, ids: Any, distances: np.ndarray) -> None:
        """The answers are the nearest of the list, as near as codes of bytes can tell."""
        metric, queries = self.trained.manifest["metric"], QUERIES.astype(np.float64)
        if metric == "cosine":
            queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        near = queries @ self.coded.T
        if metric != "ip":
            near = (queries**2).sum(1)[:, None] - 2 * near + (self.coded.astype(float) ** 2).sum(1)
        sign = -1 if metric == "ip" else 1
        fast = "fs" in self.trained.spec and "Refine" not in self.trained.spec
        slack = (0.03 * np.ptp(near) + 1e-3) if fast else 1e-3 * (1 + np.abs(near).max())
        place, some = {one: row for row, one in enumerate(self.ids)}, min(K, len(self.ids))
        for row, (found, apart) in enumerate(zip(ids.tolist(), distances, strict=True)):
            there = [place[one] for one in found[:some]]
            assert len(set(there)) == some
            assert set(found[some:]) <= {-1, None}
            np.testing.assert_allclose(apart[:some], near[row, there], atol=slack)
            ordered = sign * apart[:some]
            assert (np.diff(ordered) >= -1e-6 * (1 + np.abs(ordered).max())).all()
            assert sign * near[row, there[-1]] <= np.sort(sign * near[row])[some - 1] + 2 * slack


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spec", SPECS)
def test_an_index_equals_the_list_of_its_vectors(spec, metric, stock, request):
    long = request.config.getoption("--long")
    template = build_index(vectors(TRAINED, seed=0), spec, metric=metric)
    machine = type("Life", (Life,), {"trained": template, "stock": stock})
    run_state_machine_as_test(
        # Each case goes its own way, the same one every time.
        seed(zlib.crc32(f"{spec} {metric}".encode()))(machine),
        settings=settings(
            max_examples=40 if long else 2,
            stateful_step_count=20 if long else 10,
            deadline=None,
            database=None,
            phases=list(Phase) if long else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
