"""hnswlib: the reference HNSW."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import hnswlib
import numpy as np

from dqindex._types import Float32, Int64
from dqindex.bench.peers.base import GraphPeer, Options


class HnswlibPeer(GraphPeer):
    """``hnswlib:M=16,ef_construction=200``."""

    package = "hnswlib"
    defaults: ClassVar[Options] = {"M": 16, "ef_construction": 200}
    index: Any

    def build(self, x: Float32, threads: int) -> None:
        """One graph over float32 vectors."""
        self._d = x.shape[1]
        # It calls the metrics as we do.
        self.index = hnswlib.Index(self.metric, self._d)
        with self.step("add"):
            self.index.init_index(len(x), random_seed=self.seed + 100, **self.options)
            self.index.add_items(x, num_threads=threads)

    def search(self, queries: Float32, k: int) -> Int64:
        """A beam of at least k, as hnswlib demands."""
        self.index.set_ef(max(self._ef, k))
        found = self.index.knn_query(queries, k, num_threads=self.threads)[0]
        return np.asarray(found, dtype=np.int64)

    def save(self, folder: Path) -> None:
        """One file."""
        self.index.save_index(str(folder / "index.hnsw"))

    def load(self, folder: Path, x: Float32) -> None:
        """That file."""
        self._d = x.shape[1]
        self.index = hnswlib.Index(self.metric, self._d)
        self.index.load_index(str(folder / "index.hnsw"), max_elements=len(x))

    def parts(self, n: int) -> dict[str, int]:
        """Vectors and 8-byte labels."""
        return {"codes": 4 * self._d * n, "ids": 8 * n}
