"""`DQIndex`: a FAISS index with ids and its model; save, open, search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex._parameters import Rule, checked, instance, integer, or_none, path
from dqindex.errors import IntegrityError, SpecError
from dqindex.index.even_tables import mend
from dqindex.index.folder import (
    IndexWriter,
    Manifest,
    read_faiss,
    read_ids,
    read_version,
    verified,
    write_faiss,
    write_folder,
    write_ids,
)
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer.model import DQModel
from dqindex.vectors import open_vectors
from dqindex.vectors.ids import check_ids
from dqindex.vectors.queries import check_queries


class SearchResult(NamedTuple):
    """Neighbours, the nearest first.

    Attributes
    ----------
    ids : (n_queries, k) array
        The catalogue's ids, or positions if it has none: int64, or an object array of str, or of
        int where the catalogue's are uint64. Where fewer than k were found -1, or None in an
        object array.
    distances : (n_queries, k) float32
        As FAISS gives them: squared L2 for ``l2``; inner product (larger is nearer) for ``ip``;
        squared L2 of unit vectors, which is 2 - 2 cos, for ``cosine``.
    positions : (n_queries, k) int64
        Row of each neighbour in the vectors that were indexed, -1 where there is none.
    """

    ids: npt.NDArray[Any]
    distances: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int64]

    def table(self, queries: Any = None) -> pa.Table:
        """One row a query, to go on with in pandas, polars or SQL.

        Parameters
        ----------
        queries : array-like of n_queries distinct integers or strings, optional
            Their names; by default their rows.

        Returns
        -------
        pyarrow.Table
            ``query``; ``ids`` and ``distances``, lists of k, the nearest first; an id is null
            where fewer were found.

        Raises
        ------
        InputError
            If `queries` are not one a row.
        """
        n, k = self.positions.shape
        names = pa.array(np.arange(n)) if queries is None else check_ids(queries, n, "queries")
        missing = (self.positions < 0).ravel()
        flat = self.ids.ravel()
        kind = None
        if flat.dtype == object:
            text = any(isinstance(one, str) for one in flat)
            kind = pa.string() if text else pa.uint64()
        found = pa.array(flat, kind, mask=missing)
        distances = pa.array(self.distances.ravel())
        return pa.table(
            {
                "query": names,
                "ids": pa.FixedSizeListArray.from_arrays(found, k),
                "distances": pa.FixedSizeListArray.from_arrays(distances, k),
            }
        )


class DQIndex:
    """A trained FAISS index with the catalogue's ids and the DQ model behind it.

    Made by `dqindex.build_index` or `open_index`.

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

    @checked(parameters=instance(Mapping))
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

    @checked(k=integer(1), parameters=or_none(instance(Mapping)), threads=or_none(integer(1)))
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
        RangeError
            If a query is longer than float32 can square: see `dqindex.vectors.extent`. Under
            ``cosine`` none is.
        SpecError
            If a parameter does not exist.
        """
        if isinstance(queries, str | Path):
            queries = open_vectors(queries)
        array = check_queries(
            queries, "this index", width=self.d, metric=str(self.manifest["metric"])
        )
        if parameters:
            self.set_parameters(parameters)
        with thread_limit(threads):
            distances, positions = self.index.search(array, int(k))
            mend(self.index, array, positions, distances)
        return SearchResult(self._named(positions), distances, positions)

    def _named(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        if self.ids is None:
            return positions
        found = positions >= 0
        taken = self.ids.take(pa.array(np.where(found, positions, 0).ravel()))
        names = np.asarray(taken.to_numpy(zero_copy_only=False)).reshape(positions.shape)
        if names.dtype == np.uint64:
            # With -1 beside them numpy makes them floats, and int64 lacks their upper half.
            names = names.astype(object)
        if names.dtype == object:
            names = names.copy()
            names[~found] = None
            return names
        return np.where(found, names, np.int64(-1))

    @checked(
        folder=Rule(lambda value: path().holds(value) or isinstance(value, IndexWriter), "a path")
    )
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
            ids = self.ids
            folder.write("ids", lambda file: write_ids(ids, file))
        if self.model is not None:
            content = self.model.to_bytes()
            folder.write("model", lambda file: file.write(content))
        folder.commit(self.manifest)


@checked(folder=path())
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
        with verified(path, manifest, "index") as file:
            index = read_faiss(file)
        if "ids" in manifest["files"]:
            with verified(path, manifest, "ids") as file:
                ids = read_ids(file, manifest["n"])
        if "model" in manifest["files"]:
            with verified(path, manifest, "model") as file:
                model = DQModel.from_bytes(file.read(), file.name)
        if index.ntotal != manifest["n"] or index.d != manifest["d"]:
            raise IntegrityError(f"{path}: the manifest and the index disagree; build it again")
        return DQIndex(index, manifest, ids, model)

    return read_version(folder, load)
