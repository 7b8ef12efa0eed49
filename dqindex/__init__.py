"""Balanced principal-axis product quantisation over FAISS.

``build_index`` makes an ANN index that stock FAISS reads; ``DQModel`` gives the codes (semantic
IDs) themselves; ``DQTransform`` and ``ProductCodebooks`` are its two halves; ``semantic_ids`` makes
a catalogue's map of unique IDs; ``validate`` measures the claim that DQ-VAE is PQ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dqindex._version import __version__

if TYPE_CHECKING:
    from dqindex.balance import deal
    from dqindex.build import build_index
    from dqindex.claim import validate
    from dqindex.codebooks import ProductCodebooks
    from dqindex.dqvae import DQVAE
    from dqindex.evaluation import distortion, exact_neighbors, recall_at
    from dqindex.index import DQIndex, SearchResult, open_index
    from dqindex.model import DQModel, Losses
    from dqindex.moments import Moments
    from dqindex.sids.extract import semantic_ids
    from dqindex.sids.formats import read_sids
    from dqindex.sids.map import SemanticIds
    from dqindex.transform import DQTransform
    from dqindex.vectors import VectorSource, open_vectors

# What is public, and where it lives: imported on first use, so that ``import dqindex`` is quick.
_HOME = {
    "DQIndex": "index",
    "DQModel": "model",
    "DQTransform": "transform",
    "DQVAE": "dqvae",
    "Losses": "model",
    "Moments": "moments",
    "ProductCodebooks": "codebooks",
    "SearchResult": "index",
    "SemanticIds": "sids.map",
    "VectorSource": "vectors",
    "build_index": "build",
    "deal": "balance",
    "distortion": "evaluation",
    "exact_neighbors": "evaluation",
    "open_index": "index",
    "open_vectors": "vectors",
    "read_sids": "sids.formats",
    "recall_at": "evaluation",
    "semantic_ids": "sids.extract",
    "validate": "claim",
}

__all__ = [  # noqa: RUF022 (in the order of sorted)
    "DQIndex",
    "DQModel",
    "DQTransform",
    "DQVAE",
    "Losses",
    "Moments",
    "ProductCodebooks",
    "SearchResult",
    "SemanticIds",
    "VectorSource",
    "__version__",
    "build_index",
    "deal",
    "distortion",
    "exact_neighbors",
    "open_index",
    "open_vectors",
    "read_sids",
    "recall_at",
    "semantic_ids",
    "validate",
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
