"""What the inverted lists call a row: its number, or the catalogue's integer id itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import pyarrow as pa

from dqindex._types import Int64
from dqindex.errors import InputError, SpecError
from dqindex.index.anatomy import dissect
from dqindex.index.codes import list_ids, lists_of
from dqindex.index.names import Names
from dqindex.vectors.ids import INT64_MAX


def check_embeddable(index: Any, names: Names, spec: str, *, embedded: bool = False) -> None:
    """Refuse ids that the lists of `index`, in which ids are `embedded` or not yet, cannot hold.

    Raises
    ------
    SpecError
        If it has no lists, or finds rows by their number elsewhere.
    InputError
        If the catalogue's ids are not integers from 0 on.
    """
    parts = dissect(index)
    if parts.refine is not None or not isinstance(parts.core, faiss.IndexIVF):
        why = "a refinement finds vectors by row" if parts.refine is not None else "it has no lists"
        raise SpecError(f"spec {spec!r} cannot hold the catalogue's ids: {why}; use an IVF alone")
    if isinstance(parts.core, faiss.IndexIVFPQR | faiss.IndexIVFFlatDedup):
        raise SpecError(
            f"spec {spec!r} cannot hold the catalogue's ids: FAISS finds some of what it holds by "
            "row; use another IVF"
        )
    if names.plain and not embedded:
        raise InputError("the vectors have no ids to embed; give ids, or leave embed_ids out")
    if names.counted or names.array is None:
        return
    if not names.integers:
        raise InputError("the ids are strings, and FAISS's lists hold integers; use integer ids")
    values = names.array.to_numpy(zero_copy_only=False)
    if len(values) and (values.min() < 0 or values.max() > INT64_MAX):
        wrong = values.min() if values.min() < 0 else values.max()
        raise InputError(
            f"id {wrong} cannot be embedded: FAISS's lists hold integers from 0 to {INT64_MAX}"
        )


class Labels:
    """Rows to labels and back.

    Parameters
    ----------
    names : Names
    embedded : bool
        Whether labels are ids; else they are rows.
    """

    def __init__(self, names: Names, embedded: bool) -> None:
        self._names, self._embedded = names, embedded

    def of(self, rows: Int64) -> Int64:
        """The labels of `rows`; the same array where they are the rows."""
        return self._names.take(rows).astype(np.int64) if self._embedded else rows

    def rows(self, labels: Int64) -> Int64:
        """The rows of `labels`, of any shape; -1 stays."""
        if not self._embedded:
            return labels
        return self._names.find(pa.array(labels.ravel())).reshape(labels.shape)


def relabel(index: Any, change: Callable[[Int64], Int64]) -> None:
    """Replace all labels in the lists of `index`, where it has any."""
    core = dissect(index).core
    if not isinstance(core, faiss.IndexIVF):
        return
    lists = lists_of(core)
    for number in range(core.nlist):
        ids = list_ids(lists, number)
        if len(ids):
            ids[:] = change(ids.copy())
