"""Maps in the formats that generative recommenders read, and back.

- ``parquet``: as `dqindex.sids.map_file` writes it.
- ``csv``: ``item_id,token_0,token_1,…``.
- ``jsonl``: ``{"item_id": …, "codes": […]}`` a line.
- ``lc-rec``: ``{"0": ["<a_60>", "<b_159>", …], …}``, one letter a level (aa, ab after z).
- ``offset``: ``{"vocabulary_size", "offsets", "code_sizes", "items": {id: [token, …]}}``: one
  contiguous vocabulary, the code plus the offset of its level.
- ``npy``: the matrix of codes, in the map's order; the ids, where the map has its own, in a file
  beside it (`ids_beside`).
- ``reverse``: ``{"codes": […], "items": […]}`` a line: which items have an ID.
- ``trie``: which tokens may follow a prefix, without the items: arrays in a ``.npz``, or a
  ``.json`` (see `dqindex.sids.trie`). Tokens are those of ``offset``.

In ``offset`` and ``trie`` the vocabulary may `start` behind tokens that a generator has already.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex._parameters import checked, integer, text
from dqindex._parameters import path as path_rule
from dqindex.errors import FileFormatError, InputError, IntegrityError, StorageError
from dqindex.places.place import Place, place
from dqindex.sids import map_file, trie
from dqindex.sids.map import SidMap
from dqindex.sids.readers import MOST_CODE, READERS, Columns, Found
from dqindex.sids.writers import WRITERS, Settings
from dqindex.storage.files import HashingFile, atomic_file
from dqindex.storage.matrix import matrix_writer
from dqindex.storage.reading import open_regular, read_parquet
from dqindex.storage.tables import write_table
from dqindex.vectors.ids import check_ids
from dqindex.vectors.npy import read_npy_values

FORMATS = ("parquet", "csv", "jsonl", "lc-rec", "offset", "npy", "reverse", "trie")
# Those that hold the IDs without the items.
WITHOUT_ITEMS = ("trie",)
# Settings that not all formats take, and those that do.
TAKERS = {"start": ("offset", "trie")}
# In the metadata of an ids file: the digest of the codes that it belongs to.
CODES_SHA256 = b"dqindex-codes-sha256"
# Items of more tokens than this are taken for levels, if there are fewer of them than tokens.
MOST_LEVELS = 64


@checked(path=path_rule(), form=text(), start=integer(0))
def export(sids: SidMap, path: str | Place, form: str, *, start: int = 0) -> None:
    """Write a map in one of `FORMATS`, whole or not at all.

    Parameters
    ----------
    sids : SidMap
    path : path
    form : str
    start : int
        For ``offset`` and ``trie``: the first token of the vocabulary, such as the length of a
        tokenizer that the tokens are added to.

    Raises
    ------
    InputError
        If the format is unknown, or does not take a setting.
    StorageError
        If the file can't be written.
    """
    if form not in FORMATS:
        raise InputError(f"format is {form!r}; use one of {', '.join(FORMATS)}")
    settings = Settings(start=start)
    _check_settings(settings, form)
    path = place(path)
    if form == "parquet":
        map_file.write_map(sids, path)
    elif form == "npy":
        _write_npy(sids, path)
    else:
        writer = _trie_writer(path) if form == "trie" else WRITERS[form]
        with atomic_file(path) as file:
            writer(sids, file, settings)


def _check_settings(settings: Settings, form: str) -> None:
    for name, formats in TAKERS.items():
        if getattr(settings, name) != getattr(Settings(), name) and form not in formats:
            raise InputError(
                f"{name} is for the formats {', '.join(formats)}; this is {form}, leave it out"
            )


def _trie_writer(path: Place) -> Callable[[SidMap, HashingFile, Settings], None]:
    if path.suffix not in (".npz", ".json"):
        raise InputError(f"{path}: the format trie is a .npz or a .json; name it so")
    write = trie.write_arrays if path.suffix == ".npz" else trie.write_json
    return lambda sids, file, settings: write(sids, file, settings.start)


def ids_beside(path: str | Place) -> Place:
    """Where the ids of a map in the format ``npy`` are: one column, for ``--ids`` as well."""
    path = place(path)
    return path.with_name(f"{path.stem}.ids.parquet")


def not_kept(sids: SidMap, form: str) -> str | None:
    """What of a map's ids the format cannot hold, in words; None where it holds all."""
    if form in WITHOUT_ITEMS:
        return f"{form} holds the IDs and not whose they are; 'dqindex sids lookup' finds the items"
    if form not in ("csv", "lc-rec", "offset") or sids.ids is None:
        return None
    if pa.types.is_integer(sids.ids.type):
        return None
    numbers = pa.compute.match_substring_regex(sids.ids, r"^(0|-?[1-9][0-9]{0,18})$")
    if not pa.compute.all(numbers).as_py():
        return None
    return f"{form} cannot tell text from numbers: these ids, all whole numbers, read as numbers"


def read(
    path: str | Place,
    form: str | None = None,
    *,
    id_column: str | None = None,
    codes_column: str | None = None,
    code_sizes: Sequence[int] | None = None,
    transpose: bool = False,
) -> SidMap:
    """Read a map in any of `FORMATS`; by default the one that the file's name and content show.

    Parameters
    ----------
    path : path
    form : str, optional
    id_column, codes_column : str, optional
        Of a foreign map: the Parquet or CSV columns, or JSON fields, of the ids and of the tokens.
    code_sizes : sequence of ints, optional
        Number of codes of each level, where the file does not say; by default the largest code
        plus one, which a map of few items understates.
    transpose : bool
        The rows of a ``.npy`` are levels, not items.

    Raises
    ------
    StorageError, FileFormatError, IntegrityError
        If the file is missing, damaged, or not a map in that format.
    InputError
        If a column is missing, or sizes do not fit the codes.
    """
    path = place(path)
    if form is not None and form not in FORMATS:
        raise InputError(f"format is {form!r}; use one of {', '.join(FORMATS)}")
    if not path.exists():
        raise StorageError(f"{path}: no such file; give a map of semantic IDs")
    form = form or _guess(path)
    if transpose and form != "npy":
        raise InputError(f"{path}: transpose is for the format npy; this is {form}")
    columns = Columns(id_column, codes_column)
    if form in ("npy", "lc-rec", "offset", "trie") and any(columns):
        raise InputError(f"{path}: the format {form} has no columns; leave out their names")
    if form == "parquet":
        sids = map_file.read_map(path, id_column=id_column, codes_column=codes_column)
    elif form == "npy":
        sids = _read_npy(path, transpose)
    elif form == "trie" and path.suffix == ".npz":
        sids = _map(trie.read_arrays(path), path)
    else:
        with (
            open_regular(path) as file,
            io.TextIOWrapper(file, encoding="utf-8", newline="") as lines,
        ):
            try:
                found = (
                    trie.read_json(lines, path)
                    if form == "trie"
                    else READERS[form](lines, path, columns)
                )
            except UnicodeDecodeError as error:
                raise FileFormatError(f"{path}: not UTF-8 text ({error})") from None
        sids = _map(found, path)
    if code_sizes is not None:
        _set_sizes(sids, [int(size) for size in code_sizes], path)
    return sids


def _guess(path: Place) -> str:
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".npy", ".csv"):
        return suffix[1:]
    if suffix == ".npz":
        return "trie"
    with open_regular(path) as file:
        head = file.read(4096)
    if head.startswith(b'{"codes"'):
        return "reverse"
    if head.startswith((b'{"vocabulary_size"', b'{"offsets"')):
        return "offset"
    if head.startswith(b'{"trie"'):
        return "trie"
    if suffix == ".jsonl" or head.startswith(b'{"item_id"'):
        return "jsonl"
    return "lc-rec"


def _map(found: Found, path: Place) -> SidMap:
    codes = found.codes
    return SidMap(
        codes,
        codes,
        np.full(len(codes), np.nan, dtype=np.float32),
        found.sizes or [int(one) + 1 for one in codes.max(axis=0)],
        None if found.ids is None else check_ids(found.ids, len(codes), str(path)),
        sizes_guessed=found.sizes is None,
    )


def _set_sizes(sids: SidMap, sizes: list[int], path: Place) -> None:
    """Give the levels the sizes that a user knows."""
    if len(sizes) != len(sids.sizes):
        raise InputError(
            f"{path}: {len(sizes)} code sizes for items of {len(sids.sizes)} tokens; give one each"
        )
    for level, (size, least) in enumerate(zip(sizes, sids.sizes, strict=True)):
        if not sids.sizes_guessed and size != least:
            raise InputError(
                f"{path}: says that level {level} has {least} codes, not {size}; leave the code "
                "sizes out"
            )
        if size < least:
            raise InputError(
                f"{path}: level {level} has the code {least - 1}, so its size cannot be {size}"
            )
    sids.sizes, sids.sizes_guessed = sizes, False


# The matrix of codes.


def _write_npy(sids: SidMap, path: Place) -> None:
    codes = np.ascontiguousarray(sids.codes, dtype=np.int32)
    if sids.ids is not None:
        ids = pa.table({"item_id": sids.ids}).replace_schema_metadata(
            {CODES_SHA256: _digest(codes)}
        )
        with atomic_file(ids_beside(path)) as file:
            write_table(file, ids)
    with matrix_writer(path, codes.shape, np.dtype(np.int32), column="codes") as write:
        write(codes)


def _read_npy(path: Place, transpose: bool) -> SidMap:
    values = read_npy_values(path)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "iu":
        raise FileFormatError(
            f"{path}: {values.dtype} of shape {values.shape} is not a matrix of tokens"
        )
    if transpose:
        values = values.T
    n, levels = values.shape
    if n < levels and levels > MOST_LEVELS:
        raise FileFormatError(
            f"{path}: {n} items of {levels:,} tokens each; if its rows are levels and its columns "
            "items, read it with --transpose (transpose=True)"
        )
    if values.min() < 0 or values.max() > MOST_CODE:
        raise FileFormatError(f"{path}: codes from {values.min()} to {values.max()}; not tokens")
    codes = np.ascontiguousarray(values, dtype=np.int32)
    return _map(Found(codes, _stored_ids(path, codes)), path)


def _stored_ids(path: Place, codes: npt.NDArray[np.int32]) -> Any:
    """Ids that `_write_npy` left beside a matrix; None where there are none."""
    beside = ids_beside(path)
    if not beside.is_file():
        return None
    with open_regular(beside) as file:
        table = read_parquet(file, beside, "export the map again")
    belongs = (table.schema.metadata or {}).get(CODES_SHA256)
    if belongs is None:
        return None  # somebody else's
    if belongs != _digest(codes):
        raise IntegrityError(
            f"{beside}: belongs to other codes than those of {path.name}; export the map again, or "
            "move it away"
        )
    return table.column(0)


def _digest(codes: npt.NDArray[np.int32]) -> bytes:
    return hashlib.sha256(f"{codes.shape}".encode() + codes.tobytes()).hexdigest().encode()
