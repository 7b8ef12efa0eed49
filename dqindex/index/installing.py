"""Write what was learned into a FAISS index, so that FAISS takes it for trained."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from dqindex._types import Float32
from dqindex.index.anatomy import Anatomy
from dqindex.quantizer.transform import DQTransform

# Cores that hold nothing learned but coarse centroids and codebooks.
PLAIN_CORES = (
    "IndexPQ",
    "IndexPQFastScan",
    "IndexIVFPQ",
    "IndexIVFPQFastScan",
    "IndexHNSWPQ",
    "IndexNSGPQ",
)


def install_rotation(link: Any, transform: DQTransform) -> None:
    """Write `transform` into `link`, the OPQ that holds its place in the chain."""
    linear = transform.to_faiss()
    link.A, link.b, link.have_bias = linear.A, linear.b, linear.have_bias
    # As it is found to be when FAISS reads it from a file.
    link.set_is_orthonormal()
    link.is_trained = True


def uncentre(link: Any) -> None:
    """Make a trained PCA subtract no mean, which would change the order of inner products."""
    if isinstance(link, faiss.PCAMatrix):
        link.have_bias = False


def install_codebooks(parts: Anatomy, codebooks: list[Float32], rows: Float32) -> None:
    """Give the PQ of `parts` its codewords; its coarse quantizer must be ready.

    Parameters
    ----------
    codebooks : list of M arrays (ksub, dsub)
    rows : (n, d) float32
        Vectors as they reach the core: for a second PQ on what the first leaves over, which FAISS
        learns itself.
    """
    core, pq = parts.core, parts.pq
    faiss.copy_array_to_vector(np.stack(codebooks).ravel(), pq.centroids)
    if hasattr(core, "use_precomputed_table"):
        # The table that speeds up searching takes memory that training needs; see build.
        core.use_precomputed_table = -1
    if type(core).__name__ in PLAIN_CORES:
        if parts.holder is not core:
            # Graphs compare codes with codes.
            pq.compute_sdc_table()
        parts.holder.is_trained = core.is_trained = True
        return
    # FAISS's own training is to find the codewords in place and to change nothing: no iteration,
    # and no permutation for polysemous codes, which serve no search that is offered here.
    pq.train_type = faiss.ProductQuantizer.Train_hot_start
    pq.cp.niter = 0
    pq.cp.min_points_per_centroid = 1
    core.do_polysemous_training = False
    # With exactly ksub vectors it would take those instead: one more, repeated if need be.
    if len(rows) <= pq.ksub:
        rows = np.resize(rows, (pq.ksub + 1, rows.shape[1]))
    core.train(np.ascontiguousarray(rows))
    pq.train_type = faiss.ProductQuantizer.Train_default


def mark_trained(index: faiss.Index) -> None:
    """Tell the wrappers, from the inside out, that their parts are trained."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        mark_trained(index.index)
        index.is_trained = True
    elif isinstance(index, faiss.IndexRefine):
        mark_trained(index.base_index)
        index.is_trained = True
