"""How well the codes of an index fit vectors: to tell when new ones no longer look like the old."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from dqindex._types import Float32
from dqindex.errors import warn
from dqindex.index.adding import apply_transform, coarse_residuals
from dqindex.index.anatomy import dissect
from dqindex.index.folder import Manifest
from dqindex.parallel.threads import thread_limit
from dqindex.vectors import VectorSource

ROWS = 2048
# Where there were fewer training vectors a codeword or a list, theirs fit better than any others.
LEAST_A_CENTROID = 20
# New vectors that lose this many times as much as the old are of another kind.
FACTOR = 1.25
# Standard errors by which the means must differ: a handful of vectors says little.
ERRORS = 4.0
# Fewer than this say nothing at all.
LEAST_ROWS = 32


def distortion(index: Any, x: Float32) -> tuple[float, float]:
    """Mean squared distance of vectors to what their codes stand for, and its standard error.

    Of at most `ROWS` of them; where codes are exact, to the centroid of their list; 0 where there
    is none. On one thread, so that it is the same number on any.
    """
    with thread_limit(1):
        errors = _errors(index, some_of(x))
    spread = float(errors.std()) / max(1.0, np.sqrt(len(errors)))
    return float(f"{errors.mean():.6g}"), spread


def some_of(x: Float32) -> Float32:
    """A copy of at most `ROWS` of the vectors, drawn evenly."""
    if len(x) <= ROWS:
        return x.copy()
    return x[np.random.default_rng(0).choice(len(x), ROWS, replace=False, shuffle=False)]


def _errors(index: Any, x: Float32) -> Any:
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        dropped = np.zeros(len(x))
        for place in range(index.chain.size()):
            link = faiss.downcast_VectorTransform(index.chain.at(place))
            y = apply_transform(link, x)
            if isinstance(link, faiss.LinearTransform) and link.is_orthonormal:
                # What the transform leaves out is lost as well.
                lost = x - link.reverse_transform(y)
                dropped += np.einsum("ij,ij->i", lost, lost)
            x = y
        return dropped + _errors(index.index, x)
    if isinstance(index, faiss.IndexRefine):
        return _errors(index.base_index, x)
    if hasattr(index, "hnsw"):
        index = faiss.downcast_index(index.storage)
    x = np.ascontiguousarray(x)
    if isinstance(index, faiss.IndexIVFPQ | faiss.IndexIVFPQFastScan):
        # FAISS's sa_decode ends the process for fast-scan lists that were read from a file.
        if index.by_residual:
            _, x = coarse_residuals(index.quantizer, x)
        apart = x - index.pq.decode(index.pq.compute_codes(np.ascontiguousarray(x)))
    else:
        apart = x - index.sa_decode(index.sa_encode(x))
    errors = np.einsum("ij,ij->i", apart, apart).astype(np.float64)
    if isinstance(index, faiss.IndexIVF) and not errors.any():
        _, apart = coarse_residuals(index.quantizer, x)
        errors = np.einsum("ij,ij->i", apart, apart).astype(np.float64)
    return errors


def says_something(index: Any, train_rows: int) -> bool:
    """Whether there were enough training vectors for their distortion to be that of others."""
    parts = dissect(index)
    fast = isinstance(parts.core, faiss.IndexIVFFastScan) and parts.pq is None
    if fast or isinstance(parts.core, faiss.IndexLSH):
        # FAISS gives nothing back from their codes, or no vectors.
        return False
    centroids = max(
        int(parts.pq.ksub) if parts.pq is not None else 1,
        int(parts.ivf.nlist) if parts.ivf is not None else 1,
    )
    return train_rows >= LEAST_A_CENTROID * centroids


def noted(manifest: Manifest, index: Any, source: VectorSource) -> Manifest:
    """`manifest` with how well the codes fit the vectors of `source`, which were added.

    Warns
    -----
    DQWarning
        Where they fit them much worse than those that the index was trained on.
    """
    record = dict(manifest.get("distortion") or {})
    if "trained" not in record or not source.n:
        return manifest
    new, old = distortion(index, source.sample(ROWS)), record["trained"]
    before = int(record.get("added_rows", 0))
    total = before + source.n
    record["added"] = (record.get("added", 0.0) * before + new[0] * source.n) / total
    record["added_rows"] = total
    if source.n >= LEAST_ROWS and _look_different(new, old):
        warn(
            f"{source.name}: the mean distortion of these vectors is {new[0] / old:.2f} times "
            f"that of the training vectors ({new[0]:.4g} and {old:.4g}); they look different, so "
            f"build a new index before it holds many of them"
        )
    return {**manifest, "distortion": record}


def _look_different(new: tuple[float, float], old: float) -> bool:
    """Whether vectors of a mean distortion (and its error) are of another kind than the old."""
    mean, error = new
    return mean > FACTOR * old and mean - old > ERRORS * error
