"""Balanced principal-axis product quantisation over FAISS.

``build_index`` makes an ANN index that stock FAISS reads; ``DQModel`` gives the codes (semantic
IDs) themselves; ``DQTransform`` and ``ProductCodebooks`` are its two halves; ``semantic_ids`` makes
a catalogue's map of unique IDs; ``validate`` measures the claim that DQ-VAE is PQ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dqindex import errors
from dqindex._version import __version__

if TYPE_CHECKING:
    from dqindex.claim import validate
    from dqindex.claim.dqvae import DQVAE
    from dqindex.evaluation import distortion, exact_neighbors, recall_at
    from dqindex.index.answers import RangeResult, SearchResult
    from dqindex.index.build import build_index
    from dqindex.index.index import DQIndex
    from dqindex.index.merging import build_like, merge_indexes
    from dqindex.index.opening import open_index
    from dqindex.index.target import build_to_target
    from dqindex.quantizer.balance import deal
    from dqindex.quantizer.codebooks import ProductCodebooks
    from dqindex.quantizer.losses import Losses
    from dqindex.quantizer.model import DQModel
    from dqindex.quantizer.moments import Moments
    from dqindex.quantizer.transform import DQTransform
    from dqindex.sids.semantic_ids import SemanticIds, read_sids, semantic_ids
    from dqindex.vectors import VectorSource, open_vectors

# What is public, and where it lives: imported on first use, so that ``import dqindex`` is quick.
_HOME = {
    "DQIndex": "index.index",
    "DQModel": "quantizer.model",
    "DQTransform": "quantizer.transform",
    "DQVAE": "claim.dqvae",
    "Losses": "quantizer.losses",
    "Moments": "quantizer.moments",
    "ProductCodebooks": "quantizer.codebooks",
    "RangeResult": "index.answers",
    "SearchResult": "index.answers",
    "SemanticIds": "sids.semantic_ids",
    "VectorSource": "vectors",
    "build_index": "index.build",
    "build_like": "index.merging",
    "build_to_target": "index.target",
    "deal": "quantizer.balance",
    "distortion": "evaluation",
    "exact_neighbors": "evaluation",
    "merge_indexes": "index.merging",
    "open_index": "index.opening",
    "open_vectors": "vectors",
    "read_sids": "sids.semantic_ids",
    "recall_at": "evaluation",
    "semantic_ids": "sids.semantic_ids",
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
    "RangeResult",
    "SearchResult",
    "SemanticIds",
    "VectorSource",
    "__version__",
    "build_index",
    "build_like",
    "build_to_target",
    "deal",
    "distortion",
    "errors",
    "exact_neighbors",
    "merge_indexes",
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
