"""usearch: HNSW over vectors of fewer bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from usearch.index import Index

from dqindex._types import Float32, Int64
from dqindex.bench.peers.base import EF, Options, Peer

BYTES = {"f32": 4, "f16": 2, "bf16": 2, "i8": 1}


class UsearchPeer(Peer):
    """``usearch:dtype=i8,connectivity=16,expansion_add=128``; dtypes f32, f16, bf16, i8."""

    package = "usearch"
    rest = "graph"
    loads = True
    defaults: ClassVar[Options] = {"dtype": "f32", "connectivity": 16, "expansion_add": 128}
    index: Any

    def build(self, x: Float32, threads: int) -> None:
        """One graph; i8 wants values within 1, so all are divided by the largest."""
        self._prepare(x)
        with self.step("add"):
            self.index.add(np.arange(len(x)), self._scaled(x), threads=threads)

    def _prepare(self, x: Float32) -> None:
        """An empty index for vectors as `x` has them."""
        self._d = x.shape[1]
        self._scale = 1.0
        if self.options["dtype"] == "i8" and self.metric != "cosine":
            self._scale = 1 / float(np.abs(x).max())
        kind = {"l2": "l2sq", "ip": "ip", "cosine": "cos"}[self.metric]
        self.index = Index(ndim=self._d, metric=kind, **self.options)

    def _scaled(self, x: Float32) -> Float32:
        return x if self._scale == 1 else x * np.float32(self._scale)

    def search(self, queries: Float32, k: int) -> Int64:
        """One query or many; usearch answers one with a row."""
        keys = np.asarray(self.index.search(self._scaled(queries), k, threads=self.threads).keys)
        return keys.astype(np.int64).reshape(len(queries), -1)

    def grid(self) -> dict[str, list[float]]:
        """The width of the beam."""
        return {"expansion_search": [float(ef) for ef in EF]}

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """The width of the beam."""
        self.index.expansion_search = int(parameters["expansion_search"])

    def save(self, folder: Path) -> None:
        """One file."""
        self.index.save(str(folder / "index.usearch"))

    def load(self, folder: Path, x: Float32) -> None:
        """That file."""
        self._prepare(x)
        self.index.load(str(folder / "index.usearch"))

    def parts(self, n: int) -> dict[str, int]:
        """Vectors and 8-byte keys."""
        return {"codes": BYTES[str(self.options["dtype"])] * self._d * n, "ids": 8 * n}
