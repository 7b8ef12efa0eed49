"""`SearchableIndex`: what can be asked of an index, with ids and with settings for one call."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import pyarrow as pa

from dqindex._parameters import (
    checked,
    float32,
    instance,
    or_none,
    thread_count,
    unbounded,
)
from dqindex._types import Float32
from dqindex.errors import InputError
from dqindex.index.answers import RangeResult, SearchResult
from dqindex.index.contents import check_lookable
from dqindex.index.decoding import reconstruct
from dqindex.index.fingerprint import training_fingerprint
from dqindex.index.folder import Manifest
from dqindex.index.labels import Labels
from dqindex.index.mapping import make_tables
from dqindex.index.names import Mask, Names
from dqindex.index.parameters import (
    Settings,
    check_parameters,
    in_force,
    set_for_good,
    takes_parameters,
)
from dqindex.index.places import Places
from dqindex.index.ranges import Within
from dqindex.index.score_aware import score_aware_of
from dqindex.index.searching import Search
from dqindex.index.truth import check_number
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer.model import DQModel
from dqindex.vectors import open_vectors
from dqindex.vectors.queries import check_queries

# An answer is an id, a distance and a row, each of them twice on the way.
ANSWER_BYTES = 40


def _fit(answers: int) -> bool:
    """Whether so many answers fit into memory; Linux would end the process instead."""
    memory = sys.maxsize
    if "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return answers * ANSWER_BYTES <= memory


class SearchableIndex:
    """A trained FAISS index and the ids of its rows: to search and to look into.

    Parameters
    ----------
    index : faiss.Index
    manifest : dict
    ids : pyarrow.Array or Names, optional
    model : DQModel, optional
    mapped : bool
        Whether it is mapped from its file.
    """

    def __init__(
        self,
        index: faiss.Index,
        manifest: Manifest,
        ids: pa.Array | Names | None = None,
        model: DQModel | None = None,
        *,
        mapped: bool = False,
    ) -> None:
        self.index = index
        self.manifest = manifest
        self.model = model
        self.mapped = mapped
        self._names = ids if isinstance(ids, Names) else Names(ids, int(index.ntotal))
        self._lock = threading.Lock()
        self._alone = threading.Lock()
        self._known_places: Places | None = None
        self._ready = not mapped

    def __repr__(self) -> str:
        return f"<DQIndex {self.spec} {self.manifest['metric']}: {self.n} x {self.d}>"

    def __len__(self) -> int:
        return self.n

    def __contains__(self, id_: object) -> bool:
        names = self.names
        try:
            return bool(names.find([id_])[0] >= 0)
        except InputError:
            return False

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse to be pickled or copied: what it holds is FAISS's, in a folder or mapped.

        Raises
        ------
        InputError
        """
        raise InputError(
            "an index cannot be pickled or copied; save it to a folder, and give that to "
            "open_index in the other place"
        )

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

    @property
    def ids(self) -> pa.Array | None:
        """The ids by row, or None where they are 0 … n - 1."""
        return self.names.array

    @property
    def names(self) -> Names:
        """The ids by row, and how they go on.

        Raises
        ------
        InputError
            If the FAISS index was changed directly, so that they no longer fit.
        """
        if self.n > self._names.n and self._names.plain:
            # Their rows are their ids.
            self._names = Names(None, self.n)
            self._known_places = None
        check_number(self.index, self._names)
        return self._names

    @property
    def embeds_ids(self) -> bool:
        """Whether the lists of the FAISS index hold the ids themselves."""
        return bool(self.manifest.get("embeds_ids", False))

    @property
    def training(self) -> str:
        """Fingerprint of the training: indexes that share it can be merged."""
        return training_fingerprint(self.index, score_aware_of(self.manifest))

    @checked(parameters=instance(Mapping))
    def set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Set FAISS search parameters that stay: nprobe, efSearch, k_factor_rf, ….

        `save` stores them. For a single search give them to `search`.

        Raises
        ------
        SpecError
            If this index has no parameter of that name, or it cannot have that value.
        """
        set_for_good(self.index, check_parameters(parameters, self.index, self.spec))

    @checked(k=unbounded(1), parameters=or_none(instance(Mapping)), threads=thread_count())
    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        filter: Any = None,
        exclude: Any = None,
        parameters: Mapping[str, Any] | None = None,
        threads: int | None = None,
    ) -> SearchResult:
        """The `k` nearest neighbours of every query.

        Parameters
        ----------
        queries : array (n_queries, d), path, or VectorSource
        k : int
        filter, exclude : array-like of ids, or boolean array (n,), optional
            Search among these alone; leave these out. Ids that the index does not have change
            nothing. Where the lists that are probed hold fewer than k of the rows that are left,
            more are probed, until k are found or there are no more.
        parameters : mapping, optional
            FAISS search parameters for this search alone: see `set_parameters`.
        threads : int, optional
            All CPUs by default.

        Raises
        ------
        InputError, NonFiniteError
            If the queries are of another width or not finite, or k is not an integer of at least 1.
        RangeError
            If a query is longer than float32 can square: see `dqindex.vectors.extent`. Under
            ``cosine`` none is.
        SpecError
            If a parameter does not exist, or cannot have that value.
        """
        settings = check_parameters(parameters, self.index, self.spec)
        array = self._queries(queries)
        mask = self._mask(filter, exclude)
        names, labels = self.names, self._labels()
        with thread_limit(threads):
            self._prepare()
            with self._apart(settings) as own:
                ask = Search(self.index, own, mask, labels.of, self._places)
                try:
                    if not _fit(len(array) * int(k)):
                        raise MemoryError
                    distances, found = ask.run(array, int(k))
                except MemoryError:
                    raise InputError(
                        f"k is {k}: {len(array)} x {k} answers do not fit into memory; ask for "
                        "fewer neighbours, or fewer queries at a time"
                    ) from None
        positions = labels.rows(found)
        return SearchResult(names.take(positions), distances, positions)

    @checked(radius=float32(), parameters=or_none(instance(Mapping)), threads=thread_count())
    def range_search(
        self,
        queries: Any,
        radius: float,
        *,
        filter: Any = None,
        exclude: Any = None,
        parameters: Mapping[str, Any] | None = None,
        threads: int | None = None,
    ) -> RangeResult:
        """All neighbours within `radius` of every query, the nearest first.

        Within is: at a squared distance below `radius` for ``l2`` and ``cosine``, with a product
        above it for ``ip``. An IVF looks into the lists that it probes, as in `search`; codes of
        fast-scan, of graphs and of refinements are all compared, as FAISS has no right way there.

        Parameters
        ----------
        queries : array (n_queries, d), path, or VectorSource
        radius : float
        filter, exclude, parameters, threads
            As in `search`.

        Raises
        ------
        InputError, NonFiniteError, RangeError, SpecError
            As `search` does.
        """
        check_lookable(self.index, self.spec, "range search")
        settings = check_parameters(parameters, self.index, self.spec)
        array = self._queries(queries)
        mask = self._mask(filter, exclude)
        names, labels = self.names, self._labels()
        with thread_limit(threads):
            self._prepare()
            with self._apart(settings) as own:
                ask = Within(self.index, own, mask, labels.rows, self._places)
                limits, distances, positions = ask.run(array, float(radius))
        return RangeResult(limits, names.take(positions), distances, positions)

    def reconstruct(self, ids: Any) -> Float32:
        """The vectors of `ids`, of which one may stand twice, as the index knows them.

        A refinement gives what it keeps (``RFlat`` the exact vectors), other indexes what the codes
        stand for; for ``cosine`` of length 1.

        Parameters
        ----------
        ids : array-like

        Returns
        -------
        array (len(ids), d) of float32

        Raises
        ------
        InputError
            If an id is unknown.
        SpecError
            If a transform cannot be undone.
        """
        check_lookable(self.index, self.spec, "reconstruction")
        rows = self.names.rows_again(ids)
        return reconstruct(self.index, rows, self._places, self.spec)

    @contextmanager
    def _apart(self, settings: Settings) -> Iterator[Settings]:
        """What FAISS is to be given of `settings`; what it takes none of is set for this while.

        Searches of such an index wait for one another.
        """
        if takes_parameters(self.index):
            yield settings
            return
        with self._alone:
            before = in_force(self.index)
            set_for_good(self.index, settings)
            try:
                yield {}
            finally:
                set_for_good(self.index, before)

    def _queries(self, queries: Any) -> Float32:
        if isinstance(queries, str | Path):
            queries = open_vectors(queries)
        return check_queries(
            queries, "this index", width=self.d, metric=str(self.manifest["metric"])
        )

    def _mask(self, chosen: Any, excluded: Any) -> Mask | None:
        """The rows that may be found; None for all."""
        if chosen is not None or excluded is not None:
            check_lookable(self.index, self.spec, "filter")
        mask = None if chosen is None else self.names.mask(chosen, "filter")
        if excluded is not None:
            out = self.names.mask(excluded, "exclude")
            mask = ~out if mask is None else mask & ~out
        return mask

    def _labels(self) -> Labels:
        return Labels(self.names, self.embeds_ids)

    def _places(self, core: Any) -> Places:
        """Where the rows are in the lists; found once, until the index changes."""
        with self._lock:
            if self._known_places is None:
                self._known_places = Places(core, self._labels().rows)
            return self._known_places

    def _prepare(self) -> None:
        """Make what a mapped index lacks until it is first searched."""
        with self._lock:
            if not self._ready:
                make_tables(self.index)
                self._ready = True
