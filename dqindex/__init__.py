"""Balanced principal-axis product quantisation over FAISS.

``build_index`` makes an ANN index that stock FAISS reads; ``DQModel`` gives the codes (semantic
IDs) themselves; ``DQTransform`` and ``ProductCodebooks`` are its two halves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dqindex._version import __version__

if TYPE_CHECKING:
    from dqindex.balance import deal
    from dqindex.codebooks import ProductCodebooks
    from dqindex.evaluation import distortion, exact_neighbors, recall_at
    from dqindex.index import DQIndex, SearchResult, build_index, open_index
    from dqindex.model import DQModel, Losses
    from dqindex.moments import Moments
    from dqindex.transform import DQTransform
    from dqindex.vectors import VectorSource, open_vectors

# What is public, and where it lives: imported on first use, so that ``import dqindex`` is quick.
_HOME = {
    "DQIndex": "index",
    "DQModel": "model",
    "DQTransform": "transform",
    "Losses": "model",
    "Moments": "moments",
    "ProductCodebooks": "codebooks",
    "SearchResult": "index",
    "VectorSource": "vectors",
    "build_index": "index",
    "deal": "balance",
    "distortion": "evaluation",
    "exact_neighbors": "evaluation",
    "open_index": "index",
    "open_vectors": "vectors",
    "recall_at": "evaluation",
}

__all__ = [
    "DQIndex",
    "DQModel",
    "DQTransform",
    "Losses",
    "Moments",
    "ProductCodebooks",
    "SearchResult",
    "VectorSource",
    "__version__",
    "build_index",
    "deal",
    "distortion",
    "exact_neighbors",
    "open_index",
    "open_vectors",
    "recall_at",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dqindex' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"dqindex.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
