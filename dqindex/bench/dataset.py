"""`Dataset`: base vectors, queries that are not among them, and the metric."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dqindex._types import METRICS, Float32
from dqindex.bench.truth import Truth, cached_truth, content_key, pair_distances
from dqindex.bench.truth_file import read_truth
from dqindex.errors import InputError
from dqindex.places.place import place
from dqindex.vectors import VectorSource, open_vectors
from dqindex.vectors.packaged import PACKAGED, open_packaged

HDF5 = (".hdf5", ".h5")
# What ann-benchmarks calls the metrics.
HDF5_METRICS = {"euclidean": "l2", "angular": "cosine", "dot": "ip"}
TRUTH_K = 100


@dataclass(frozen=True)
class Description:
    """All that another process needs to open the same data set."""

    data: str
    queries: str | None
    metric: str | None
    n_queries: int
    seed: int
    vector_column: str | None = None
    truth: str | None = None


class Dataset:
    """Base and queries in memory, as float32.

    Parameters
    ----------
    description : Description
        ``data`` is a path of any format of `open_vectors`, a name in `PACKAGED`, or an HDF5 file
        as ann-benchmarks lays it out. Without ``queries``, ``n_queries`` rows are drawn by
        ``seed`` and taken out of the base; else the first ``n_queries`` of them are used.
        ``truth`` is a file of their neighbours.

    Attributes
    ----------
    name, metric : str
    base : (n, d) float32
    queries : (q, d) float32
    folder : pathlib.Path or None
        Where the data is; None for a packaged set, or at a URI.

    Raises
    ------
    InputError
        If the queries are of another width, or too few vectors remain.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        data = description.data
        self.folder: Path | None = None
        self._hdf5: Path | None = None
        if data in PACKAGED and not Path(data).exists():
            self.name = data
            source = open_packaged(data)
        else:
            path = place(data)
            self.name = path.stem
            source = open_vectors(data, vector_column=description.vector_column)
            if isinstance(path, Path):
                self.folder = path.absolute().parent
                if path.suffix in HDF5 and self._has_test(path):
                    self._hdf5 = path
        self.metric = description.metric or self._stored_metric() or "l2"
        if self.metric not in METRICS:
            raise InputError(f"metric is {self.metric!r}; use one of {', '.join(METRICS)}")
        if description.truth and description.queries is None and self._hdf5 is None:
            raise InputError(
                f"truth is {description.truth!r}, but queries are held out of the vectors, and no "
                "file knows their neighbours; give the queries as well"
            )
        self.base, self.queries = self._split(source)

    def _split(self, source: VectorSource) -> tuple[Float32, Float32]:
        wanted = self.description.n_queries
        if wanted < 1:
            raise InputError(f"n_queries is {wanted}; ask for at least 1")
        everything = source.read()
        if self.description.queries is not None or self._hdf5 is not None:
            chosen = open_vectors(self.description.queries or f"{self._hdf5}:test")
            if chosen.d != source.d:
                raise InputError(
                    f"{chosen.name}: {chosen.d} dimensions, but {source.name} has {source.d}; "
                    "give queries of the same model"
                )
            return everything, chosen.rows(np.arange(min(wanted, chosen.n)))
        if source.n < 2 * wanted:
            raise InputError(
                f"{source.name}: {source.n} vectors are too few to hold {wanted} out as queries; "
                "give --queries, or a smaller --n-queries"
            )
        held = np.random.default_rng(self.description.seed).choice(
            source.n, wanted, replace=False, shuffle=False
        )
        kept = np.ones(source.n, dtype=bool)
        kept[held] = False
        return everything[kept], everything[np.sort(held)]

    @staticmethod
    def _has_test(path: Path) -> bool:
        import h5py

        with h5py.File(path) as file:
            return "test" in file

    def _stored_metric(self) -> str | None:
        if self._hdf5 is None:
            return None
        import h5py

        with h5py.File(self._hdf5) as file:
            return HDF5_METRICS.get(str(file.attrs.get("distance", "")))

    @cached_property
    def key(self) -> str:
        """Digest of all that recall depends on."""
        return content_key(self.base, self.queries, self.metric)

    def truth(self) -> Truth:
        """Exact neighbours, 100 of each query where there are as many; see `cached_truth`.

        Those of a file may be fewer.
        """
        if self.description.truth is not None:
            return read_truth(self.description.truth, self.base, self.queries, self.metric, TRUTH_K)
        stored = self._stored_truth()
        if stored is not None:
            return stored
        k = min(TRUTH_K, len(self.base))
        return cached_truth(self.base, self.queries, k, self.metric, self.key, self.folder)[0]

    def _stored_truth(self) -> Truth | None:
        """The neighbours that an HDF5 file brings, for the metric they were made for."""
        if self._hdf5 is None or self.description.queries or self._stored_metric() != self.metric:
            return None
        import h5py

        with h5py.File(self._hdf5) as file:
            if "neighbors" not in file or file["neighbors"].shape[1] < min(TRUTH_K, len(self.base)):
                return None
            positions = file["neighbors"][: len(self.queries), :TRUTH_K].astype(np.int64)
        if positions.min() < 0 or positions.max() >= len(self.base):
            raise InputError(
                f"{self._hdf5}: its neighbors point outside its {len(self.base)} train vectors; "
                "the file is damaged"
            )
        distances = pair_distances(self.base, self.queries, positions, self.metric)
        order = np.argsort(distances, axis=1, kind="stable")
        return Truth(
            np.take_along_axis(positions, order, axis=1),
            np.take_along_axis(distances, order, axis=1),
        )

    def summary(self) -> dict[str, Any]:
        """What a result says of its data."""
        n, d = self.base.shape
        return {
            "name": self.name,
            "n": n,
            "d": d,
            "metric": self.metric,
            "queries": len(self.queries),
            "held_out": self.description.queries is None and self._hdf5 is None,
            "key": self.key[:20],
        }

    def as_dict(self) -> dict[str, Any]:
        """The description, for `Dataset(Description(**...))` elsewhere."""
        return {**asdict(self.description), "metric": self.metric}
