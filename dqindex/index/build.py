"""`build_index`: vectors and a spec string in, a searchable index out."""

from __future__ import annotations

from typing import Any

import faiss

from dqindex._parameters import (
    callback,
    checked,
    integer,
    number_at_least,
    one_of,
    or_none,
    text,
    thread_count,
    unbounded,
)
from dqindex._types import METRICS, Progress, no_progress
from dqindex.errors import SpecError
from dqindex.index import drift
from dqindex.index.adding import add_blocks
from dqindex.index.anatomy import Anatomy, dissect
from dqindex.index.codecs import check_codecs, warn_of_outliers
from dqindex.index.folder import Manifest
from dqindex.index.index import DQIndex
from dqindex.index.learning import Settings
from dqindex.index.score_aware import check_score_aware
from dqindex.index.spec import make_index, parse_spec
from dqindex.index.training import (
    COVARIANCES,
    Trained,
    check_covariance,
    check_rows,
    least_rows,
    train,
    training_rows,
)
from dqindex.index.weight import code_bytes
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer.balance import OBJECTIVES
from dqindex.storage.files import versions
from dqindex.vectors import open_vectors
from dqindex.vectors.rescaled import RescaledVectors

# Search defaults; FAISS leaves both at 1, which finds little.
LISTS_PER_PROBE = 16
K_FACTOR = 8.0


@checked(
    spec=text(),
    metric=one_of(*METRICS),
    balance=one_of(*OBJECTIVES),
    covariance=or_none(one_of(*COVARIANCES)),
    polish=integer(0),
    score_aware=number_at_least(1),
    train_rows=or_none(unbounded(1)),
    block_rows=or_none(unbounded(1)),
    threads=thread_count(),
    seed=unbounded(0),
    progress=or_none(callback()),
)
def build_index(
    vectors: Any,
    spec: str,
    *,
    metric: str = "l2",
    balance: str = "log-variance",
    covariance: str | None = None,
    polish: int = 0,
    score_aware: float = 1.0,
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
        FAISS's index_factory grammar, in which ``DQ{L}`` or ``DQ{L}_{d_out}`` may replace OPQ, as
        in ``DQ16,IVF1024,PQ16``.
    metric : {"l2", "ip", "cosine"}
    balance : {"log-variance", "variance"}
        The quantity that is equal in all subspaces. The default has more recall in flat indexes; on
        residuals the two are equal (benchmarks/results/dq_vs_opq.json).
    covariance : {"raw", "residual"}, optional
        Covariance from which DQ learns its axes: by default that of the residuals if the index
        quantises residuals, and that of the vectors otherwise.
    polish : int
        Most rounds of OPQ, which start from DQ; 0 for none. See `dqindex.quantizer.polish`.
    score_aware : float
        For ``cosine`` and ``ip``, weight of the error of a product code along its vector, which
        changes the scores of its neighbours, relative to the error across it: 2 to 4 often give
        more recall for the same bytes. 1 for the nearest codewords. See
        `dqindex.quantizer.score_aware`.
    train_rows : int, optional
        Size of the training sample.
    block_rows, threads, seed
        Vectors read at a time; number of threads (all CPUs by default); seed of every random
        choice.
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
        If the vectors are unusable; raised before the training starts.
    RangeError
        If a vector is longer than float32 can square, or all are shorter, or a codec of the spec
        can't hold their values; raised before the training too. ``cosine`` accepts all finite
        vectors.

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
    report = progress or no_progress
    with thread_limit(threads):
        parsed = parse_spec(spec, source.d)
        index = make_index(parsed, source.d, metric)
        parts = dissect(index)
        covariance = check_covariance(parsed, parts, covariance)
        settings = Settings(parsed, metric, balance, covariance, polish, seed, float(score_aware))
        _check_polish(settings, parts)
        check_score_aware(spec, parts, metric, settings.score_aware)
        check_rows(parsed, parts, source.n, source.name)
        ids = source.ids
        check_codecs(index, spec, metric, source.check(block_rows, report))
        wanted = training_rows(parts, source.d) if train_rows is None else train_rows
        sample = source.sample(max(wanted, least_rows(parts)), seed=seed)
        warn_of_outliers(index, spec, sample)
        used, some = len(sample), drift.some_of(sample)
        trained = train(index, sample, settings, report)
        del sample
        parameters = _default_parameters(index)
        done = 0
        for added in add_blocks(index, source.blocks(block_rows), settings.score_aware):
            done += added
            report("add", done, source.n)
        _precompute(index)
    manifest = _manifest(index, settings, trained, used, parameters)
    if drift.says_something(index, used):
        manifest["distortion"] = {"trained": drift.distortion(index, some)[0]}
    return DQIndex(index, manifest, ids, trained.model, trained.seconds)


def sample_rows(spec: str, metric: str, d: int, n: int) -> int:
    """How many of `n` vectors, `d` wide, `build_index` draws to train on.

    Raises
    ------
    SpecError, InputError
        If the spec is malformed or does not fit the vectors.
    """
    parsed = parse_spec(spec, d)
    index = make_index(parsed, d, metric)
    parts = dissect(index)
    check_rows(parsed, parts, n, "the table")
    return max(training_rows(parts, d), least_rows(parts))


def _check_polish(settings: Settings, parts: Anatomy) -> None:
    spec = settings.spec
    if settings.polish and (spec.n_subspaces is None or parts.pq is None):
        raise SpecError(
            f"spec {spec.text!r}: polish={settings.polish} needs a DQ and a PQ after it, and "
            f"this spec does not have both; leave it out"
        )


def _manifest(
    index: faiss.Index,
    settings: Settings,
    trained: Trained,
    train_rows: int,
    parameters: dict[str, float],
) -> Manifest:
    return {
        "spec": settings.spec.text,
        "metric": settings.metric,
        "n": int(index.ntotal),
        "d": int(index.d),
        "bytes_per_vector": code_bytes(index),
        "search_parameters": parameters,
        "settings": {
            "balance": settings.balance if trained.transform is not None else None,
            "covariance": settings.covariance,
            "polish": settings.polish,
            "score_aware": settings.score_aware,
            "train_rows": train_rows,
            "seed": settings.seed,
        },
        "transform": None if trained.transform is None else trained.transform.summary(),
        "versions": versions(),
    }


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
