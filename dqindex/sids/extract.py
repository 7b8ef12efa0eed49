"""Vectors in, a map of unique semantic IDs out; and new items under a model that stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from dqindex._types import Float32, Int64, Progress, Tokens
from dqindex.errors import InputError
from dqindex.quantizer.encoding import code_dtype
from dqindex.quantizer.model import DQModel
from dqindex.sids.map import SidMap
from dqindex.sids.tuples import TupleSet
from dqindex.sids.unique import (
    MODES,
    REASSIGNING,
    canonical_order,
    check_capacity,
    contenders,
    reassign,
    suffixes,
    tokens_kept,
    tokens_kept_before,
)
from dqindex.storage.scratch import scratch_matrix
from dqindex.vectors import VectorSource

AnyMap = TypeVar("AnyMap", bound=SidMap)
# Vectors of contenders beyond this many bytes wait in a temporary file, not in memory.
IN_MEMORY_BYTES = 512 * 2**20


def extract(
    source: VectorSource,
    model: DQModel,
    *,
    unique: str = "reassign",
    cap: int = 1,
    keep: int | None = None,
    block_rows: int | None = None,
    report: Progress,
) -> SidMap:
    """The map of `source` under `model`, which is fitted here if it is not yet.

    All that can be refused is refused before anything is trained.

    Raises
    ------
    InputError, NonFiniteError
        As `dqindex.semantic_ids` says.
    """
    check_mode(unique, cap, keep)
    sizes = [*model.coarse, *model.codebook_sizes()]
    if unique in REASSIGNING:
        check_capacity(source.n, sizes, cap)
        keep = tokens_kept(keep, len(model.coarse), sizes)
    _ = source.ids  # duplicates are found now, not after the training
    if not model.__sklearn_is_fitted__():
        source.check(block_rows, report)
        model.fit(source, progress=report)
    codes, distortion = encode(source, model, block_rows, report)
    made = SidMap(
        codes,
        codes,
        distortion,
        sizes,
        source.ids,
        model.fingerprint,
        unique=unique,
        cap=cap,
        keep=keep,
        model=model,
    )
    return resolve(made, source, report=report)


def check_mode(unique: str, cap: int, keep: int | None) -> None:
    """Refuse an unknown way to resolve collisions.

    Raises
    ------
    InputError
    """
    if unique not in MODES:
        raise InputError(f"unique is {unique!r}; use one of {', '.join(MODES)}")
    if cap < 1:
        raise InputError(f"cap is {cap}; at least one item must have an ID")
    if cap != 1 and unique != "cap":
        raise InputError(f"cap is {cap}, but unique is {unique!r}; use unique='cap'")
    if keep is not None and unique not in REASSIGNING:
        raise InputError(
            f"keep is {keep}, but unique is {unique!r}, which changes no token; leave it out"
        )


def encode(
    source: VectorSource,
    model: DQModel,
    block_rows: int | None,
    report: Progress,
) -> tuple[Tokens, npt.NDArray[np.float32]]:
    """Base tokens (n, T), and their distortion."""
    sizes = model.code_sizes()
    codes = np.empty((source.n, len(sizes)), dtype=code_dtype(max(sizes)))
    distortion = np.empty(source.n, dtype=np.float32)
    start = 0
    for part, errors in model.encode_blocks(source.blocks(block_rows), distortion=True):
        stop = start + len(part)
        codes[start:stop], distortion[start:stop] = part, errors
        start = stop
        report("encode", start, source.n)
    return codes, distortion


def resolve(
    made: AnyMap,
    source: VectorSource,
    *,
    taken: Tokens | None = None,
    report: Progress,
) -> AnyMap:
    """Apply ``made.unique`` to the base tokens; `taken` are the base or published tuples before."""
    if made.unique == "none":
        return made
    model = made.need_model()
    base, sizes = made.base_codes, model.code_sizes()
    known = TupleSet(base if taken is None else np.concatenate([taken, base]), sizes)
    if made.unique == "suffix":
        order = canonical_order(made.distortion, made.ids, np.arange(len(base)))
        last = suffixes(known, order)
        sizes = [*sizes, int(last.max()) + 1]
        kind = code_dtype(max(sizes))
        codes = np.concatenate([base.astype(kind), last[:, None].astype(kind)], axis=1)
        return replace(made, codes=codes, sizes=sizes)
    rows = contenders(known, len(base), made.cap)
    if not len(rows):
        return made
    fetch, distances = _gather(source, rows, made, report)
    keep = made.keep
    if keep is None:  # A map of an earlier version goes on as it was.
        keep = tokens_kept_before(len(model.coarse_), sizes)
    order = canonical_order(distances, made.ids, rows)
    codes, moved, moved_distortion = reassign(
        base, known, rows, order, fetch, model, cap=made.cap, keep=keep, progress=report
    )
    distortion = made.distortion.copy()
    distortion[moved] = moved_distortion
    return replace(made, codes=codes, distortion=distortion)


def _gather(
    source: VectorSource, rows: Int64, made: SidMap, report: Progress
) -> tuple[Callable[[Int64], Float32], npt.NDArray[np.float64]]:
    """A function that gives the vectors of contenders, and the distortion of each.

    One pass over the source. The distortions are computed anew, row by row, so that they do not
    depend on the place of an item in the file.
    """
    vectors: Float32
    if len(rows) * source.d * 4 <= IN_MEMORY_BYTES:
        vectors = np.empty((len(rows), source.d), dtype=np.float32)
    else:
        vectors = scratch_matrix(len(rows), source.d)
    distances = np.empty(len(rows))
    model = made.need_model()
    start = 0
    for block in source.blocks():
        begin, end = np.searchsorted(rows, (start, start + len(block)))
        if end > begin:
            own = block[rows[begin:end] - start]
            vectors[begin:end] = own
            distances[begin:end] = _row_distortion(own, made.base_codes[rows[begin:end]], model)
        start += len(block)
        report("gather collisions", start, source.n)
    return lambda wanted: np.asarray(vectors[np.searchsorted(rows, wanted)]), distances


def _row_distortion(vectors: Float32, codes: Tokens, model: DQModel) -> npt.NDArray[np.float64]:
    """‖ẑ - z‖² to eight digits: what a sum's order leaves uncertain is rounded away."""
    error = model.decode(codes).astype(np.float64) - vectors
    exact = (error**2).sum(axis=1)
    energy = (vectors.astype(np.float64) ** 2).sum(axis=1)
    # Decoding rounds to float32, relative to |z|.
    grain = np.exp2(np.ceil(np.log2(np.where(energy > 0, energy, 1.0)))) * 2.0**-22
    return np.asarray(np.where(energy > 0, np.round(exact / grain) * grain, exact))
