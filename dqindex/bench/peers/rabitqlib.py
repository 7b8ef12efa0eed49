"""rabitqlib: RaBitQ codes in an inverted file, by its authors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rabitqlib import IvfIndex, RaBitQKMeans

from dqindex._types import Float32, Int64
from dqindex.bench.peers.base import Options, Peer, default_lists, pad, probes


class RabitqlibPeer(Peer):
    """``rabitqlib:bits=4,lists=512``: 1 to 9 bits a dimension; lists 0 for the square root of n.

    The width is filled up to a multiple of 64, which its rotation demands.
    """

    package = "rabitqlib"
    loads = True
    defaults: ClassVar[Options] = {"bits": 4, "lists": 0}
    index: Any

    def build(self, x: Float32, threads: int) -> None:
        """Its own clustering, then its codes."""
        rows = pad(self.unit(x), 64)
        self._prepare(x)
        with self.step("coarse"):
            clusters = RaBitQKMeans(rows.shape[1], self._lists, seed=self.seed, num_threads=threads)
            clusters.train(rows)
        kind = "ip" if self.metric == "ip" else "l2"
        self.index = IvfIndex(
            rows.shape[1], len(x), self._lists, int(self.options["bits"]), metric=kind
        )
        with self.step("add"):
            assignments = np.asarray(clusters.assignments).astype(np.uint32)
            self.index.build(rows, np.asarray(clusters.centroids), assignments, threads)

    def _prepare(self, x: Float32) -> None:
        """Take the options for vectors as `x` has them."""
        self._lists = int(self.options["lists"]) or default_lists(len(x))
        self._bits = int(self.options["bits"]) * (x.shape[1] + -x.shape[1] % 64)

    def search(self, queries: Float32, k: int) -> Int64:
        """By its estimated distances."""
        wanted = pad(self.unit(queries), 64)
        found = self.index.search(wanted, k, self._nprobe, num_threads=self.threads)[0]
        out = np.asarray(found).astype(np.int64)
        out[out >= np.iinfo(np.uint32).max] = -1
        return out

    def grid(self) -> dict[str, list[float]]:
        """Lists to probe."""
        return {"nprobe": probes(self._lists)}

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Lists to probe."""
        self._nprobe = int(parameters["nprobe"])

    def save(self, folder: Path) -> None:
        """One file."""
        self.index.save(str(folder / "index.rabitq"))

    def load(self, folder: Path, x: Float32) -> None:
        """That file."""
        self._prepare(x)
        self.index = IvfIndex.load(str(folder / "index.rabitq"))

    def parts(self, n: int) -> dict[str, int]:
        """Codes, and 4-byte ids; the factors of each code count as overhead."""
        return {"codes": self._bits * n // 8, "ids": 4 * n}
