"""turbovec: TurboQuant, a random rotation and scalar codes, scanned exhaustively."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import turbovec

from dqindex._types import Float32, Int64
from dqindex.bench.peers.base import Options, Peer, pad

CALIBRATION = 1024


class TurbovecPeer(Peer):
    """``turbovec:bits=4``: 2 to 4 bits a dimension, the width filled up to a multiple of 8."""

    package = "turbovec"
    defaults: ClassVar[Options] = {"bits": 4}
    # It ranks by inner products.
    metrics = ("ip", "cosine")
    index: Any

    def build(self, x: Float32, threads: int) -> None:
        """Calibrate on a random sample, as its documentation advises, and add."""
        rows = pad(self.unit(x), 8)
        self._width = rows.shape[1]
        chosen = np.random.default_rng(self.seed).choice(
            len(x), min(CALIBRATION, len(x)), replace=False
        )
        self.index = turbovec.TurboQuantIndex(dim=self._width, bit_width=int(self.options["bits"]))
        with self.step("codebooks"):
            self.index.calibrate(rows[chosen])
        with self.step("add"):
            self.index.add(rows)
            self.index.prepare()

    def search(self, queries: Float32, k: int) -> Int64:
        """A scan of all codes; its threads are those it may run on."""
        return np.asarray(self.index.search(pad(self.unit(queries), 8), k)[1], dtype=np.int64)

    def save(self, folder: Path) -> None:
        """One file."""
        self.index.write(str(folder / "index.tv"))

    def parts(self, n: int) -> dict[str, int]:
        """Scalar codes."""
        return {"codes": int(self.options["bits"]) * self._width // 8 * n}
