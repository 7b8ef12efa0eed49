"""The IDs of a map as a tree: which tokens may follow a prefix, for constrained decoding.

Nodes are numbered breadth first, the root 0. ``tokens[node]`` is the token that leads to a node (-1
for the root), and the children of a node are the nodes ``first[node]`` to ``first[node + 1] - 1``,
their tokens ascending. The nodes beyond ``len(first) - 1`` are whole IDs and have no children. A
token is a code plus the offset of its level, so that no two levels share one.
"""

from __future__ import annotations

import json
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

import numpy as np
import numpy.typing as npt

from dqindex._types import Tokens
from dqindex.errors import FileFormatError
from dqindex.places.place import Place
from dqindex.sids.map import SidMap
from dqindex.sids.readers import Found, field, json_object, matrix
from dqindex.sids.vocabulary import level_offsets
from dqindex.storage.files import HashingFile
from dqindex.storage.reading import open_regular
from dqindex.vectors.files import damage


class Trie(NamedTuple):
    """The tree of the distinct IDs of a map.

    Attributes
    ----------
    tokens : (nodes,) int32
    first : (inner nodes + 1,) int32 or int64
    offsets : (T,) int32
        What is added to the codes of each level.
    code_sizes : (T,) int32
    """

    tokens: npt.NDArray[np.int32]
    first: npt.NDArray[np.signedinteger[Any]]
    offsets: npt.NDArray[np.int32]
    code_sizes: npt.NDArray[np.int32]


def trie_of(codes: Tokens, sizes: list[int], start: int = 0) -> Trie:
    """The tree of the distinct rows of `codes`, its tokens counted from `start`.

    Raises
    ------
    InputError
        If a token is beyond what int32 holds.
    """
    offsets = level_offsets(sizes, start)
    codes = codes[np.lexsort(codes.T[::-1])]
    tokens, first = [np.array([-1], dtype=np.int32)], []
    nodes, parents = 1, np.array([0])
    new = np.zeros(len(codes), dtype=bool)
    new[0] = True
    for level, offset in enumerate(offsets.tolist()):
        column = codes[:, level]
        new[1:] |= column[1:] != column[:-1]
        rows = np.flatnonzero(new)
        # A parent's first child stands in the parent's own first row.
        first.append(nodes + np.searchsorted(rows, parents))
        tokens.append((column[rows].astype(np.int64) + offset).astype(np.int32))
        nodes, parents = nodes + len(rows), rows
    bounds = np.concatenate([*first, [nodes]])
    narrow = np.int32 if nodes < 2**31 else np.int64
    return Trie(
        np.concatenate(tokens),
        bounds.astype(narrow),
        offsets.astype(np.int32),
        np.array(sizes, dtype=np.int32),
    )


def tuples_of(trie: Trie, name: str) -> npt.NDArray[np.int32]:
    """The IDs of a tree, in ascending order: (n, T) int32.

    Raises
    ------
    FileFormatError
        If it is no tree, or its IDs are not all of T tokens.
    """
    tokens, first = trie.tokens, trie.first.astype(np.int64)
    remedy = "damaged, export the map again"
    if not (
        len(first) > 1
        and first[0] == 1
        and first[-1] == len(tokens)
        and (np.diff(first) > 0).all()
        and len(trie.offsets) == len(trie.code_sizes) > 0
    ):
        raise FileFormatError(f"{name}: is not a tree of IDs; {remedy}")
    levels, start, end = [], 1, int(first[1])
    parents = []
    for offset, size in zip(trie.offsets.tolist(), trie.code_sizes.tolist(), strict=True):
        column = tokens[start:end].astype(np.int64) - offset
        if not len(column) or column.min() < 0 or column.max() >= size:
            raise FileFormatError(f"{name}: a token is not one of its level; {remedy}")
        levels.append(column)
        if len(levels) == len(trie.offsets):
            break
        if end >= len(first):
            raise FileFormatError(f"{name}: its IDs are too short; {remedy}")
        parents.append(np.repeat(np.arange(end - start), np.diff(first[start : end + 1])))
        start, end = end, int(first[end])
    if start != len(first) - 1 or end != len(tokens):
        raise FileFormatError(f"{name}: its IDs are not all of {len(levels)} tokens; {remedy}")
    codes = np.empty((end - start, len(levels)), dtype=np.int32)
    place = np.arange(end - start)
    for level in reversed(range(len(levels))):
        codes[:, level] = levels[level][place]
        if level:
            place = parents[level - 1][place]
    return codes


def write_arrays(sids: SidMap, file: HashingFile, start: int) -> None:
    """The tree as arrays of a ``.npz``."""
    np.savez(file, **trie_of(sids.codes, sids.sizes, start)._asdict())


def read_arrays(path: Place) -> Found:
    """The IDs of a tree in a ``.npz``; nothing is unpickled.

    Raises
    ------
    FileFormatError
    """
    with (
        damage(f"{path}: not a readable tree of IDs"),
        open_regular(path) as whole,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            # Nothing that is packed, which could unfold to more than the memory.
            with zipfile.ZipFile(whole) as archive:
                packed = sum(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist())
            if packed:
                raise ValueError(f"{packed} of its arrays are compressed")
            whole.seek(0)
            with np.load(whole, allow_pickle=False) as file:
                arrays = [np.asarray(file[name]) for name in Trie._fields]
        except (zipfile.BadZipFile, zlib.error, SyntaxError, tokenize.TokenError) as error:
            raise ValueError(str(error)) from None
    if any(one.ndim != 1 or one.dtype.kind != "i" for one in arrays):
        raise FileFormatError(f"{path}: its arrays are not lists of integers; export the map again")
    trie = Trie(*arrays)
    return Found(tuples_of(trie, str(path)), None, trie.code_sizes.tolist())


def write_json(sids: SidMap, file: HashingFile, start: int) -> None:
    """The tree as one object: prefixes, their tokens between spaces, to the tokens that follow."""
    trie = trie_of(sids.codes, sids.sizes, start)
    head = {"offsets": trie.offsets.tolist(), "code_sizes": trie.code_sizes.tolist()}
    file.write(f'{{"trie": {json.dumps(head)}, "next": {{'.encode())
    for place, (prefix, tokens) in enumerate(_prefixes(trie)):
        entry = f"{', ' if place else ''}{json.dumps(prefix)}: {json.dumps(tokens)}"
        file.write(entry.encode())
    file.write(b"}}")


def _prefixes(trie: Trie) -> Iterator[tuple[str, list[int]]]:
    """Every prefix, and the tokens that follow it; the short ones first."""
    tokens, first = trie.tokens.tolist(), trie.first.tolist()
    prefixes = {0: ""}
    for node in range(len(first) - 1):
        prefix = prefixes.pop(node)
        children = tokens[first[node] : first[node + 1]]
        yield prefix, children
        for place, token in enumerate(children, first[node]):
            prefixes[place] = f"{prefix} {token}".lstrip()


def read_json(file: TextIO, path: Place) -> Found:
    """The IDs of a tree in one object.

    Raises
    ------
    FileFormatError
    """
    record = json_object(file.read(), str(path))
    head, following = field(record, "trie", str(path)), field(record, "next", str(path))
    if not isinstance(head, dict) or not isinstance(following, dict):
        raise FileFormatError(f"{path}: 'trie' and 'next' must be objects; export the map again")
    offsets, sizes = (
        matrix([field(head, name, str(path))], path)[0] for name in ("offsets", "code_sizes")
    )
    if len(offsets) != len(sizes):
        raise FileFormatError(f"{path}: {len(offsets)} offsets for {len(sizes)} code_sizes")
    rows = [
        [*map(int, prefix.split()), token]
        for prefix, tokens in _last_level(following, len(sizes), path)
        for token in tokens
    ]
    codes = matrix(rows, path) - offsets
    if ((codes < 0) | (codes >= sizes)).any():
        raise FileFormatError(f"{path}: a token is not one of its level; export the map again")
    return Found(codes, None, sizes.tolist())


def _last_level(
    following: dict[str, Any], levels: int, path: Place
) -> Iterator[tuple[str, list[int]]]:
    """The prefixes that lack one token, and what follows them; the others must lead there."""
    known = {""}
    for prefix, tokens in following.items():
        where = f"{path}, prefix {prefix!r}"
        if prefix not in known:
            raise FileFormatError(f"{where}: does not extend a shorter prefix")
        known.discard(prefix)
        if (
            not isinstance(tokens, list)
            or {type(one) for one in tokens} != {int}
            or len(set(tokens)) < len(tokens)
        ):
            raise FileFormatError(f"{where}: must have a list of distinct whole numbers")
        length = len(prefix.split()) + 1
        if length == levels:
            yield prefix, tokens
        else:
            known |= {f"{prefix} {token}".lstrip() for token in tokens}
    if known:
        raise FileFormatError(f"{path}: nothing follows the prefix {min(known)!r}")
