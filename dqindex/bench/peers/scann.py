"""ScaNN: a tree, anisotropic product quantisation, and reordering by the vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scann import ReorderType, scann_ops_pybind

from dqindex._types import Float32, Int64
from dqindex.bench.peers.base import Options, Peer, default_lists, probes
from dqindex.errors import SpecError

TRAINING = 250_000
REORDER = {
    "f32": (ReorderType.FLOAT32, 4),
    "bf16": (ReorderType.BFLOAT16, 2),
    "i8": (ReorderType.INT8, 1),
    "none": (None, 0),
}


class ScannPeer(Peer):
    """``scann:leaves=512,dims=2,reorder=f32``: leaves 0 for about the square root of n.

    ``reorder`` by f32, bf16 or i8 vectors, or none.
    """

    package = "scann"
    loads = True
    defaults: ClassVar[Options] = {"leaves": 0, "dims": 2, "reorder": "f32", "threshold": 0.2}
    searcher: Any

    def build(self, x: Float32, threads: int) -> None:
        """The configuration that its documentation recommends, for squared L2 or dot products."""
        kept = self._prepare(x)
        rows = self.unit(x)
        # Cosine is the dot product of unit vectors.
        kind = "squared_l2" if self.metric == "l2" else "dot_product"
        # Anisotropic weights are for dot products.
        threshold = float("nan") if self.metric == "l2" else float(self.options["threshold"])
        builder = (
            scann_ops_pybind.builder(rows, 10, kind)
            .set_n_training_threads(threads)
            .tree(
                num_leaves=self._leaves,
                num_leaves_to_search=1,
                training_sample_size=min(len(x), TRAINING),
                spherical=self.metric == "cosine",
            )
            .score_ah(int(self.options["dims"]), anisotropic_quantization_threshold=threshold)
        )
        if kept is not None:
            builder = builder.reorder(100, quantize=kept)
        with self.step("all"):
            self.searcher = builder.build()

    def _prepare(self, x: Float32) -> Any:
        """Take the options for vectors as `x` has them; how they are kept for reordering."""
        if self.options["reorder"] not in REORDER:
            raise SpecError(f"scann: reorder is one of {', '.join(REORDER)}")
        kept, self._reorder_bytes = REORDER[str(self.options["reorder"])]
        self._d = x.shape[1]
        self._leaves = int(self.options["leaves"]) or default_lists(len(x))
        return kept

    def set_threads(self, threads: int) -> None:
        """ScaNN has a call for one thread and a call for many."""
        self.threads = threads
        if threads > 1:
            self.searcher.set_num_threads(threads)

    def search(self, queries: Float32, k: int) -> Int64:
        """The call for one, for a batch on one thread, or for a batch on many."""
        wanted = self.unit(queries)
        leaves, reorder = self._searched, max(self._reordered, k) if self._reordered else k
        if len(wanted) == 1:
            found = self.searcher.search(wanted[0], k, reorder, leaves)[0][None]
        else:
            many = self.threads > 1
            call = self.searcher.search_batched_parallel if many else self.searcher.search_batched
            found = call(wanted, k, reorder, leaves)[0]
        out = np.full((len(queries), k), -1, dtype=np.int64)
        out[:, : found.shape[1]] = found
        out[out >= np.iinfo(np.uint32).max] = -1
        return out

    def grid(self) -> dict[str, list[float]]:
        """Leaves to search, and candidates to reorder."""
        grid = {"leaves_to_search": probes(self._leaves)}
        if self._reorder_bytes:
            grid["reorder"] = [20.0, 50.0, 100.0, 200.0]
        return grid

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Leaves to search, and candidates to reorder."""
        self._searched = int(parameters["leaves_to_search"])
        self._reordered = int(parameters.get("reorder", 0))

    def save(self, folder: Path) -> None:
        """A folder of files."""
        self.searcher.serialize(str(folder.absolute()))

    def load(self, folder: Path, x: Float32) -> None:
        """That folder; its files name each other by where they were written."""
        self._prepare(x)
        self.searcher = scann_ops_pybind.load_searcher(str(folder.absolute()))

    def parts(self, n: int) -> dict[str, int]:
        """4 bits a block of dimensions, and the vectors where there is reordering."""
        codes = -(-self._d // int(self.options["dims"])) * n // 2
        return {"codes": codes + self._reorder_bytes * self._d * n}
