"""Score-aware codes in an index: where they can be, and the directions of what reaches them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import faiss
import numpy as np

from dqindex._types import Float32
from dqindex.errors import SpecError
from dqindex.index.anatomy import Anatomy

# What holds product codes that we make, and FAISS scans.
SCANNED = (
    faiss.IndexPQ,
    faiss.IndexPQFastScan,
    faiss.IndexIVFPQ,
    faiss.IndexIVFPQFastScan,
)


def serves(parts: Anatomy, metric: str) -> bool:
    """Whether an index can have score-aware codes."""
    return metric != "l2" and type(parts.core) in SCANNED


def check_score_aware(spec: str, parts: Anatomy, metric: str, eta: float) -> None:
    """Refuse a weight `eta` above 1 where no codes can be score-aware.

    Raises
    ------
    SpecError
    """
    if eta == 1 or serves(parts, metric):
        return
    if metric == "l2":
        raise SpecError(
            f"score_aware is {eta:g}, and metric is l2, for which an error counts the same in all "
            "directions; use metric cosine or ip, or leave it out"
        )
    raise SpecError(
        f"spec {spec!r}: score_aware={eta:g} is for product codes that are scanned, as in "
        "DQ16,IVF1024,PQ16 or PQ16x4fs; leave it out"
    )


def score_aware_of(manifest: Mapping[str, Any]) -> float:
    """The weight that the codes of an index were made with; 1 for the nearest codewords."""
    return float(manifest["settings"].get("score_aware") or 1.0)


def origin_of(chain: list[Any]) -> Float32:
    """Where the zero vector ends behind all transforms, (1, d): from there directions are taken.

    A normalisation changes no direction, so what is before the last one does not count.
    """
    affine = list(chain)
    for place, link in enumerate(chain):
        if isinstance(link, faiss.NormalizationTransform):
            affine = chain[place + 1 :]
    zero = np.zeros((1, affine[0].d_in if affine else 1), dtype=np.float32)
    for link in affine:
        zero = link.apply(zero)
    return zero
