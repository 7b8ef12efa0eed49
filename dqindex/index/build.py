"""`build_index`: vectors and a spec string in, a searchable index out."""

from __future__ import annotations

from typing import Any

import faiss

from dqindex._types import Progress, no_progress
from dqindex.errors import InputError, SpecError
from dqindex.index.adding import add_blocks
from dqindex.index.anatomy import dissect
from dqindex.index.codecs import check_codecs
from dqindex.index.folder import Manifest
from dqindex.index.index import DQIndex
from dqindex.index.spec import make_index, parse_spec
from dqindex.index.training import check_covariance, least_rows, train, training_rows
from dqindex.index.weight import code_bytes
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer.balance import OBJECTIVES
from dqindex.storage.files import versions
from dqindex.vectors import open_vectors
from dqindex.vectors.rescaled import RescaledVectors

# Search defaults; FAISS leaves both at 1, which finds little.
LISTS_PER_PROBE = 16
K_FACTOR = 8.0


def build_index(
    vectors: Any,
    spec: str,
    *,
    metric: str = "l2",
    balance: str = "log-variance",
    covariance: str | None = None,
    polish: int = 0,
    train_rows: int | None = None,
    block_rows: int | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> DQIndex:
    """Train an index on a sample of the vectors and add them all.

    Parameters
    ----------
    vectors : array (n, d), path, or VectorSource
        Read in blocks: memory is bounded by the block, the training sample and the index.
    spec : str
        FAISS's index_factory grammar, and ``DQ{L}`` or ``DQ{L}_{d_out}`` wherever OPQ could stand,
        as in ``DQ16,IVF1024,PQ16``.
    metric : {"l2", "ip", "cosine"}
    balance : {"log-variance", "variance"}
        What DQ makes equal between subspaces. The default finds more neighbours in flat indexes;
        on residuals the two are level (benchmarks/results/dq_vs_opq.json).
    covariance : {"raw", "residual"}, optional
        What DQ learns its axes from; by default the residuals to the coarse centroids where the
        index quantises those, the vectors themselves otherwise.
    polish : int
        Rounds of OPQ from the DQ start, at most; 0 for none. See `dqindex.quantizer.polish`.
    train_rows : int, optional
        Size of the training sample.
    block_rows, threads, seed
        Rows read at a time; threads (all CPUs by default); seed of every random choice.
    progress : callable, optional
        Called with (what, done, total): "check", "train" and "add", in vectors.

    Returns
    -------
    DQIndex

    Raises
    ------
    SpecError
        If the spec is malformed or does not fit the vectors.
    InputError, NonFiniteError, FileFormatError
        If the vectors are unusable: found before training starts.
    RangeError
        If a vector is longer than float32 can square, or all are shorter, or a codec of the spec
        can't hold their values: likewise. For ``cosine``, all finite vectors are served.

    Examples
    --------
    >>> import numpy as np
    >>> Z = np.random.default_rng(0).normal(size=(2000, 20)).astype(np.float32)
    >>> index = build_index(Z, "DQ4,PQ4")
    >>> index.search(Z[:3], k=1).ids.shape
    (3, 1)
    """
    source = open_vectors(vectors)
    if metric == "cosine":
        source = RescaledVectors(source)
    if balance not in OBJECTIVES:
        raise InputError(f"balance is {balance!r}; use one of {', '.join(OBJECTIVES)}")
    report = progress or no_progress
    with thread_limit(threads):
        parsed = parse_spec(spec, source.d)
        index = make_index(parsed, source.d, metric)
        parts = dissect(index)
        covariance = check_covariance(parsed, parts, covariance)
        if polish < 0 or (polish and (parsed.n_subspaces is None or parts.pq is None)):
            raise SpecError(
                f"spec {spec!r}: polish={polish} needs a DQ before a PQ, and 0 or more rounds"
            )
        if source.n < least_rows(parts):
            raise InputError(
                f"{source.name}: {source.n} vectors are too few for {spec!r}, which needs at "
                f"least {least_rows(parts)}; use fewer lists or codewords"
            )
        ids = source.ids
        check_codecs(index, spec, metric, source.check(block_rows, report))
        wanted = training_rows(parts, source.d) if train_rows is None else train_rows
        sample = source.sample(max(wanted, least_rows(parts)), seed=seed)
        trained = train(
            index,
            parsed,
            sample,
            metric=metric,
            balance=balance,
            covariance=covariance,
            polish_rounds=polish,
            seed=seed,
            progress=report,
        )
        used = len(sample)
        del sample
        parameters = _default_parameters(index)
        done = 0
        for added in add_blocks(index, source.blocks(block_rows)):
            done += added
            report("add", done, source.n)
        _precompute(index)
    manifest: Manifest = {
        "spec": spec,
        "metric": metric,
        "n": source.n,
        "d": source.d,
        "bytes_per_vector": code_bytes(index),
        "search_parameters": parameters,
        "settings": {
            "balance": balance if trained.transform is not None else None,
            "covariance": trained.covariance,
            "polish": polish,
            "train_rows": used,
            "seed": seed,
        },
        "transform": None if trained.transform is None else trained.transform.summary(),
        "versions": versions(),
    }
    return DQIndex(index, manifest, ids, trained.model, trained.seconds)


def _precompute(index: faiss.Index) -> None:
    """Make the table of an IVF-PQ that FAISS makes as it reads one; training left it out."""
    core = dissect(index).core
    if getattr(core, "use_precomputed_table", 0) == -1:
        core.use_precomputed_table = 0
        core.precompute_table()


def _default_parameters(index: faiss.Index) -> dict[str, float]:
    """Set, and return, search defaults; FAISS stores them in its file."""
    parts = dissect(index)
    parameters: dict[str, float] = {}
    if parts.ivf is not None:
        parts.ivf.nprobe = max(1, parts.ivf.nlist // LISTS_PER_PROBE)
        parameters["nprobe"] = int(parts.ivf.nprobe)
    if parts.refine is not None:
        parts.refine.k_factor = K_FACTOR
        parameters["k_factor_rf"] = K_FACTOR
    return parameters
