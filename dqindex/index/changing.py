"""Add, remove and replace vectors of a trained index; its ids go along."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dqindex._types import Int64, Progress
from dqindex.errors import InputError
from dqindex.index.adding import add_blocks
from dqindex.index.contents import check_composable, compose
from dqindex.index.labels import Labels, check_embeddable, relabel
from dqindex.index.names import Names
from dqindex.vectors import VectorSource

# What to do about ids that are not there.
OF_REMOVE = "leave them out, or allow missing ones (missing_ok)"


class Catalogue:
    """A FAISS index and the names of its rows, which change together.

    Parameters
    ----------
    index : faiss.Index
    names : Names
    embedded : bool
        Whether the lists hold ids.
    spec : str
        For messages.
    score_aware : float
        Weight of the codes: `dqindex.quantizer.score_aware`.
    """

    def __init__(
        self, index: Any, names: Names, embedded: bool, spec: str, score_aware: float
    ) -> None:
        self.index, self.names, self.embedded, self.spec = index, names, embedded, spec
        self.score_aware = score_aware

    @contextmanager
    def _by_rows(self) -> Iterator[None]:
        """Inside, the lists hold rows; afterwards, whatever `names` then says."""
        if self.embedded:
            relabel(self.index, Labels(self.names, True).rows)
        try:
            yield
        finally:
            if self.embedded:
                relabel(self.index, Labels(self.names, True).of)

    def add(self, source: VectorSource, block_rows: int | None, report: Progress) -> None:
        """Add all of `source`, which was checked; nothing is changed if that fails."""
        names = self.names.extended(source.n, source.ids, source.name)
        if self.embedded:
            check_embeddable(self.index, names, self.spec, embedded=True)
        with self._by_rows():
            self._append(source, block_rows, report)
            self.names = names

    def _append(self, source: VectorSource, block_rows: int | None, report: Progress) -> None:
        before, done = int(self.index.ntotal), 0
        try:
            for added in add_blocks(self.index, source.blocks(block_rows), self.score_aware):
                done += added
                report("add", done, source.n)
        except BaseException:
            rows = np.arange(max(int(self.index.ntotal), before + source.n))
            self._compose(np.where(rows < before, rows, -1), before)
            raise

    def _compose(self, places: Int64, total: int) -> None:
        compose(self.index, places, total)

    def remove(self, ids: Any, *, missing_ok: bool = False) -> int:
        """Remove the rows of `ids`; how many were unknown."""
        check_composable(self.index, self.spec)
        rows = self.names.rows(ids, remedy=OF_REMOVE, missing_ok=missing_ok)
        known = rows[rows >= 0]
        stays = np.ones(self.names.n, dtype=bool)
        stays[known] = False
        if len(known):
            places = np.where(stays, np.cumsum(stays) - 1, -1)
            with self._by_rows():
                self._compose(places, int(stays.sum()))
                self.names = self.names.kept(np.flatnonzero(stays))
        return len(rows) - len(known)

    def update(
        self, source: VectorSource, ids: Any, block_rows: int | None, report: Progress
    ) -> None:
        """Replace the vectors of `ids` by those of `source`, which was checked, in their rows."""
        check_composable(self.index, self.spec)
        what = f"{source.name}: ids" if ids is source.ids else "ids"
        rows = self.names.rows(ids, what, remedy="add them first, or leave them out")
        if len(rows) != source.n:
            raise InputError(f"{source.name}: {len(rows)} ids for {source.n} vectors; give as many")
        n = self.names.n
        with self._by_rows():
            self._append(source, block_rows, report)
            places = np.concatenate([np.arange(n), rows])
            places[rows] = -1
            self._compose(places, n)
