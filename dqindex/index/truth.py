"""Whether a FAISS index still fits the ids beside it: it may have been changed directly."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from dqindex._types import Int64
from dqindex.errors import InputError
from dqindex.index.anatomy import dissect
from dqindex.index.codes import codes_at, list_ids, lists_of
from dqindex.index.contents import leaves
from dqindex.index.interleaved import Bytes
from dqindex.index.labels import Labels
from dqindex.index.names import Names

REMEDY = (
    "it was changed directly; change it through DQIndex.add, remove and update, or build it again"
)
WITNESSES = 64


class Witness:
    """Codes of some rows of the flat parts of an index: they tell if rows were moved.

    Where a row is removed from flat codes, all behind it move up, and nothing in the index says so.
    """

    def __init__(self, index: Any) -> None:
        n = int(index.ntotal)
        self.rows: Int64 = np.unique(np.linspace(0, max(n - 1, 0), WITNESSES).astype(np.int64))[:n]
        self.codes = _flat_codes_at(index, self.rows)

    def agrees(self, index: Any) -> bool:
        """Whether these rows of `index`, which has not fewer of them, hold what they held."""
        now = _flat_codes_at(index, self.rows)
        return all(np.array_equal(one, other) for one, other in zip(self.codes, now, strict=True))


def _flat_codes_at(index: Any, rows: Int64) -> list[Bytes]:
    flat = [one for one in leaves(index) if not isinstance(one, faiss.IndexIVF)]
    return [codes_at(one, rows) for one in flat]


def check_number(index: Any, names: Names) -> None:
    """Refuse an index that holds more or fewer vectors than there are ids.

    Raises
    ------
    InputError
    """
    if index.ntotal != names.n:
        raise InputError(
            f"the FAISS index holds {index.ntotal} vectors, and there are ids for {names.n}: "
            f"{REMEDY}"
        )


def check_true(index: Any, names: Names, labels: Labels, witness: Witness | None) -> None:
    """Refuse an index that was changed past its ids, so that labels and names no longer agree.

    Raises
    ------
    InputError
    """
    check_number(index, names)
    n = int(index.ntotal)
    if witness is not None and not witness.agrees(index):
        raise InputError(f"the FAISS index holds other vectors in the rows of its ids: {REMEDY}")
    core = dissect(index).core
    if not isinstance(core, faiss.IndexIVF) or isinstance(core, faiss.IndexIVFFlatDedup):
        return
    seen = np.zeros(n, dtype=bool)
    lists = lists_of(core)
    held = 0
    for number in range(core.nlist):
        rows = labels.rows(list_ids(lists, number))
        inside = rows[(rows >= 0) & (rows < n)]
        held += len(rows)
        if len(inside) == len(rows):
            seen[inside] = True
    if not seen.all() or held != n:
        raise InputError(
            f"the lists of the FAISS index hold {held} entries of {int(seen.sum())} of its {n} "
            f"rows: {REMEDY}"
        )
