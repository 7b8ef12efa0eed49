"""svs (Intel's Scalable Vector Search): a Vamana graph over vectors of few bits (LVQ)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import svs

from dqindex._types import Float32, Int64
from dqindex.bench.peers.base import GraphPeer, Options

# Graphs of its kinds of distance want another slope for the edges that they keep.
ALPHA = {"l2": 1.2, "ip": 0.95, "cosine": 1.2}


class SvsPeer(GraphPeer):
    """``svs:bits=4,residual=8,degree=32,window=200``: LVQ; bits 0 for float32 vectors."""

    package = "scalable-vs"
    defaults: ClassVar[Options] = {"bits": 4, "residual": 8, "degree": 32, "window": 200}
    index: Any

    def build(self, x: Float32, threads: int) -> None:
        """One graph, over codes that it reads from a file."""
        rows = self.unit(x)
        parameters = svs.VamanaBuildParameters(
            alpha=ALPHA[self.metric],
            graph_max_degree=int(self.options["degree"]),
            window_size=int(self.options["window"]),
        )
        bits = int(self.options["bits"])
        with tempfile.TemporaryDirectory() as folder, self.step("add"):
            data: Any = rows
            if bits:
                svs.write_vecs(rows, f"{folder}/x.fvecs")
                loader = svs.VectorDataLoader(f"{folder}/x.fvecs", svs.float32, rows.shape[1])
                data = svs.LVQLoader(loader, primary=bits, residual=int(self.options["residual"]))
            self.index = svs.Vamana.build(parameters, data, self._distance(), threads)

    def _distance(self) -> Any:
        return svs.MIP if self.metric == "ip" else svs.L2

    def search(self, queries: Float32, k: int) -> Int64:
        """A beam of at least k."""
        self.index.search_window_size = max(self._ef, k)
        found = self.index.search(self.unit(queries), k)[0]
        return np.asarray(found).astype(np.int64)

    def set_threads(self, threads: int) -> None:
        """They belong to the index."""
        self.index.num_threads = threads

    def save(self, folder: Path) -> None:
        """Three folders: settings, graph, codes."""
        self.index.save(*(str(folder / name) for name in ("config", "graph", "data")))
        self._weigh(folder / "data")

    def _weigh(self, folder: Path) -> None:
        """How many bytes its codes take is known from their files alone."""
        self._codes = sum(one.stat().st_size for one in folder.iterdir())

    def load(self, folder: Path, x: Float32) -> None:
        """Those folders."""
        config, graph, held = (str(folder / name) for name in ("config", "graph", "data"))
        kind = svs.LVQLoader if int(self.options["bits"]) else svs.VectorDataLoader
        self.index = svs.Vamana(config, svs.GraphLoader(graph), kind(held), self._distance())
        self._weigh(folder / "data")

    def parts(self, n: int) -> dict[str, int]:
        """Codes with their scales."""
        return {"codes": self._codes}
