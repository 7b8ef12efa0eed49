"""True neighbours that a benchmark brings, read from a file and held against the vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Float64
from dqindex.bench.truth import Truth, all_distances, pair_distances
from dqindex.errors import FileFormatError, InputError
from dqindex.places.content import open_content
from dqindex.places.missing import not_there
from dqindex.places.place import Place, place
from dqindex.vectors import open_vectors
from dqindex.vectors.files import damage, require_regular

# What `open_vectors` reads as rows of integers.
MATRICES = (".npy", ".ivecs", ".parquet", ".hdf5", ".h5")
# Queries whose neighbours are computed, to see whether the file speaks of these vectors.
TRIED = 8
# What float32 vectors of another order of addition may make of an equal distance.
CLOSE = 1e-5
# What the order of neighbours may suffer where another library computed their distances.
ROUNDED = 1e-3


def read_truth(path: str, base: Float32, queries: Float32, metric: str, k: int) -> Truth:
    """The neighbours of `queries` in a file, at most `k`, with their distances computed anew.

    Parameters
    ----------
    path : str
        As big-ann-benchmarks has them: n and k (uint32), then the ids (int32), then the distances
        (float32), in a file called ``.ibin``, or without a suffix; or without the distances. Or
        a matrix of integers: ``.ivecs``, ``.npy``, Parquet, ``FILE.hdf5:neighbors``.
    base, queries : (n, d), (q, d) float32
        The file may have more rows than there are queries: its first are theirs.
    metric : str
    k : int

    Raises
    ------
    StorageError, FileFormatError
        If the file is missing or of another kind.
    InputError
        If it has fewer rows, points outside of `base`, or another has nearer neighbours.
    """
    positions = _positions(path, len(queries))
    shown = place(path)
    if len(positions) < len(queries):
        raise InputError(
            f"{shown}: has the neighbours of {len(positions)} queries, but {len(queries)} are "
            "asked; give the file of these queries, or a smaller --n-queries"
        )
    positions = positions[: len(queries), :k].astype(np.int64)
    if positions.min() < 0 or positions.max() >= len(base):
        outside = positions[(positions < 0) | (positions >= len(base))][0]
        raise InputError(
            f"{shown}: names the vector {outside}, but there are {len(base)}; it is of a larger set"
        )
    if any(len(np.unique(row)) < len(row) for row in positions):
        raise InputError(f"{shown}: names a neighbour of one query twice; it is damaged")
    distances = pair_distances(base, queries, positions, metric)
    order = np.argsort(distances, axis=1, kind="stable")
    truth = Truth(
        np.take_along_axis(positions, order, axis=1), np.take_along_axis(distances, order, axis=1)
    )
    _try(truth, base, queries, metric, str(shown))
    _check_order(distances, str(shown))
    return truth


def _check_order(distances: Float64, name: str) -> None:
    """Refuse rows whose first neighbour is farther than their last: then so are those cut off."""
    slack = ROUNDED * np.abs(distances).max(axis=1, initial=0)
    wrong = np.flatnonzero(distances[:, 0] > distances[:, -1] + slack)
    if wrong.size:
        raise InputError(
            f"{name}: the neighbours of query {wrong[0]} do not begin with the nearest; store them "
            "from the nearest on"
        )


def _try(truth: Truth, base: Float32, queries: Float32, metric: str, name: str) -> None:
    """Refuse neighbours that are not the nearest, of a few queries from all over the file."""
    for query in np.unique(np.linspace(0, len(queries) - 1, TRIED).astype(np.int64)):
        everywhere = all_distances(base, queries[query], metric)
        last = truth.positions.shape[1] - 1
        nearest = np.partition(everywhere, last)[: last + 1]
        farthest, found = float(nearest.max()), float(truth.distances[query, last])
        if found > farthest + CLOSE * max(abs(farthest), float(np.abs(nearest).max())):
            raise InputError(
                f"{name}: the neighbours of query {query} are not its nearest by {metric}; it is "
                "of another metric, of other queries or of other vectors, or its rows do not begin "
                "with the nearest"
            )


def _positions(path: str, queries: int) -> npt.NDArray[Any]:
    """The first rows of ids, as stored."""
    file = place(path)
    if _matrix_suffix(path, file):
        source = open_vectors(path)
        if source.dtype.kind not in "iu":
            raise FileFormatError(f"{source.name}: holds {source.dtype}, not the numbers of rows")
        # As stored: float32 lacks integers above 2**24.
        return np.asarray(source._window(0, min(queries, source.n)))
    if not file.exists():
        raise not_there(file, "give the true neighbours of the queries")
    require_regular(file)
    with damage(f"{file}: cannot be read"):
        return _big_ann(file, queries)


def _matrix_suffix(path: str, file: Place) -> bool:
    head, colon, _ = path.rpartition(":")
    return file.suffix.lower() in MATRICES or bool(
        colon and place(head or path).suffix.lower() in MATRICES
    )


def _big_ann(file: Place, queries: int) -> npt.NDArray[Any]:
    content = open_content(file)
    head = content.read(0, 8)
    n, k = np.frombuffer(head, "<u4").tolist() if len(head) == 8 else (0, 0)
    if not n or not k or content.size not in (8 + 8 * n * k, 8 + 4 * n * k):
        raise FileFormatError(
            f"{file}: is {content.size} bytes, where the neighbours of {n} queries, {k} each as "
            f"its header says, are {8 + 4 * n * k}, or {8 + 8 * n * k} with their distances"
        )
    return content.rows("<i4", (n, k), 0, min(n, queries), offset=8)
