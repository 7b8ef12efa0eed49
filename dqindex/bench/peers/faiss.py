"""FAISS as it is: its factory strings, its own training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from dqindex._types import Float32, Int64
from dqindex.bench.peers.base import EF, Options, Peer, probes
from dqindex.errors import SpecError
from dqindex.index.anatomy import dissect
from dqindex.index.spec import make_index, parse_spec

K_FACTORS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]


class FaissPeer(Peer):
    """``faiss:FACTORY``: PQ, OPQ, RQ, LSQ, SQ8, RaBitQ, IVF and HNSW of all kinds."""

    package = "faiss-cpu"
    loads = True
    extra_parameters = ("ht",)
    index: Any

    def parse(self, argument: str) -> Options:
        """The argument is the factory string."""
        if not argument:
            raise SpecError(f"{type(self).__name__} needs a spec, as in faiss:IVF512,PQ16")
        return {"spec": argument}

    def build(self, x: Float32, threads: int) -> None:
        """FAISS's training, step by step so that the rotation is timed apart."""
        faiss.omp_set_num_threads(threads)
        spec = str(self.options["spec"])
        self.index = make_index(parse_spec(spec, x.shape[1]), x.shape[1], self.metric)
        inner, rows = faiss.downcast_index(self.index), x
        if isinstance(inner, faiss.IndexPreTransform):
            with self.step("rotation"):
                for place in range(inner.chain.size()):
                    link = faiss.downcast_VectorTransform(inner.chain.at(place))
                    if not link.is_trained:
                        link.train(rows)
                    rows = link.apply(rows)
            inner = faiss.downcast_index(inner.index)
        with self.step("codebooks"):
            inner.train(rows)
            self.index.is_trained = True
        del rows
        with self.step("add"):
            self.index.add(x)

    def search(self, queries: Float32, k: int) -> Int64:
        """Batch search of FAISS."""
        found: Int64 = self.index.search(queries, k)[1]
        return found

    def set_threads(self, threads: int) -> None:
        """FAISS's threads are process-global."""
        faiss.omp_set_num_threads(threads)

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """By FAISS's own names."""
        space = faiss.ParameterSpace()
        for name, value in parameters.items():
            try:
                space.set_index_parameter(self.index, name, float(value))
            except RuntimeError as error:
                raise SpecError(f"{self.options['spec']}: no parameter {name} ({error})") from None

    def grid(self) -> dict[str, list[float]]:
        """Nprobe, efSearch and the factor of refinement, where the index has them."""
        parts = dissect(self.index)
        grid: dict[str, list[float]] = {}
        if parts.ivf is not None:
            grid["nprobe"] = probes(parts.ivf.nlist)
        if hasattr(parts.core, "hnsw"):
            grid["efSearch"] = [float(ef) for ef in EF]
        if parts.refine is not None:
            grid["k_factor_rf"] = K_FACTORS
        return grid

    def save(self, folder: Path) -> None:
        """One FAISS file."""
        faiss.write_index(self.index, str(folder / "index.faiss"))

    def load(self, folder: Path, x: Float32) -> None:
        """That file."""
        self.index = faiss.read_index(str(folder / "index.faiss"))

    def parts(self, n: int) -> dict[str, int]:
        """By FAISS's own sizes."""
        parts = dissect(self.index)
        core, found = parts.core, {}
        holder = faiss.downcast_index(core.storage) if hasattr(core, "storage") else core
        size = int(getattr(holder, "code_size", 0)) or int(holder.sa_code_size())
        if parts.refine is not None:
            size += int(faiss.downcast_index(parts.refine.refine_index).sa_code_size())
        found["codes"] = size * n
        if parts.ivf is not None:
            found["ids"] = 8 * n
        if hasattr(core, "hnsw"):
            hnsw = core.hnsw
            found["graph"] = (
                4 * hnsw.neighbors.size() + 8 * hnsw.offsets.size() + 4 * hnsw.levels.size()
            )
        return found


def variances(x: Float32, groups: int) -> list[float]:
    """Variance of `groups` runs of neighbouring axes, as PQ without a rotation cuts them."""
    each = x.var(axis=0, dtype=np.float64)
    padded = np.pad(each, (0, -len(each) % groups))
    return [float(total) for total in padded.reshape(groups, -1).sum(axis=1)]
