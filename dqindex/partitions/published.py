"""A published map on many machines, and whether new items can join it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from dqindex.errors import InputError
from dqindex.partitions import survey as looks
from dqindex.partitions.engine import Engine
from dqindex.partitions.how import How, how_given
from dqindex.partitions.maps import check_kinds, how_of, located, survey_map
from dqindex.partitions.settings import check_room, check_width
from dqindex.partitions.survey import Survey
from dqindex.quantizer.model import DQModel

T = TypeVar("T")


@dataclass(frozen=True)
class Published(Generic[T]):
    """A map, its rows where an engine has them.

    Attributes
    ----------
    rows : DataFrame, or list of references
        item_id, codes, base_codes, distortion.
    how : How
    """

    rows: T
    how: How

    def admit(self, new: Survey, engine: Engine[T]) -> int:
        """Refuse new items that could not be those of this map; how many items it has.

        Raises
        ------
        InputError, FileFormatError
            If their width or number does not fit, or the map can't be used.
        """
        check_width(self.how.model, new.d)
        n = self._items(engine)
        check_room(self.how.model, n + new.n, self.how.unique, self.how.cap)
        return n

    def _items(self, engine: Engine[T]) -> int:
        """How many items it has, all of which are looked at."""
        looked = engine.mapped(self.rows, partial(survey_map, how=self.how), looks.SCHEMA)
        found = engine.gathered(looked, looks.SCHEMA)
        problem = pc.min(found["problem"]).as_py()
        if problem is not None:
            raise InputError(problem)
        return pc.sum(found["n"]).as_py() or 0


def published_map(
    sids: Any,
    kind: pa.DataType,
    table: type,
    rows_of: Callable[[Any], tuple[T, pa.DataType, list[int] | None]],
    model: DQModel | None,
    *given: Any,
) -> Published[T]:
    """A map that new items are to join: in memory, in a file, or a table of an engine.

    Parameters
    ----------
    sids
    kind : pyarrow.DataType
        In which the ids of the new items are compared.
    table : type
        Of an engine's tables.
    rows_of : callable
        The rows of a map, the type of its ids, and the sizes of its levels.
    model : DQModel or None
    *given
        unique, cap and keep, or None.

    Raises
    ------
    InputError, StorageError, FileFormatError, IntegrityError
        If it is none, is damaged, or does not fit the ids or the settings.
    """
    known = isinstance(sids, table)
    found = sids if known else located(sids, table.__name__)
    rows, own, _ = rows_of(found)
    how = how_given(model, *given) if known else how_of(found, model, given)
    check_kinds(kind, own)
    return Published(rows, how)
