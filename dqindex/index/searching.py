"""Search among chosen rows: FAISS's way where it has one, over the codes elsewhere.

FAISS takes a filter for most kinds of index. Where it takes none (flat PQ, fast-scan codes), the
codes of the rows that are allowed are searched alone, in blocks; for fast-scan codes that is
without the rounding of their distances. Where a filter is so narrow that the lists that are probed
hold too few, more are probed, until enough are found, or until their codes outnumber the allowed
rows, which are then searched alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Int64
from dqindex.index.adding import apply_transform
from dqindex.index.codes import codes_at
from dqindex.index.interleaved import Bytes
from dqindex.index.norms import left_out
from dqindex.index.parameters import (
    Settings,
    candidates_factor,
    for_one_search,
    takes_selector,
)
from dqindex.index.places import decode_lists, quantizer_of

Found = tuple[Float32, Int64]
BLOCK_VALUES = 2**24
# Lists that are probed grow by this factor while a filter leaves too few.
WIDER = 4


@dataclass(frozen=True)
class Search:
    """What is asked of a FAISS index.

    Attributes
    ----------
    index : faiss.Index
    settings : dict
        Checked parameters, for this search.
    mask : array of bool, or None
        The rows that may be found.
    labels : callable
        Rows to the labels that the lists hold.
    places : callable
        Gives the `Places` of the rows of the IVF behind the index.
    """

    index: Any
    settings: Settings
    mask: npt.NDArray[np.bool_] | None
    labels: Any
    places: Any

    def run(self, x: Float32, k: int) -> Found:
        """Distances and labels, shape (n, k); label -1 where there are no more."""
        n = self.index.ntotal
        most = min(k, n if self.mask is None else int(self.mask.sum()))
        if most == 0:
            return self._nothing(len(x), k)
        if self.mask is not None and self.mask.all():
            return replace(self, mask=None).run(x, k)
        if self.mask is None:
            found = self._by_faiss(x, most, self.settings, None)
        else:
            found = self._among(x, most)
        if most < k:
            rest = self._nothing(len(x), k - most)
            found = np.hstack([found[0], rest[0]]), np.hstack([found[1], rest[1]])
        return found

    def _nothing(self, n: int, k: int) -> Found:
        return empty(n, k, self.index.metric_type)

    def _by_faiss(self, x: Float32, k: int, settings: Settings, selector: Any) -> Found:
        parameters = for_one_search(self.index, settings, selector, k)
        distances, labels = self.index.search(x, k, params=parameters)
        missing = left_out(self.index, x)
        if missing is not None:
            # Tables of bytes may end a little below zero, where no distance is.
            whole = np.maximum(distances + missing, 0).astype(np.float32)
            distances = np.where(labels >= 0, whole, distances)
        if "FastScan" in type(_core(self.index)).__name__:
            self._mend(x, k, distances, labels)
        return distances, labels

    def _mend(self, x: Float32, k: int, distances: Float32, labels: Int64) -> None:
        """Replace, in place, what FastScan did not answer.

        It rounds a query's table of distances to bytes, and divides by the table's span. Where all
        codewords are equally far there is none, and what comes back is NaN; a refinement passes on
        that there are no neighbours. And now and then FAISS 1.15 finds none for a query, and does
        when it is asked again: there are k where that many were compared.
        """
        spoilt = np.asarray(np.isnan(distances).any(axis=1))
        if _is_refined(self.index):
            spoilt |= (labels < 0).all(axis=1)
        elif self.mask is None:
            short = np.flatnonzero((labels < 0).any(axis=1))
            if len(short):
                spoilt[short] |= compared(self.index, x[short], self.settings) >= k
        rows = np.flatnonzero(spoilt)
        if len(rows):
            everything = np.ones(self.index.ntotal, dtype=bool)
            allowed = np.flatnonzero(everything if self.mask is None else self.mask)
            distances[rows], labels[rows] = self._scan(x[rows], k, allowed)

    def _among(self, x: Float32, most: int) -> Found:
        """Among the rows of the mask, which holds at least `most`."""
        mask = self.mask
        assert mask is not None  # noqa: S101 (told to the type checker; `run` sees to it)
        rows = np.flatnonzero(mask)
        settings = dict(self.settings)
        graph, ivf = _graph_of(self.index), _ivf_of(self.index)
        if not takes_selector(self.index):
            return self._scan(x, most, rows)
        if graph is not None:
            wide = max(settings.get("efSearch", graph.hnsw.efSearch), most)
            wide = -(-wide * len(mask) // len(rows))
            # A node is compared with its neighbours, twice as many as the graph's M.
            if wide * graph.hnsw.nb_neighbors(0) >= len(rows):
                return self._scan(x, most, rows)
            settings["efSearch"] = wide
        selector = self._selector(mask, rows)
        distances, labels = self._by_faiss(x, most, settings, selector)
        short = np.flatnonzero((labels >= 0).sum(1) < most)
        if ivf is not None and not settings.get("max_codes", ivf.max_codes):
            probes = settings.get("nprobe", ivf.nprobe)
            while len(short) and probes < ivf.nlist:
                probes = min(probes * WIDER, ivf.nlist)
                if len(rows) * ivf.nlist <= probes * len(mask):
                    # Fewer than the codes of these lists: compared one by one, below.
                    break
                settings["nprobe"] = probes
                distances[short], labels[short] = self._by_faiss(x[short], most, settings, selector)
                short = short[(labels[short] >= 0).sum(1) < most]
        if len(short):
            distances[short], labels[short] = self._scan(x[short], most, rows)
        return distances, labels

    def _selector(self, mask: npt.NDArray[np.bool_], rows: Int64) -> Any:
        labels = self.labels(rows)
        if labels is rows:
            return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        return faiss.IDSelectorBatch(labels)

    def _scan(self, x: Float32, k: int, rows: Int64) -> Found:
        distances, found = scan(self.index, x, k, rows, self.settings, self.places)
        return distances, np.where(found >= 0, self.labels(np.maximum(found, 0)), -1)


def empty(n: int, k: int, metric: int) -> Found:
    """An answer with nothing in it, as FAISS gives it."""
    worst = -np.inf if metric == faiss.METRIC_INNER_PRODUCT else np.inf
    largest = np.finfo(np.float32).max
    fill = np.clip(worst, -largest, largest)
    return np.full((n, k), fill, dtype=np.float32), np.full((n, k), -1, dtype=np.int64)


def compared(index: Any, x: Float32, settings: Settings) -> Int64:
    """How many vectors each query is compared with: those in the lists that it probes."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return compared(index.index, through(index, x), settings)
    if not isinstance(index, faiss.IndexIVF):
        return np.full(len(x), int(index.ntotal))
    if settings.get("max_codes", index.max_codes):
        return np.zeros(len(x), dtype=np.int64)
    sizes = np.array([index.get_list_size(number) for number in range(index.nlist)])
    probes = min(settings.get("nprobe", index.nprobe), index.nlist)
    _, lists = index.quantizer.search(np.ascontiguousarray(x), probes)
    held: Int64 = np.where(lists >= 0, sizes[lists], 0).sum(1)
    return held


def _graph_of(index: Any) -> Any:
    core = _core(index)
    return core if hasattr(core, "hnsw") else None


def _ivf_of(index: Any) -> Any:
    core = _core(index)
    return core if isinstance(core, faiss.IndexIVF) else None


def _is_refined(index: Any) -> bool:
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _is_refined(index.index)
    return isinstance(index, faiss.IndexRefine)


def _core(index: Any) -> Any:
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _core(index.index)
    if isinstance(index, faiss.IndexRefine):
        return _core(index.base_index)
    return index


# Over the codes of chosen rows.


def scan(index: Any, x: Float32, k: int, rows: Int64, settings: Settings, places: Any) -> Found:
    """The `k` nearest of `rows`, by their codes: distances, and rows."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return scan(index.index, through(index, x), k, rows, settings, places)
    if isinstance(index, faiss.IndexRefine):
        most = min(len(rows), int(k * candidates_factor(index, settings, k)))
        _, found = scan(index.base_index, x, most, rows, settings, places)
        return _ranked(faiss.downcast_index(index.refine_index), x, found, k)
    if hasattr(index, "hnsw"):
        index = faiss.downcast_index(index.storage)
    best = empty(len(x), k, index.metric_type)
    step = max(1, BLOCK_VALUES // index.d)
    searcher = _searcher(index, places)
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        distances, found = searcher(x, min(k, len(block)), block)
        distances = np.hstack([best[0], distances])
        named = np.hstack([best[1], np.where(found >= 0, block[np.maximum(found, 0)], -1)])
        best = _best(distances, named, k, index.metric_type)
    return best


def _best(distances: Float32, rows: Int64, k: int, metric: int) -> Found:
    keys = -distances if metric == faiss.METRIC_INNER_PRODUCT else distances
    order = np.argsort(np.where(rows >= 0, keys, np.inf), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)


def _searcher(index: Any, places: Any) -> Any:
    """A function of queries, k and rows: distances, and places in `rows`.

    An IndexPQFastScan made of few codes is no way: now and then FAISS 1.15 finds nothing in it.
    """
    if type(index) not in (faiss.IndexPQ, faiss.IndexPQFastScan):

        def decoded(x: Float32, k: int, rows: Int64) -> Found:
            vectors = decode(index, rows, places)
            distances, found = faiss.knn(x, vectors, k, metric=index.metric_type)
            return distances, found

        return decoded
    small = faiss.IndexPQ(index.d, index.pq.M, index.pq.nbits, index.metric_type)
    small.pq, small.is_trained = index.pq, True

    def coded(x: Float32, k: int, rows: Int64) -> Found:
        small.reset()
        small.add_sa_codes(codes_at(index, rows))
        distances, found = small.search(x, k)
        return distances, found

    return coded


def _ranked(refine: Any, x: Float32, found: Int64, k: int) -> Found:
    """`found` ranked by the distances of a refinement; the `k` nearest."""
    distances, _ = empty(len(found), found.shape[1], refine.metric_type)
    step = max(1, BLOCK_VALUES // max(1, found.shape[1] * refine.d))
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        there = found[part] >= 0
        vectors = decode(refine, found[part][there], None)
        asked = np.repeat(x[part], there.sum(1), axis=0)
        distances[part][there] = _distances(asked, vectors, refine.metric_type)
    return _best(distances, found, k, refine.metric_type)


def _distances(x: Float32, y: Float32, metric: int) -> Float32:
    """Of each row of `x` to that row of `y`."""
    if metric == faiss.METRIC_INNER_PRODUCT:
        product: Float32 = np.einsum("ij,ij->i", x, y)
        return product
    apart = x - y
    squares: Float32 = np.einsum("ij,ij->i", apart, apart)
    return squares


def through(index: Any, x: Float32) -> Float32:
    """`x` as the transforms of `index` make it."""
    for place in range(index.chain.size()):
        x = apply_transform(faiss.downcast_VectorTransform(index.chain.at(place)), x)
    return x


def decode(index: Any, rows: Int64, places: Any) -> Float32:
    """What the codes of `rows` stand for, in the space of an index without wrappers."""
    if isinstance(index, faiss.IndexIVF):
        return decode_lists(index, places(index), rows)
    if not len(rows):
        return np.empty((0, index.d), dtype=np.float32)
    if isinstance(index, faiss.IndexFastScan):
        codes = np.ascontiguousarray(codes_at(index, rows))
        decoded: Float32 = _standing_for(index, codes)
        return decoded
    vectors: Float32 = index.reconstruct_batch(np.ascontiguousarray(rows))
    return vectors


def _standing_for(index: Any, codes: Bytes) -> Float32:
    """What codes of a flat fast-scan index stand for."""
    quantizer = quantizer_of(index)
    decoded: Float32 = index.sa_decode(codes) if quantizer is None else quantizer.decode(codes)
    return decoded
