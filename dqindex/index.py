"""`DQIndex`: spec string to trained FAISS index; build, save, open, search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dqindex.add import add_block
from dqindex.balance import OBJECTIVES
from dqindex.build import check_covariance, least_rows, train, training_rows
from dqindex.errors import InputError, IntegrityError, SpecError
from dqindex.estimator import check_matrix
from dqindex.folder import (
    IndexWriter,
    Manifest,
    checked,
    read_faiss,
    read_version,
    write_faiss,
    write_folder,
)
from dqindex.model import DQModel
from dqindex.spec import dissect, make_index, parse_spec
from dqindex.store import versions
from dqindex.threads import thread_limit
from dqindex.vectors import open_vectors

# Defaults that FAISS leaves at 1, which finds little.
LISTS_PER_PROBE = 16
K_FACTOR = 8.0


class SearchResult(NamedTuple):
    """Neighbours, the nearest first.

    Attributes
    ----------
    ids : (n_queries, k) array
        The catalogue's ids (int64, or str in an object array), or positions if it has none;
        -1, or None for strings, where fewer than k were found.
    distances : (n_queries, k) float32
        As FAISS gives them: squared L2 for ``l2``; inner product (larger is nearer) for ``ip``;
        squared L2 of unit vectors, which is 2 - 2 cos, for ``cosine``.
    positions : (n_queries, k) int64
        Row of each neighbour in the vectors that were indexed, -1 where there is none.
    """

    ids: npt.NDArray[Any]
    distances: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int64]


class DQIndex:
    """A trained FAISS index with the catalogue's ids and the DQ model behind it.

    Made by `build_index` or `open_index`.

    Attributes
    ----------
    index : faiss.Index
        Plain FAISS; all of its interface is there.
    manifest : dict
        Spec, metric, n, d, settings, versions: what ``dqindex info --json`` prints.
    ids : pyarrow.Array or None
    model : DQModel or None
        Transform and codebooks, for specs that start with DQ and end in PQ.
    training_seconds : dict
        Seconds of each part of the training; empty for an index that was opened.
    """

    def __init__(
        self,
        index: faiss.Index,
        manifest: Manifest,
        ids: pa.Array | None = None,
        model: DQModel | None = None,
        training_seconds: dict[str, float] | None = None,
    ) -> None:
        self.index = index
        self.manifest = manifest
        self.ids = ids
        self.model = model
        self.training_seconds = training_seconds or {}

    def __repr__(self) -> str:
        return f"<DQIndex {self.spec} {self.manifest['metric']}: {self.n} x {self.d}>"

    @property
    def spec(self) -> str:
        """The spec it was built from."""
        return str(self.manifest["spec"])

    @property
    def n(self) -> int:
        """Number of vectors."""
        return int(self.index.ntotal)

    @property
    def d(self) -> int:
        """Their width."""
        return int(self.index.d)

    def set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Set FAISS search parameters by name: nprobe, efSearch, k_factor_rf, ht, ….

        Raises
        ------
        SpecError
            If this index has no parameter of that name.
        """
        space = faiss.ParameterSpace()
        for name, value in parameters.items():
            try:
                space.set_index_parameter(self.index, name, float(value))
            except (RuntimeError, ValueError):
                raise SpecError(
                    f"search parameter {name}={value} does not fit an index {self.spec!r}; IVF "
                    "takes nprobe, HNSW efSearch, a refined index k_factor_rf"
                ) from None

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        parameters: Mapping[str, Any] | None = None,
        threads: int | None = None,
    ) -> SearchResult:
        """The `k` nearest neighbours of every query.

        Parameters
        ----------
        queries : array (n_queries, d), path, or VectorSource
        k : int
        parameters : mapping, optional
            FAISS search parameters; they stay set.
        threads : int, optional
            All CPUs by default.

        Raises
        ------
        InputError, NonFiniteError
            If the queries are of another width or not finite, or k is less than 1.
        SpecError
            If a parameter does not exist.
        """
        if k < 1:
            raise InputError(f"k is {k}; ask for at least 1 neighbour")
        if isinstance(queries, str | Path):
            queries = open_vectors(queries)
        if hasattr(queries, "read"):
            queries = queries.read()
        array = check_matrix(queries, "this index", width=self.d)
        if parameters:
            self.set_parameters(parameters)
        with thread_limit(threads):
            distances, positions = self.index.search(
                np.ascontiguousarray(array, dtype=np.float32), k
            )
        return SearchResult(self._named(positions), distances, positions)

    def _named(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        if self.ids is None:
            return positions
        found = positions >= 0
        taken = self.ids.take(pa.array(np.where(found, positions, 0).ravel()))
        names = np.asarray(taken.to_numpy(zero_copy_only=False)).reshape(positions.shape)
        if names.dtype == object:
            names = names.copy()
            names[~found] = None
            return names
        return np.where(found, names, np.int64(-1))

    def save(self, folder: str | Path | IndexWriter) -> None:
        """Publish the index to `folder`, replacing one that stands there in a single step.

        Raises
        ------
        StorageError, BusyError
            If it can't be written; what stood there is then untouched.
        """
        if not isinstance(folder, IndexWriter):
            with write_folder(folder) as writer:
                self.save(writer)
            return
        folder.write("index", lambda file: write_faiss(self.index, file))
        if self.ids is not None:
            table = pa.table({"id": self.ids})
            folder.write("ids", lambda file: pq.write_table(table, pa.PythonFile(file, mode="w")))
        if self.model is not None:
            content = self.model.to_bytes()
            folder.write("model", lambda file: file.write(content))
        folder.commit(self.manifest)


def build_index(
    vectors: Any,
    spec: str,
    *,
    metric: str = "l2",
    balance: str = "log-variance",
    covariance: str | None = None,
    train_rows: int | None = None,
    block_rows: int | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
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
        What DQ makes equal between subspaces. The default finds more neighbours, in most cases
        that were measured (benchmarks/results/dq_vs_opq.json).
    covariance : {"raw", "residual"}, optional
        What DQ learns its axes from; by default the residuals to the coarse centroids where the
        index quantises those, the vectors themselves otherwise.
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

    Examples
    --------
    >>> import numpy as np
    >>> Z = np.random.default_rng(0).normal(size=(2000, 20)).astype(np.float32)
    >>> index = build_index(Z, "DQ4,PQ4")
    >>> index.search(Z[:3], k=1).ids.shape
    (3, 1)
    """
    source = open_vectors(vectors)
    if balance not in OBJECTIVES:
        raise InputError(f"balance is {balance!r}; use one of {', '.join(OBJECTIVES)}")
    report = progress or (lambda what, done, total: None)
    with thread_limit(threads):
        parsed = parse_spec(spec, source.d)
        index = make_index(parsed, source.d, metric)
        parts = dissect(index)
        covariance = check_covariance(parsed, parts, covariance)
        if source.n < least_rows(parts):
            raise InputError(
                f"{source.name}: {source.n} vectors are too few for {spec!r}, which needs at "
                f"least {least_rows(parts)}; use fewer lists or codewords"
            )
        ids = source.ids
        done = 0
        for block in source.blocks(block_rows):
            done += len(block)
            report("check", done, source.n)
        wanted = training_rows(parts, source.d) if train_rows is None else train_rows
        sample = source.sample(max(wanted, least_rows(parts)), seed=seed)
        trained = train(
            index,
            parsed,
            sample,
            metric=metric,
            balance=balance,
            covariance=covariance,
            seed=seed,
            progress=lambda step: report(f"train {step}", 0, 0),
        )
        used = len(sample)
        del sample
        parameters = _default_parameters(index)
        done = 0
        for block in source.blocks(block_rows):
            add_block(index, block)
            done += len(block)
            report("add", done, source.n)
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
            "train_rows": used,
            "seed": seed,
        },
        "transform": _describe(trained.transform),
        "versions": versions(),
    }
    return DQIndex(index, manifest, ids, trained.model, trained.seconds)


def _describe(transform: Any) -> dict[str, Any] | None:
    if transform is None:
        return None
    return {
        "n_subspaces": transform.n_subspaces,
        "d_out": len(transform.components_),
        "imbalance": transform.imbalance_,
        "subspace_variances": transform.subspace_variances_.tolist(),
        "variances": transform.variances_.tolist(),
    }


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


def code_bytes(index: faiss.Index) -> int:
    """Bytes a vector takes in the index: code, id in its list, links, refinement."""
    parts = dissect(index)
    core = parts.core
    if hasattr(core, "hnsw"):
        size = int(faiss.downcast_index(core.storage).sa_code_size())
        # Links are stored for all levels one after another, four bytes each.
        size += round(4 * core.hnsw.neighbors.size() / max(core.ntotal, 1))
    else:
        size = int(getattr(core, "code_size", 0)) or int(core.sa_code_size())
    if parts.ivf is not None:
        size += 8
    if parts.refine is not None:
        size += int(faiss.downcast_index(parts.refine.refine_index).sa_code_size())
    return size


def open_index(folder: str | Path) -> DQIndex:
    """Open an index folder; every file is verified against its SHA-256 before it is parsed.

    Raises
    ------
    StorageError
        If there is no index.
    FileFormatError, IntegrityError
        If it is of an unknown format, or damaged.
    """

    def load(manifest: Manifest, path: Path) -> DQIndex:
        ids = model = None
        with checked(path, manifest, "index") as file:
            index = read_faiss(file)
        if "ids" in manifest["files"]:
            with checked(path, manifest, "ids") as file:
                ids = pq.read_table(pa.PythonFile(file)).column("id").combine_chunks()
        if "model" in manifest["files"]:
            with checked(path, manifest, "model") as file:
                model = DQModel.from_bytes(file.read(), file.name)
        if index.ntotal != manifest["n"] or index.d != manifest["d"]:
            raise IntegrityError(f"{path}: the manifest and the index disagree; build it again")
        return DQIndex(index, manifest, ids, model)

    return read_version(folder, load)
