"""`DQIndex`: a FAISS index with ids and its model; search it, change it, save it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import pyarrow as pa

from dqindex._parameters import (
    Rule,
    boolean,
    callback,
    checked,
    or_none,
    path,
    thread_count,
    unbounded,
)
from dqindex._types import Progress, no_progress
from dqindex.errors import InputError
from dqindex.index.changing import Catalogue
from dqindex.index.codecs import check_codecs
from dqindex.index.drift import noted
from dqindex.index.folder import IndexWriter, Manifest, write_folder
from dqindex.index.labels import Labels, check_embeddable, relabel
from dqindex.index.mapping import refuse_mapped
from dqindex.index.names import Names
from dqindex.index.saving import Version, check_version, manifest_of, write_files
from dqindex.index.score_aware import score_aware_of
from dqindex.index.searchable import SearchableIndex
from dqindex.index.truth import Witness, check_true
from dqindex.parallel.threads import thread_limit
from dqindex.places.place import place
from dqindex.quantizer.model import DQModel
from dqindex.vectors import VectorSource, open_vectors
from dqindex.vectors.rescaled import RescaledVectors


class DQIndex(SearchableIndex):
    """A trained FAISS index with the catalogue's ids and the DQ model behind it.

    `dqindex.build_index`, `open_index` and `merge_indexes` return it. Several threads may search at
    the same time, each with its own parameters and filter; changes may not run at the same time.

    Attributes
    ----------
    index : faiss.Index
        A plain FAISS index. Search and inspect it freely, but change it only by the methods of this
        class: FAISS does not know the ids, and aborts the process if it writes to a memory-mapped
        index.
    manifest : dict
        Spec, metric, n, d, settings, versions, as ``dqindex info --json`` prints them.
    model : DQModel or None
        Transform and codebooks, for specs that start with DQ and end in PQ. It decodes the codes of
        the index; score-aware codes differ from those that it encodes.
    training_seconds : dict
        Seconds of each part of the training; empty for an index that was opened.
    mapped : bool
        Whether the index is memory-mapped, and so can't be changed.
    """

    def __init__(
        self,
        index: faiss.Index,
        manifest: Manifest,
        ids: pa.Array | Names | None = None,
        model: DQModel | None = None,
        training_seconds: dict[str, float] | None = None,
        *,
        mapped: bool = False,
        opened: Version | None = None,
    ) -> None:
        super().__init__(index, manifest, ids, model, mapped=mapped)
        self.training_seconds = training_seconds or {}
        # The folder it was opened from, and the files of that version.
        self._opened = opened
        self._published = opened
        # What is mapped cannot be changed; to look at its codes would read them.
        self._witness = None if mapped else Witness(index)

    @property
    def published(self) -> Version | None:
        """The folder that it was opened from or saved to, with its files; None after a change."""
        return self._published if self.n == self.manifest["n"] else None

    # Change.

    @checked(
        block_rows=or_none(unbounded(1)),
        threads=thread_count(),
        progress=or_none(callback()),
    )
    def add(
        self,
        vectors: Any,
        ids: Any = None,
        *,
        block_rows: int | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Add vectors with the existing training; `save` then publishes them.

        Warns (`DQWarning`) if their mean distortion is so much higher than that of the training
        vectors that a new training would pay.

        Parameters
        ----------
        vectors : array (n, d), path, or VectorSource
            Read in blocks, twice: checked, then added.
        ids : array-like of n integers or strings, optional
            Needed if the index has ids of the catalogue; otherwise the numbers continue.
        block_rows, threads, progress
            As in `build_index`.

        Raises
        ------
        InputError, NonFiniteError, RangeError
            If the vectors do not fit, or an id is missing, known or given twice. Nothing is then
            added.
        """
        source, metric = self._source(vectors, ids), str(self.manifest["metric"])
        report = progress or no_progress
        with thread_limit(threads), self._changed() as catalogue:
            check_codecs(self.index, self.spec, metric, source.check(block_rows, report))
            catalogue.add(source, block_rows, report)
        self.manifest = noted(self.manifest, self.index, source)

    @checked(missing_ok=boolean())
    def remove(self, ids: Any, *, missing_ok: bool = False) -> int:
        """Remove the vectors of `ids`; stock FAISS does not find them in the file either.

        The other vectors keep their ids or numbers. A graph (HNSW) is built again.

        Parameters
        ----------
        ids : array-like
        missing_ok : bool
            Ignore ids that are not in the index, and count them.

        Returns
        -------
        int
            The number of ids that were not in the index.

        Raises
        ------
        InputError
            If an id is not in the index, or is given twice. Nothing is then removed.
        SpecError
            If FAISS gives no way to take such an index apart.
        """
        with self._changed() as catalogue:
            return catalogue.remove(ids, missing_ok=missing_ok)

    @checked(
        block_rows=or_none(unbounded(1)),
        threads=thread_count(),
        progress=or_none(callback()),
    )
    def update(
        self,
        vectors: Any,
        ids: Any = None,
        *,
        block_rows: int | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Replace the vectors of `ids`.

        Parameters
        ----------
        vectors : array (n, d), path, or VectorSource
        ids : array-like of n ids of the index
            Those of `vectors` by default.
        block_rows, threads, progress
            As in `build_index`.

        Raises
        ------
        InputError, NonFiniteError, RangeError
            If the vectors do not fit, or an id is unknown or given twice. Nothing is then changed.
        SpecError
            If FAISS gives no way to take such an index apart.
        """
        source, metric = self._source(vectors, None), str(self.manifest["metric"])
        ids = source.ids if ids is None else ids
        if ids is None:
            raise InputError(f"{source.name}: has no ids; say whose vectors these are")
        report = progress or no_progress
        with thread_limit(threads), self._changed() as catalogue:
            check_codecs(self.index, self.spec, metric, source.check(block_rows, report))
            catalogue.update(source, ids, block_rows, report)

    def embed_ids(self) -> None:
        """Put the catalogue's ids into the lists, so that stock FAISS returns them.

        Raises
        ------
        SpecError
            If the index has no lists, or finds rows by number in a refinement.
        InputError
            If the ids are not integers from 0 on.
        """
        if self.mapped:
            refuse_mapped()
        check_embeddable(self.index, self._names, self.spec, embedded=self.embeds_ids)
        if self.embeds_ids:
            return
        with self._changed():
            relabel(self.index, Labels(self._names, True).of)
            self.manifest = {**self.manifest, "embeds_ids": True}

    def _source(self, vectors: Any, ids: Any) -> VectorSource:
        source = open_vectors(vectors, ids=ids)
        if source.d != self.d:
            raise InputError(
                f"{source.name}: vectors of width {source.d}, and the index {self.spec!r} is "
                f"expecting {self.d} features; give vectors of its width"
            )
        return RescaledVectors(source) if self.manifest["metric"] == "cosine" else source

    @contextmanager
    def _changed(self) -> Iterator[Catalogue]:
        """What is changed inside becomes this index; refused where it cannot be."""
        if self.mapped:
            refuse_mapped()
        self._check_true()
        aware = score_aware_of(self.manifest)
        catalogue = Catalogue(self.index, self._names, self.embeds_ids, self.spec, aware)
        self._known_places, self._published = None, None
        try:
            yield catalogue
        finally:
            self._names = catalogue.names
            self._known_places, self._witness = None, Witness(self.index)
            self.manifest = {**self.manifest, "n": self.n}

    def _check_true(self) -> None:
        check_true(self.index, self.names, self._labels(), self._witness)

    # Store.

    @checked(folder=Rule(lambda to: isinstance(to, IndexWriter) or path().holds(to), "a path"))
    def save(self, folder: str | Path | IndexWriter) -> None:
        """Publish the index to `folder`, replacing an index there in a single step.

        Raises
        ------
        StorageError
            If it can't be written; the old index is then unchanged.
        BusyError
            If another process is writing there, or has published another version since this index
            was opened from there.
        InputError
            If the FAISS index was changed directly, so that the ids no longer fit.
        """
        if not isinstance(folder, IndexWriter):
            with write_folder(folder) as writer:
                check_version(place(folder), self._opened)
                self.save(writer)
                self._published = place(folder).resolve(), writer.files
                if self._opened is not None:
                    self._opened = self._published
            return
        self._check_true()
        self.manifest = manifest_of(self.index, self.manifest, self._names, self.training)
        write_files(folder, self.index, self._names, self.model)
        folder.commit(self.manifest)
