"""The vectors inside a FAISS index: left out, or put in other places; their codes stay the same.

FAISS removes and merges for some kinds of index, and moves vectors within their lists as it does.
Here an index is always rewritten to what it would be had the vectors that it now holds been added
in their order: lists ascend, numbers of rows have no gaps, and what was removed is gone from memory
and from files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

from dqindex._types import Int64
from dqindex.errors import SpecError
from dqindex.index.anatomy import dissect
from dqindex.index.codes import (
    append_flat,
    append_list,
    flat_codes,
    list_codes,
    list_ids,
    lists_of,
    set_flat_codes,
    write_list,
)

# FAISS draws the levels of a new graph's nodes from this seed.
GRAPH_SEED = 12345
# Kinds whose codes cannot be taken out and put back: levels of vectors lie apart; what is held
# twice stands in a map.
FIXED = (faiss.IndexIVFFlatPanorama, faiss.IndexIVFFlatDedup)


def compose(index: Any, places: Int64, total: int) -> None:
    """Put each row of `index` at its new place, -1 to leave it out; they fill 0 … total - 1.

    Raises
    ------
    SpecError
        If FAISS gives no way to take the codes of such an index apart.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        compose(index.index, places, total)
    elif isinstance(index, faiss.IndexRefine):
        compose(index.base_index, places, total)
        compose(index.refine_index, places, total)
    elif hasattr(index, "hnsw"):
        _compose_graph(index, places, total)
    elif isinstance(index, faiss.IndexIVF):
        _compose_lists(index, places, total)
    else:
        set_flat_codes(index, _composed(flat_codes(index), places, total))
    index.ntotal = total


def append(index: Any, other: Any, rows_of: Callable[[Int64], Int64]) -> None:
    """Put the vectors of `other`, of the same training, at the end of `index`.

    The lists of `index` hold rows; those of `other` what `rows_of` makes rows.
    """
    index, other = faiss.downcast_index(index), faiss.downcast_index(other)
    total = int(index.ntotal + other.ntotal)
    if isinstance(index, faiss.IndexPreTransform):
        append(index.index, other.index, rows_of)
    elif isinstance(index, faiss.IndexRefine):
        append(index.base_index, other.base_index, rows_of)
        append(index.refine_index, other.refine_index, rows_of)
    elif hasattr(index, "hnsw"):
        if other.ntotal:
            _grow_graph(index, flat_codes(faiss.downcast_index(other.storage)))
    elif isinstance(index, faiss.IndexIVF):
        index.set_direct_map_type(faiss.DirectMap.NoMap)
        lists, first = lists_of(other), int(index.ntotal)
        for number in range(index.nlist):
            rows = rows_of(list_ids(lists, number))
            append_list(index, number, rows + first, list_codes(other, number))
        if isinstance(index, faiss.IndexIVFPQR):
            _set_second_codes(index, np.concatenate([_second_codes(index), _second_codes(other)]))
    else:
        append_flat(index, flat_codes(other))
    index.ntotal = total


def empty_out(index: Any) -> None:
    """Remove all vectors; the training stays."""
    index.reset()
    core = dissect(index).core
    if hasattr(core, "hnsw"):
        core.hnsw.rng = faiss.RandomGenerator(GRAPH_SEED)


def check_composable(index: Any, spec: str) -> None:
    """Refuse an index that `compose` cannot rewrite, before anything is done.

    Raises
    ------
    SpecError
    """
    for one in leaves(index):
        known = isinstance(one, faiss.IndexIVF | faiss.IndexFlatCodes | faiss.IndexFastScan)
        if not known or isinstance(one, FIXED):
            raise SpecError(
                f"spec {spec!r}: vectors cannot be removed or replaced, nor indexes merged, as "
                f"FAISS can't return the codes of its {type(one).__name__}; build the index again"
            )


def check_lookable(index: Any, spec: str, what: str) -> None:
    """Refuse an index in which FAISS does not say where each vector is.

    Raises
    ------
    SpecError
    """
    if any(isinstance(one, faiss.IndexIVFFlatDedup) for one in leaves(index)):
        raise SpecError(
            f"spec {spec!r}: FlatDedup has no {what}, as it holds equal vectors once and FAISS "
            f"does not tell them apart; use Flat"
        )


def leaves(index: Any) -> list[Any]:
    """The indexes that hold codes: behind transforms, below refinements and graphs."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return leaves(index.index)
    if isinstance(index, faiss.IndexRefine):
        return leaves(index.base_index) + leaves(index.refine_index)
    if hasattr(index, "hnsw"):
        return leaves(index.storage)
    return [index]


def _composed(codes: Any, places: Int64, total: int) -> Any:
    out = np.empty((total, codes.shape[1]), dtype=np.uint8)
    # Where an addition failed half-way, fewer codes are there than were to come.
    places = places[: len(codes)]
    stays = places >= 0
    out[places[stays]] = codes[stays]
    return out


def _compose_lists(index: Any, places: Int64, total: int) -> None:
    # A map from ids to places that FAISS was asked for would no longer be true.
    index.set_direct_map_type(faiss.DirectMap.NoMap)
    lists = lists_of(index)
    for number in range(index.nlist):
        ids = places[list_ids(lists, number)]
        stays = ids >= 0
        ordered = (ids[1:] > ids[:-1]).all()
        if ordered and stays.all():
            list_ids(lists, number)[:] = ids
            continue
        order = np.argsort(ids[stays], kind="stable")
        codes = np.array(list_codes(index, number)[stays][order])
        write_list(index, number, ids[stays][order], codes)
    if isinstance(index, faiss.IndexIVFPQR):
        _set_second_codes(index, _composed(_second_codes(index), places, total))


def _second_codes(index: Any) -> Any:
    """The second codes of an IVF-PQR, by row."""
    return faiss.vector_to_array(index.refine_codes).reshape(-1, index.refine_pq.code_size)


def _set_second_codes(index: Any, codes: Any) -> None:
    faiss.copy_array_to_vector(np.ascontiguousarray(codes).ravel(), index.refine_codes)


def _compose_graph(index: Any, places: Int64, total: int) -> None:
    """A graph has no way to lose a node: it is made anew."""
    codes = _composed(flat_codes(faiss.downcast_index(index.storage)), places, total)
    index.reset()
    index.hnsw.rng = faiss.RandomGenerator(GRAPH_SEED)
    if total:
        _grow_graph(index, codes)


def _grow_graph(index: Any, codes: Any) -> None:
    """Add nodes to a graph, over what their codes decode to."""
    storage = faiss.downcast_index(index.storage)
    first = int(storage.ntotal)
    append_flat(storage, codes)
    decoded = storage.reconstruct_n(first, len(codes))
    held = flat_codes(storage)
    set_flat_codes(storage, held[:first])
    index.add(decoded)
    # To encode what was decoded may choose another of two equal codewords.
    set_flat_codes(storage, held)
