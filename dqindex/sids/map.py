"""The data of a map: from items to token tuples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex._parameters import checked, instance
from dqindex._types import Float64, Tokens
from dqindex.errors import InputError, IntegrityError
from dqindex.quantizer.model import DQModel
from dqindex.sids.duplicates import Duplicates
from dqindex.sids.tuples import TupleRows, count_distinct

Self = TypeVar("Self", bound="SidMap")


@dataclass(eq=False, repr=False)
class SidMap:
    """Token tuples of a catalogue.

    Attributes
    ----------
    codes : (n, T) unsigned, of the smallest type that holds the sizes
        Published tokens of every item.
    base_codes : (n, B), likewise
        Tokens before collisions were resolved; the same array where none were. B is T, or T - 1
        where a suffix was added.
    distortion : (n,) float32
        ‖ẑ - z‖² of the published tokens, of the base tokens where a suffix was added; NaN where
        it is not known (foreign maps).
    sizes : list of T ints
        Number of codes of every level.
    ids : pyarrow.Array or None
        The catalogue's ids; None where rows are the ids.
    fingerprint : str
        Of the model that made the map; empty for a foreign map.
    unique : str
        How collisions were resolved: none, reassign, suffix, or cap.
    cap : int
        Most items a tuple, for ``cap``.
    keep : int or None
        How many of its first tokens an item kept when a collision was resolved, unless no tuple
        behind them was free; None where none was resolved, or where a map of an earlier version
        does not say.
    priority : (n,) float64 or None
        Of several items that want one ID, those of larger ones come first; NaN where an item has
        none.
    duplicates : Duplicates or None
        Items that share one vector, as `extract` found them; no part of the file.
    model : DQModel or None
        Where it is at hand.
    sizes_guessed : bool
        Whether `sizes` are only the largest codes seen, plus one: of foreign maps that do not say.
    by_tuple : TupleRows or None
        The order of `codes` that `dqindex.sids.lookup.find` keeps.
    """

    codes: Tokens
    base_codes: Tokens
    distortion: npt.NDArray[np.float32]
    sizes: list[int]
    ids: pa.Array | None = None
    fingerprint: str = ""
    unique: str = "none"
    cap: int = 1
    keep: int | None = None
    priority: Float64 | None = None
    model: DQModel | None = field(default=None)
    sizes_guessed: bool = False
    duplicates: Duplicates | None = None
    by_tuple: TupleRows | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def __repr__(self) -> str:
        tokens = " x ".join(map(str, self.sizes))
        made = f", model {self.fingerprint[:12]}" if self.fingerprint else ""
        return f"<{type(self).__name__}: {len(self):,} items, {tokens}, {self.unique}{made}>"

    def __eq__(self, other: object) -> bool:
        """Whether both map the same items to the same tokens, in the same order and manner."""
        if not isinstance(other, SidMap):
            return NotImplemented
        return (
            self.sizes == other.sizes
            and (self.fingerprint, self.unique, self.cap, self.keep)
            == (other.fingerprint, other.unique, other.cap, other.keep)
            and (self.ids is None) == (other.ids is None)
            and (self.ids is None or bool(self.ids.equals(other.ids)))
            and np.array_equal(self.codes, other.codes)
            and np.array_equal(self.base_codes, other.base_codes)
            and np.array_equal(self.distortion, other.distortion, equal_nan=True)
            and (self.priority is None) == (other.priority is None)
            and (
                self.priority is None
                or np.array_equal(self.priority, other.priority, equal_nan=True)  # type: ignore[arg-type]
            )
        )

    # Maps are large and can be changed: they have no hash.
    __hash__ = None  # type: ignore[assignment]

    @property
    def item_ids(self) -> pa.Array:
        """Ids, or row numbers where there are none."""
        return pa.array(np.arange(len(self))) if self.ids is None else self.ids

    def unique_share(self) -> float:
        """Distinct published tuples over items."""
        return count_distinct(self.codes, self.sizes) / len(self)

    def widened(self) -> int:
        """Items that a collision took behind other tokens than the first `keep` of their own."""
        if not self.keep:
            return 0
        kept = slice(0, self.keep)
        return int((self.codes[:, kept] != self.base_codes[:, kept]).any(axis=1).sum())

    @checked(model=instance(DQModel))
    def attach(self: Self, model: DQModel) -> Self:
        """Set the model, if it is the one that made the map, and return self.

        Raises
        ------
        IntegrityError
        """
        if model.fingerprint != self.fingerprint:
            raise IntegrityError(
                f"the map was made by model {self.fingerprint[:16] or 'unknown'}, this is model "
                f"{model.fingerprint[:16]}; give the model that made it"
            )
        self.model = model
        return self

    def need_model(self) -> DQModel:
        """The model, or an error that says it is missing.

        Raises
        ------
        InputError
        """
        if self.model is None:
            raise InputError("the model of the map is missing; give the one that made it (--model)")
        return self.model
