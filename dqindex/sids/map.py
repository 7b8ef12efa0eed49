"""`SemanticIds`: the map from items to token tuples, and its Parquet file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dqindex.codebooks import code_dtype
from dqindex.errors import FileFormatError, InputError, IntegrityError, StorageError
from dqindex.model import DQModel
from dqindex.sids.tuples import Tokens, count_distinct
from dqindex.store import atomic_file, storage_error, versions
from dqindex.vectors.ids import check_ids

if TYPE_CHECKING:
    from dqindex.sids.refit import Refit

FORMAT = "dqindex-sids"
FORMAT_VERSION = 1
# Rows that are written at a time.
ROW_GROUP = 2**18


@dataclass
class SemanticIds:
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
    model : DQModel or None
        Where it is at hand.
    """

    codes: Tokens
    base_codes: Tokens
    distortion: npt.NDArray[np.float32]
    sizes: list[int]
    ids: pa.Array | None = None
    fingerprint: str = ""
    unique: str = "none"
    cap: int = 1
    model: DQModel | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def item_ids(self) -> pa.Array:
        """Ids, or row numbers where there are none."""
        return pa.array(np.arange(len(self))) if self.ids is None else self.ids

    def unique_share(self) -> float:
        """Distinct published tuples over items."""
        return count_distinct(self.codes, self.sizes) / len(self)

    def metadata(self) -> dict[str, Any]:
        """What the file says of the map's origin."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "fingerprint": self.fingerprint,
            "code_sizes": self.sizes,
            "unique": self.unique,
            "cap": self.cap,
            "own_ids": self.ids is not None,
            "versions": versions(),
        }

    def table(self, rows: slice = slice(None)) -> pa.Table:
        """As stored: item_id, codes, base_codes, distortion, with the origin in the metadata.

        Of some `rows`, or of all.
        """
        first, end, _ = rows.indices(len(self))
        ids = pa.array(np.arange(first, end)) if self.ids is None else self.ids[first:end]
        columns = {
            "item_id": ids,
            "codes": _lists(self.codes[rows]),
            "base_codes": _lists(self.base_codes[rows]),
            "distortion": pa.array(self.distortion[rows].astype(np.float32)),
        }
        return pa.table(columns).replace_schema_metadata(
            {"dqindex": json.dumps(self.metadata(), sort_keys=True)}
        )

    def save(self, path: str | Path) -> None:
        """Write the Parquet file, whole or not at all.

        Raises
        ------
        StorageError
        """
        schema = self.table(slice(0, 0)).schema
        with atomic_file(path) as file:
            # Ids and distortions hardly repeat: a dictionary of them takes time and room.
            writer = pq.ParquetWriter(
                pa.PythonFile(file, mode="w"),
                schema,
                compression="zstd",
                use_dictionary=["codes.list.element", "base_codes.list.element"],
            )
            with writer:
                for start in range(0, len(self), ROW_GROUP):
                    writer.write_table(self.table(slice(start, start + ROW_GROUP)))

    @classmethod
    def load(cls, path: str | Path, model: DQModel | None = None) -> SemanticIds:
        """Read a map; with `model`, check that it is the one that made it.

        Raises
        ------
        StorageError, FileFormatError
            If the file is missing, unreadable, or not a map.
        IntegrityError
            If the model is another than the map's.
        """
        path = Path(path)
        if not path.is_file():
            raise StorageError(f"{path}: no such file; give a map made by 'dqindex sids extract'")
        try:
            table = pq.read_table(path)
        except OSError as error:
            if isinstance(error, pa.ArrowException):
                raise FileFormatError(f"{path}: not a readable Parquet file ({error})") from None
            raise storage_error(path, "be read", error) from None
        except pa.ArrowException as error:
            raise FileFormatError(f"{path}: not a readable Parquet file ({error})") from None
        found = cls._from_table(table, str(path))
        if model is not None:
            found.attach(model)
        return found

    @classmethod
    def _from_table(cls, table: pa.Table, name: str) -> SemanticIds:
        stored = (table.schema.metadata or {}).get(b"dqindex")
        metadata = json.loads(stored) if stored else {}
        if metadata and metadata.get("format") != FORMAT:
            raise FileFormatError(f"{name}: not a map of semantic IDs")
        if metadata and metadata["format_version"] != FORMAT_VERSION:
            raise FileFormatError(
                f"{name}: map format {metadata['format_version']}, this dqindex reads "
                f"{FORMAT_VERSION}; upgrade dqindex"
            )
        if "codes" not in table.column_names:
            raise FileFormatError(
                f"{name}: no column 'codes'; it has {', '.join(table.column_names)}"
            )
        codes = read_lists(table.column("codes"), name)
        own = metadata.get("own_ids", "item_id" in table.column_names)
        ids = check_ids(table.column("item_id"), len(codes), name) if own else None
        base = codes
        if "base_codes" in table.column_names:
            base = read_lists(table.column("base_codes"), name)
        distortion = np.full(len(codes), np.nan, dtype=np.float32)
        if "distortion" in table.column_names:
            distortion = table.column("distortion").to_numpy().astype(np.float32)
        sizes = metadata.get("code_sizes") or [int(one) + 1 for one in codes.max(axis=0)]
        return cls(
            codes, base, distortion, sizes, ids, metadata.get("fingerprint", ""),
            metadata.get("unique", "none"), metadata.get("cap", 1),
        )  # fmt: skip

    def attach(self, model: DQModel) -> SemanticIds:
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

    # What a user does with a map; each lives in a file of its own.

    def evaluate(self, vectors: Any = None, *, seed: int = 0) -> dict[str, Any]:
        """Figures of the map: see `dqindex.sids.quality.evaluate`."""
        from dqindex.sids.quality import evaluate

        return evaluate(self, vectors, seed=seed)

    def append(
        self, vectors: Any, ids: Any = None, **settings: Any
    ) -> tuple[SemanticIds, SemanticIds]:
        """The map with new items, and these alone: see `dqindex.sids.append.append`."""
        from dqindex.sids.append import append

        return append(self, vectors, ids, **settings)

    def refit(self, vectors: Any, ids: Any = None, **settings: Any) -> Refit:
        """A map of the catalogue as it is now: see `dqindex.sids.refit.refit`."""
        from dqindex.sids.refit import refit

        return refit(self, vectors, ids, **settings)

    def export(self, path: str | Path, form: str) -> None:
        """Write another format: see `dqindex.sids.formats`."""
        from dqindex.sids.formats import export

        export(self, path, form)

    def need_model(self) -> DQModel:
        """The model, or an error that says it is missing."""
        if self.model is None:
            raise InputError("the map has no model at hand; attach the one that made it (--model)")
        return self.model


def model_beside(path: str | Path, fingerprint: str) -> Path:
    """Where ``sids extract`` leaves the model: beside the map, named by its fingerprint."""
    path = Path(path)
    return path.with_name(f"{path.stem}.{fingerprint[:12]}.safetensors")


def _lists(codes: npt.NDArray[Any]) -> pa.ListArray:
    n, levels = codes.shape
    offsets = np.arange(0, n * levels + 1, levels, dtype=np.int64)
    values = pa.array(np.ascontiguousarray(codes, dtype=np.int32).ravel())
    if n * levels < 2**31:
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)
    return pa.LargeListArray.from_arrays(pa.array(offsets), values)


def read_lists(column: pa.ChunkedArray, name: str) -> Tokens:
    """A list column of integers, all of one length, as a matrix.

    Raises
    ------
    FileFormatError
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    kind = array.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not (is_list or pa.types.is_fixed_size_list(kind)) or not pa.types.is_integer(
        kind.value_type
    ):
        raise FileFormatError(f"{name}: codes of type {kind}; they must be lists of integers")
    if len(array) == 0:
        raise FileFormatError(f"{name}: a map without items")
    if array.null_count:
        raise FileFormatError(f"{name}: {array.null_count} items have no codes")
    widths = pa.compute.list_value_length(array).to_numpy()
    other = np.flatnonzero(widths != widths[0])
    if other.size or widths[0] == 0:
        row = int(other[0]) if other.size else 0
        raise FileFormatError(
            f"{name}: row {row} has {widths[row]} tokens, the first {widths[0]}; all need as many"
        )
    values = array.flatten().to_numpy(zero_copy_only=False)
    if values.min() < 0 or values.max() >= 2**31:
        raise FileFormatError(f"{name}: codes from {values.min()} to {values.max()}; not tokens")
    largest = int(values.max(initial=0))
    codes: Tokens = values.astype(code_dtype(largest + 1)).reshape(len(array), -1)
    return codes
