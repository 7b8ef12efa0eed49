"""Vectors of some items, as of those whose tokens another item has as well."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Float64, Int64, Progress, Tokens
from dqindex.parallel.threads import single_blas_thread
from dqindex.quantizer.blocks import scaled
from dqindex.quantizer.equals import first_equals
from dqindex.quantizer.model import DQModel
from dqindex.sids.map import SidMap
from dqindex.sids.tuples import TupleSet
from dqindex.storage.scratch import scratch_matrix
from dqindex.vectors import VectorSource

# Vectors beyond this many bytes wait in a temporary file, not in memory.
IN_MEMORY_BYTES = 512 * 2**20


class Gathered(NamedTuple):
    """Vectors of some rows of a source.

    Attributes
    ----------
    vectors : (m, d) float32, in memory or on disk
        As the parts of the model see them: scaled, where there are blocks.
    rows : (m,) int64
        Ascending.
    distances : (m,) float64
        Distortion of each.
    """

    vectors: Float32
    rows: Int64
    distances: Float64

    def vectors_of(self, rows: Int64) -> Float32:
        """Of some of the rows."""
        return np.asarray(self.vectors[np.searchsorted(self.rows, rows)])

    def distances_of(self, rows: Int64) -> Float64:
        """Of some of the rows."""
        return self.distances[np.searchsorted(self.rows, rows)]


def gather_shared(
    source: VectorSource, known: TupleSet, made: SidMap, report: Progress
) -> Gathered:
    """The rows of `made` whose base tuple stands more than once in `known`."""
    numbers = known.numbers[len(known.numbers) - len(made) :]
    return gather(source, np.flatnonzero((known.counts > 1)[numbers]), made, report)


def gather(source: VectorSource, rows: Int64, made: SidMap, report: Progress) -> Gathered:
    """The `rows`, ascending, and how far each is from its base tuple in `made`.

    One pass over the source. The distortions are computed anew, row by row, so that they do not
    depend on the place of an item in the file.
    """
    vectors: Float32
    if len(rows) * source.d * 4 <= IN_MEMORY_BYTES:
        vectors = np.empty((len(rows), source.d), dtype=np.float32)
    else:
        vectors = scratch_matrix(len(rows), source.d)
    distances = np.empty(len(rows))
    if not len(rows):
        return Gathered(vectors, rows, distances)
    model = made.need_model()
    start = 0
    for block in source.blocks():
        begin, end = np.searchsorted(rows, (start, start + len(block)))
        if end > begin:
            own = block[rows[begin:end] - start]
            vectors[begin:end] = scaled(own, model.scale_)
            distances[begin:end] = row_distortion(own, made.base_codes[rows[begin:end]], model)
        start += len(block)
        report("gather collisions", start, source.n)
    return Gathered(vectors, rows, distances)


def row_distortion(vectors: Float32, codes: Tokens, model: DQModel) -> npt.NDArray[np.float64]:
    """‖ẑ - z‖² of rows, to eight digits; the same wherever a row stands, and whatever is beside it.

    A product of a matrix of rows with another may give equal rows other last digits. So the
    products here are of codewords alone, all of a level at once, and rows are sums of those.
    """
    rows = scaled(np.ascontiguousarray(vectors, dtype=np.float64), model.scale_)
    error = model.transform_.mean_ - rows
    axes, levels, start = model.transform_.components_, len(model.coarse_), 0
    for level, centroids in enumerate(model.coarse_):
        error += centroids[codes[:, level]]
    for level, book in enumerate(model.codebooks_.codebooks_, start=levels):
        stop = start + book.shape[1]
        with single_blas_thread():
            atoms = book.astype(np.float64) @ axes[start:stop]
        error += atoms[first_equals(book)][codes[:, level]]
        start = stop
    exact = (error**2).sum(axis=1)
    energy = (rows**2).sum(axis=1)
    # Other machines may compute the products with other last digits: those are rounded away.
    grain = np.exp2(np.ceil(np.log2(np.where(energy > 0, energy, 1.0)))) * 2.0**-22
    return np.asarray(np.where(energy > 0, np.round(exact / grain) * grain, exact))
