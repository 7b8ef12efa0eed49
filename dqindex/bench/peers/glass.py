"""glass (pyglass): HNSW, searched by few bits and ranked anew by the vectors."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import glass
import numpy as np

from dqindex._types import Float32, Int64
from dqindex.bench.peers.base import GraphPeer, Options, Unsupported, pad

BYTES = {"FP32": 4, "FP16": 2, "BF16": 2, "SQ8": 1, "SQ8U": 1}
# Its kernels of half precision leave out what is beyond.
WIDTH = 16


class GlassPeer(GraphPeer):
    """``glass:quant=SQ8U,refine=FP32,R=32,L=200``; FP32, FP16, BF16, SQ8, SQ8U, and refine=none."""

    package = "pyglass-portable"
    defaults: ClassVar[Options] = {"quant": "SQ8U", "refine": "FP32", "R": 32, "L": 200}
    index: Any

    def build(self, x: Float32, threads: int) -> None:
        """One graph over float32 vectors; its searcher takes it as it was written."""
        self._held()
        glass.set_num_threads(threads)
        options = {name: int(self.options[name]) for name in ("R", "L")}
        with tempfile.TemporaryDirectory() as folder:
            with self.step("add"):
                graph = glass.Index("HNSW", self._kind(), "FP32", **options)
                graph.build(pad(self.unit(x), WIDTH)).save(f"{folder}/index.glass")
            with self.step("codebooks"):
                self.load(Path(folder), x)

    def _held(self) -> list[str]:
        """The kinds of codes that are held."""
        held = [str(self.options[name]) for name in ("quant", "refine")]
        held = held[: 1 if held[1] == "none" else 2]
        for name in held:
            if name not in BYTES:
                raise Unsupported(f"{self.package} has no codes {name!r}; use {', '.join(BYTES)}")
        return held

    def _kind(self) -> str:
        return "IP" if self.metric == "ip" else "L2"

    def load(self, folder: Path, x: Float32) -> None:
        """That graph, with codes of `x` made anew."""
        rows, held = pad(self.unit(x), WIDTH), self._held()
        self._graph = (folder / "index.glass").read_bytes()
        graph = glass.Graph(str(folder / "index.glass"))
        self.index = glass.Searcher(graph, rows, self._kind(), *held)
        self._codes = sum(BYTES[name] for name in held) * rows.shape[1]
        self._n = len(rows)

    def search(self, queries: Float32, k: int) -> Int64:
        """A beam of at least k."""
        self.index.set_ef(max(self._ef, k))
        found = self.index.batch_search(pad(self.unit(queries), WIDTH), k, self.threads)[0]
        return np.asarray(found, dtype=np.int64).reshape(len(queries), -1)

    def save(self, folder: Path) -> None:
        """The graph as it writes it; it writes no codes, so a file has their size and no more."""
        (folder / "index.glass").write_bytes(self._graph)
        with (folder / "codes").open("wb") as file:
            file.truncate(self._codes * self._n)

    def parts(self, n: int) -> dict[str, int]:
        """Codes that are searched, and those that rank anew."""
        return {"codes": self._codes * n}
