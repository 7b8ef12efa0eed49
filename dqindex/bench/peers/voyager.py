"""voyager: Spotify's HNSW."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import voyager

from dqindex._types import Float32, Int64
from dqindex.bench.peers.base import GraphPeer, Options

BYTES = {"Float32": 4, "Float8": 1, "E4M3": 1}


class VoyagerPeer(GraphPeer):
    """``voyager:dtype=E4M3,M=16,ef_construction=200``; dtypes Float32, Float8 (within 1), E4M3."""

    package = "voyager"
    defaults: ClassVar[Options] = {"dtype": "Float32", "M": 16, "ef_construction": 200}
    index: Any

    def build(self, x: Float32, threads: int) -> None:
        """One graph."""
        self._d = x.shape[1]
        space = {"l2": "Euclidean", "ip": "InnerProduct", "cosine": "Cosine"}[self.metric]
        self.index = voyager.Index(
            getattr(voyager.Space, space),
            self._d,
            M=int(self.options["M"]),
            ef_construction=int(self.options["ef_construction"]),
            random_seed=self.seed + 1,
            storage_data_type=getattr(voyager.StorageDataType, str(self.options["dtype"])),
        )
        with self.step("add"):
            self.index.add_items(x, num_threads=threads)

    def search(self, queries: Float32, k: int) -> Int64:
        """A beam of at least k."""
        found = self.index.query(queries, k, self.threads, max(self._ef, k))[0]
        return np.asarray(found).astype(np.int64)

    def save(self, folder: Path) -> None:
        """One file."""
        self.index.save(str(folder / "index.voy"))

    def load(self, folder: Path, x: Float32) -> None:
        """That file."""
        self._d = x.shape[1]
        self.index = voyager.Index.load(str(folder / "index.voy"))

    def parts(self, n: int) -> dict[str, int]:
        """Vectors and 8-byte labels."""
        return {"codes": BYTES[str(self.options["dtype"])] * self._d * n, "ids": 8 * n}
