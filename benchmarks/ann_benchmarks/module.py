"""dqindex in ann-benchmarks: copy this folder to ``ann_benchmarks/algorithms/dqindex``."""

from __future__ import annotations

import faiss
import numpy as np

import dqindex

from ..base.module import BaseANN

METRICS = {"angular": "cosine", "euclidean": "l2"}


class DQFastScan(BaseANN):
    """An inverted file of 4-bit DQ codes, refined.

    Parameters
    ----------
    metric : {"angular", "euclidean"}
    n_lists : int
        Inverted lists.
    grain : int
        Dimensions a 4-bit code.
    refinement : str
        What the best are ranked by: a FAISS codec as in ``Refine(SQ8)``, or ``RFlat``.
    """

    def __init__(self, metric: str, n_lists: int, grain: int, refinement: str) -> None:
        self._metric = METRICS[metric]
        self._n_lists, self._grain, self._refinement = n_lists, grain, refinement
        self._parameters: dict[str, float] = {}
        self.name = str(self)

    def fit(self, X: np.ndarray) -> None:
        """Build the index; the number of codes follows from the width of `X`.

        Searches are then on one thread, as those of ``faiss_hnsw``: the harness compares cores.
        """
        size = -(-X.shape[1] // self._grain)
        spec = f"DQ{size},IVF{self._n_lists},PQ{size}x4fs,{self._refinement}"
        self._index = dqindex.build_index(X, spec, metric=self._metric).index
        faiss.omp_set_num_threads(1)

    def set_query_arguments(self, nprobe: int, k_factor: float) -> None:
        """Lists to probe, and how many times n to refine."""
        self._parameters = {"nprobe": nprobe, "k_factor_rf": k_factor}
        space = faiss.ParameterSpace()
        for name, value in self._parameters.items():
            space.set_index_parameter(self._index, name, value)

    def query(self, q: np.ndarray, n: int) -> np.ndarray:
        """Neighbours of one vector; the index normalises it where the metric asks for it."""
        return self._found(self._index.search(q[None].astype(np.float32), n)[1][0])

    def batch_query(self, X: np.ndarray, n: int) -> None:
        """Neighbours of all rows at once."""
        self._batch = self._index.search(np.ascontiguousarray(X, dtype=np.float32), n)[1]

    def get_batch_results(self) -> list[np.ndarray]:
        """What `batch_query` found."""
        return [self._found(row) for row in self._batch]

    @staticmethod
    def _found(positions: np.ndarray) -> np.ndarray:
        return positions[positions >= 0]

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self._parameters.items())
        made = f"lists={self._n_lists}, grain={self._grain}, {self._refinement}"
        return f"DQFastScan({made}{', ' if settings else ''}{settings})"
