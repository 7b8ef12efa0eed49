"""Stock FAISS in a process of its own: it reads index files, searches them, and has no dqindex.

Lines on stdin are JSON: an index file, a ``.npy`` file of queries, and k; all lists are probed. A
line of JSON comes back for each: how many vectors there are, the labels, the distances.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np


class StockFaiss:
    """The process: ``with StockFaiss() as stock: stock.search(folder, queries, k)``."""

    def __enter__(self) -> StockFaiss:
        command = [sys.executable, __file__]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self,
        kind: object,
        error: object,
        at: object,
    ) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(60)
        assert self._child.stdout is not None
        self._child.stdout.close()

    def search(self, folder: Path, queries: Path, k: int) -> tuple[int, Any, Any]:
        """Number of vectors, labels and distances, of the index in `folder`; all lists probed."""
        name = json.loads((folder / "manifest.json").read_bytes())["files"]["index"]["name"]
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps([str(folder / name), str(queries), k]) + "\n")
        self._child.stdin.flush()
        n, labels, distances = json.loads(self._child.stdout.readline())
        return n, np.array(labels), np.array(distances, dtype=np.float32)


def core_of(index: Any) -> Any:
    """What is behind transforms and refinements."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return core_of(index.index)
    return core_of(index.base_index) if isinstance(index, faiss.IndexRefine) else index


def answer(name: str, queries: str, k: int) -> str:
    """One line."""
    index = faiss.read_index(name)
    core = core_of(index)
    if hasattr(core, "nlist"):
        core.nprobe = core.nlist
    if hasattr(core, "hnsw"):
        core.hnsw.efSearch = 1000
    inner = faiss.downcast_index(index)
    while isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    if isinstance(inner, faiss.IndexRefine):
        inner.k_factor = max(1.0, index.ntotal / k)
    distances, labels = index.search(np.load(queries), k)
    return json.dumps([index.ntotal, labels.tolist(), distances.tolist()])


if __name__ == "__main__":
    faiss.omp_set_num_threads(1)
    for line in sys.stdin:
        sys.stdout.write(answer(*json.loads(line)) + "\n")
        sys.stdout.flush()
