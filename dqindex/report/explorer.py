"""A map of semantic IDs, packed for the page: names, tokens, true neighbours."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dqindex.errors import InputError
from dqindex.evaluation import exact_neighbors, without_self
from dqindex.quantizer.encoding import code_dtype
from dqindex.sids.semantic_ids import SemanticIds
from dqindex.vectors import VectorSource

MOST_ITEMS = 1_000_000
NEIGHBORS = 10
# Multiplications that exact neighbours may cost: some tens of seconds.
MOST_WORK = 2 * 10**12


def pack(
    sids: SemanticIds, titles: pa.Array | None = None, source: VectorSource | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Facts about a map, and its arrays as gzip in base64.

    Parameters
    ----------
    sids : SemanticIds
    titles : pyarrow.Array of n strings, optional
        What to call the items; their ids otherwise.
    source : VectorSource, optional
        The items' vectors in the map's order, for their true neighbours.

    Raises
    ------
    InputError
        If titles or vectors are not as many as the items.
    """
    total = len(sids)
    for what, size in (("titles", titles), ("vectors", source)):
        count = None if size is None else size.n if isinstance(size, VectorSource) else len(size)
        if count is not None and count != total:
            raise InputError(
                f"{count:,} {what} for a map of {total:,} items; give those of the same items in "
                "the same order"
            )
    n = min(total, MOST_ITEMS)
    left_out = []
    if n < total:
        left_out.append(f"The explorer holds the first {n:,} of {total:,} items.")
    codes = sids.codes[:n]
    kind = code_dtype(int(codes.max()) + 1)
    names = sids.item_ids if titles is None else titles
    blobs = {
        # A level after the other, so that the page scans whole columns.
        "tokens": _blob(codes.T.astype(kind)),
        "names": _text([" ".join(str(name).split()) for name in names[:n].to_pylist()]),
    }
    if titles is not None:
        blobs["ids"] = _text([str(one) for one in sids.item_ids[:n].to_pylist()])
    known = 0
    if source is not None and n > 1:
        known = int(min(n, max(1, MOST_WORK // (n * source.d))))
        blobs["neighbors"] = _blob(_neighbors(source, n, known))
        if known < n:
            left_out.append(
                f"True neighbours are there for the first {known:,} items; for all {n:,} they "
                "would take too long."
            )
    elif source is None:
        left_out.append("True neighbours need the vectors: --vectors.")
    figures = sids.evaluate()
    levels = figures["after"]["levels"]
    return {
        "items": n,
        "total": total,
        "levels": int(codes.shape[1]),
        "width": kind.itemsize,
        "sizes": sids.sizes,
        "known": known,
        "neighbors": min(NEIGHBORS, n - 1),
        "left_out": left_out,
        "unique_share": figures["after"]["unique_share"],
        "unique_before": figures.get("before", {}).get("unique_share"),
        "level_figures": levels,
    }, blobs


def counts(sids: SemanticIds) -> list[list[int]]:
    """Items at every code of every level."""
    return [
        np.bincount(column, minlength=size).tolist()
        for column, size in zip(sids.codes.T, sids.sizes, strict=True)
    ]


def _neighbors(source: VectorSource, n: int, known: int) -> npt.NDArray[np.uint32]:
    """Nearest items of the first `known`, without themselves, among the first `n`."""
    vectors = source.rows(np.arange(n))
    k = min(NEIGHBORS, n - 1)
    found, _ = exact_neighbors(vectors, vectors[:known], k + 1)
    return without_self(found, np.arange(known)).astype("<u4")


def _text(lines: list[str]) -> str:
    return _pack("\n".join(lines).encode())


def _blob(array: npt.NDArray[Any]) -> str:
    little = array.astype(array.dtype.newbyteorder("<"))
    return _pack(np.ascontiguousarray(little).tobytes())


def _pack(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()
