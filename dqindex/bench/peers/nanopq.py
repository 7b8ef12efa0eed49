"""nanopq: PQ and OPQ in plain numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import nanopq
import numpy as np

from dqindex._types import Float32, Int64
from dqindex.bench.peers.base import Options, Peer, Unsupported

TRAINING = 50_000


class NanopqPeer(Peer):
    """``nanopq:M=16,Ks=256,rotate=1``: OPQ, or PQ with rotate=0; scans all codes."""

    package = "nanopq"
    defaults: ClassVar[Options] = {"M": 16, "Ks": 256, "rotate": 1}
    metrics = ("l2", "cosine")
    quantizer: Any

    def build(self, x: Float32, threads: int) -> None:
        """Its own training, on a sample."""
        rows, m, size = self.unit(x), int(self.options["M"]), int(self.options["Ks"])
        if rows.shape[1] % m:
            raise Unsupported(f"nanopq: M={m} does not divide {rows.shape[1]} dimensions")
        chosen = np.random.default_rng(self.seed).choice(
            len(x), min(TRAINING, len(x)), replace=False
        )
        kind = nanopq.OPQ if self.options["rotate"] else nanopq.PQ
        self.quantizer = kind(M=m, Ks=size, verbose=False)
        with self.step("codebooks"):
            self.quantizer.fit(rows[np.sort(chosen)], seed=self.seed)
        with self.step("add"):
            self.codes = self.quantizer.encode(rows)

    def search(self, queries: Float32, k: int) -> Int64:
        """A table of distances a query, added up over all codes."""
        out = np.empty((len(queries), k), dtype=np.int64)
        for place, query in enumerate(self.unit(queries)):
            distances = self.quantizer.dtable(query).adist(self.codes)
            nearest = np.argpartition(distances, k - 1)[:k] if k < len(distances) else slice(None)
            order = np.argsort(distances[nearest])
            out[place] = np.arange(len(distances))[nearest][order]
        return out

    def save(self, folder: Path) -> None:
        """Codes, codewords and rotation."""
        extra = {"R": self.quantizer.R} if self.options["rotate"] else {}
        np.savez(
            folder / "index.npz", codes=self.codes, codewords=self.quantizer.codewords, **extra
        )

    def parts(self, n: int) -> dict[str, int]:
        """The codes."""
        return {"codes": self.codes.nbytes}
