"""Maps in the formats that generative recommenders read, and back.

- ``parquet``: as `dqindex.sids.map_file` writes it.
- ``csv``: ``item_id,token_0,token_1,…``.
- ``jsonl``: ``{"item_id": …, "codes": […]}`` a line.
- ``table``: Parquet of the columns ``item_id`` and ``codes``, and nothing of ours.
- ``lc-rec``: ``{"0": ["<a_60>", "<b_159>", …], …}``, one letter a level (aa, ab after z): LC-Rec,
  LETTER, MiniOneRec. Tokens may be written otherwise (`dqindex.sids.vocabulary.Spelling`).
- ``offset``: ``{"vocabulary_size", "offsets", "code_sizes", "items": {id: [token, …]}}``: one
  contiguous vocabulary, the code plus the offset of its level.
- ``npy``: the matrix of codes, items by levels, in the map's order; the ids, where the map has its
  own, in a file beside it (`ids_beside`).
- ``pt``: the matrix of codes, levels by items, as a torch tensor: GRID.
- ``reverse``: ``{"codes": […], "items": […]}`` a line: which items have an ID.
- ``openonerec``: Parquet of the columns ``pid`` and ``sid``; ``openonerec-reverse``: the items of
  every ID, as OpenOneRec reads both.
- ``trie``: which tokens may follow a prefix, without the items: arrays in a ``.npz``, or a
  ``.json`` (see `dqindex.sids.trie`). Tokens are those of ``offset``.
- ``vocabulary``: all tokens as text, in the order of ``offset``: a line each, or a ``.json`` list.
  This is no map, and the only format that is not read.

In ``offset`` and ``trie`` the vocabulary may `start` behind tokens that a generator has already.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from dqindex._parameters import boolean, checked, integer, or_none, text
from dqindex._parameters import path as path_rule
from dqindex.errors import FileFormatError, InputError
from dqindex.places.missing import not_there
from dqindex.places.place import Place, place
from dqindex.sids import map_file, matrix_files, openonerec, trie
from dqindex.sids.map import SidMap
from dqindex.sids.matrix_files import are_numbers, ids_beside
from dqindex.sids.readers import READERS, Found, Layout
from dqindex.sids.vocabulary import LC_REC, Spelling
from dqindex.sids.writers import WRITERS, Settings
from dqindex.storage.files import atomic_file
from dqindex.storage.reading import open_regular
from dqindex.vectors.ids import INT64_MAX, check_ids

FORMATS = (
    *("parquet", "csv", "jsonl", "table", "lc-rec", "offset", "npy", "pt", "reverse"),
    *("openonerec", "openonerec-reverse", "trie"),
)
# What is written and never read.
WRITTEN_ONLY = ("vocabulary",)
# Those that hold the IDs without the items.
WITHOUT_ITEMS = ("trie",)
# Those that hold ids without their type.
AS_TEXT = ("csv", "jsonl", "lc-rec", "offset", "reverse", "openonerec-reverse")
# Formats of several kinds of files: the ends of their names.
KINDS = {"trie": (".npz", ".json"), "vocabulary": (".txt", ".json")}
# Settings that not all formats take, and those that do.
SPELLED = ("lc-rec", "vocabulary")
NAMED = ("csv", "jsonl", "table", "reverse", "openonerec")
TEXT_READERS = {**READERS, "openonerec-reverse": openonerec.read_reverse}
TAKERS = {
    "start": ("offset", "trie"),
    "token": SPELLED,
    "begin": SPELLED,
    "end": SPELLED,
    "merged": ("lc-rec",),
    "id_column": (*NAMED, "openonerec-reverse"),
    "codes_column": NAMED,
}


@checked(
    path=path_rule(),
    form=text(),
    start=integer(0),
    token=text(),
    begin=text(),
    end=text(),
    merged=boolean(),
    id_column=or_none(text()),
    codes_column=or_none(text()),
)
def export(
    sids: SidMap,
    path: str | Place,
    form: str,
    *,
    start: int = 0,
    token: str = LC_REC,
    begin: str = "",
    end: str = "",
    merged: bool = False,
    id_column: str | None = None,
    codes_column: str | None = None,
) -> None:
    """Write a map in one of `FORMATS`, or its vocabulary, whole or not at all.

    Parameters
    ----------
    sids : SidMap
    path : path
    form : str
    start : int
        For ``offset`` and ``trie``: the first token of the vocabulary, such as the length of a
        tokenizer that the tokens are added to.
    token, begin, end : str
        For ``lc-rec`` and ``vocabulary``: how a token is written (``{code}``, and ``{letter}`` or
        ``{level}``, in other text), and marks before and behind the tokens of an ID.
    merged : bool
        For ``lc-rec``: one string an item, and no list.
    id_column, codes_column : str, optional
        Names of the columns, or JSON fields; in ``csv`` with `codes_column` all codes are in one
        column, between commas, which `read` takes by itself where it is called ``codes``.

    Raises
    ------
    InputError
        If the format is unknown, does not take a setting, or cannot hold the map.
    StorageError
        If the file can't be written.
    MissingDependencyError
        If the format needs a library that is not installed.
    """
    if form not in (*FORMATS, *WRITTEN_ONLY):
        raise InputError(f"format is {form!r}; use one of {', '.join((*FORMATS, *WRITTEN_ONLY))}")
    settings = Settings(start, token, begin, end, merged, id_column, codes_column)
    _check_settings(settings, form)
    path = place(path)
    if form.startswith("openonerec"):
        openonerec.check_sizes(sids)
    if form == "parquet":
        map_file.write_map(sids, path)
    elif form == "npy":
        matrix_files.write_npy(sids, path)
    elif form == "pt":
        matrix_files.write_pt(sids, path)
    else:
        writer = WRITERS[_kind(form, path)]
        with atomic_file(path) as file:
            writer(sids, file, settings)


def _check_settings(settings: Settings, form: str) -> None:
    for name, formats in TAKERS.items():
        if getattr(settings, name) != getattr(Settings(), name) and form not in formats:
            raise InputError(
                f"{name} is for the formats {', '.join(formats)}; this is {form}, leave it out"
            )


def _kind(form: str, path: Place) -> str:
    """The key of a format's writer."""
    if form not in KINDS:
        return form
    if path.suffix not in KINDS[form]:
        raise InputError(f"{path}: the format {form} is {' or '.join(KINDS[form])}; name it so")
    return form + path.suffix


def ids_file(sids: SidMap, path: str | Place, form: str) -> Place | None:
    """The file of ids that `export` writes beside a matrix; None where it needs none."""
    if form == "npy" and sids.ids is not None:
        return ids_beside(path)
    return ids_beside(path) if form == "pt" and not are_numbers(sids.ids) else None


def not_kept(sids: SidMap, form: str) -> str | None:
    """What of a map's ids the format cannot hold, in words; None where it holds all."""
    if form in WITHOUT_ITEMS:
        return f"{form} does not hold whose the IDs are; 'dqindex sids lookup' finds the items"
    if form == "openonerec-reverse" and pa.compute.any(pa.compute.equal(sids.item_ids, 0)).as_py():
        return "OpenOneRec takes the id 0 for no item: it never counts as found; number from 1"
    if form not in AS_TEXT or sids.ids is None:
        return None
    if pa.types.is_integer(sids.ids.type):
        large = (pa.compute.max(sids.ids).as_py() or 0) > INT64_MAX
        kind = pa.uint64() if large else pa.int64()
        if sids.ids.type == kind:
            return None
        return f"{form} does not hold the type of the ids: {sids.ids.type} reads as {kind}"
    if form not in ("csv", "lc-rec", "offset"):
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
    token: str = LC_REC,
    begin: str = "",
    end: str = "",
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
    token, begin, end : str
        For ``lc-rec``: as they were given to `export`.

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
        raise not_there(path, "give a map of semantic IDs")
    form = form or form_of(path)
    if transpose and form != "npy":
        raise InputError(f"{path}: transpose is for the format npy; this is {form}")
    layout = Layout(id_column, codes_column, Spelling(token, begin, end).checked())
    if layout.spelling != Spelling() and form != "lc-rec":
        raise InputError(f"{path}: token, begin and end are for lc-rec; this is {form}")
    if form not in (*TAKERS["id_column"], "parquet") and (id_column or codes_column):
        raise InputError(f"{path}: the format {form} has no columns; leave out their names")
    sids = _read(path, form, layout, transpose)
    if code_sizes is not None:
        _set_sizes(sids, [int(size) for size in code_sizes], path)
    return sids


def _read(path: Place, form: str, layout: Layout, transpose: bool) -> SidMap:
    if form in ("parquet", "table", "openonerec"):
        ids, codes = map_file.OPENONEREC if form == "openonerec" else (None, None)
        return map_file.read_map(
            path, id_column=layout.ids or ids, codes_column=layout.codes or codes
        )
    if form == "npy":
        return _map(matrix_files.read_npy(path, transpose), path)
    if form == "pt":
        return _map(matrix_files.read_pt(path), path)
    if form == "trie" and path.suffix == ".npz":
        return _map(trie.read_arrays(path), path)
    with (
        open_regular(path) as file,
        io.TextIOWrapper(file, encoding="utf-8", newline="") as lines,
    ):
        try:
            if form == "trie":
                return _map(trie.read_json(lines, path), path)
            return _map(TEXT_READERS[form](lines, path, layout), path)
        except UnicodeDecodeError:
            raise FileFormatError(f"{path}: not UTF-8 text; store it as UTF-8") from None


def form_of(path: str | Place) -> str:
    """The format that a file's name and content show.

    Raises
    ------
    StorageError
        If it can't be read.
    """
    path = place(path)
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".npy", ".pt", ".csv"):
        return suffix[1:]
    if suffix == ".npz":
        return "trie"
    with open_regular(path) as file:
        head = file.read(4096)
    if head.startswith(b'{"codes"'):
        return "reverse"
    if head.startswith((b'{"vocabulary_size"', b'{"offsets"')):
        return "offset"
    if re.match(rb'\{\s*"[0-9]+"\s*:\s*\[\s*\{', head):
        return "openonerec-reverse"
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
