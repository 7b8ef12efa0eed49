"""Vectors in, a map of unique semantic IDs out; and new items under a model that stays."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dqindex.codebooks import code_dtype
from dqindex.errors import InputError
from dqindex.model import DQModel
from dqindex.sids.map import SemanticIds
from dqindex.sids.tuples import Int64, Tokens, TupleSet
from dqindex.sids.unique import (
    MODES,
    canonical_order,
    check_capacity,
    contenders,
    reassign,
    suffixes,
)
from dqindex.threads import thread_limit
from dqindex.vectors import VectorSource, open_vectors
from dqindex.vectors.convert import Float32

Progress = Callable[[str, int, int], None]
# Vectors of contenders beyond this many bytes wait in a temporary file, not in memory.
IN_MEMORY_BYTES = 512 * 2**20


def semantic_ids(
    vectors: Any,
    ids: Any = None,
    *,
    n_subspaces: int = 8,
    n_codewords: int | list[int] = 256,
    coarse: Sequence[int] = (),
    model: DQModel | None = None,
    unique: str = "reassign",
    cap: int = 1,
    balance: str = "variance",
    seed: int = 0,
    threads: int | None = None,
    block_rows: int | None = None,
    progress: Progress | None = None,
) -> SemanticIds:
    """Semantic IDs of a catalogue.

    Parameters
    ----------
    vectors : array (n, d), path, or VectorSource
        Read in blocks; memory is bounded by the block, the codes, and 512 MiB for vectors whose
        IDs collide.
    ids : array-like of n integers or strings, optional
        The catalogue's ids; by default those of the source, else the rows.
    n_subspaces, n_codewords, coarse, balance, seed
        Of the model that is fitted: see `DQModel`.
    model : DQModel, optional
        A fitted model to use instead.
    unique : {"reassign", "none", "suffix", "cap"}
        What happens to items with the same tokens. ``reassign``: the item nearest to its codewords
        keeps them, each other gets the free tuple of the least distortion. ``suffix``: a last
        token counts within the group (Rajput et al., "Recommender Systems with Generative
        Retrieval", 2023). ``cap``: as ``reassign``, but `cap` items may share a tuple.
    cap : int
        For ``cap``.
    threads, block_rows
        All CPUs, and blocks of 64 MiB, by default.
    progress : callable, optional
        Called with (what, done, total).

    Returns
    -------
    SemanticIds

    Raises
    ------
    InputError
        If there are more items than tuples, ids are not distinct, or a setting is unknown: before
        anything is trained.
    NonFiniteError
        If a vector is not finite: likewise.

    Examples
    --------
    >>> import numpy as np
    >>> Z = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    >>> sids = semantic_ids(Z, n_subspaces=4, n_codewords=16)
    >>> sids.codes.shape, sids.unique_share()
    ((3000, 4), 1.0)
    """
    source = open_vectors(vectors, ids=ids)
    report = progress or (lambda what, done, total: None)
    check_mode(unique, cap)
    with thread_limit(threads):
        wanted = model or DQModel(
            n_subspaces, n_codewords, coarse=tuple(coarse), balance=balance, seed=seed
        )
        sizes = [*wanted.coarse, *wanted.codebook_sizes()]
        if unique in ("reassign", "cap"):
            check_capacity(source.n, sizes, cap)
        _ = source.ids  # duplicates are found now, not after the training
        if model is None:
            done = 0
            for block in source.blocks(block_rows):
                done += len(block)
                report("check", done, source.n)
            trained = 0

            def step(levels: int) -> None:
                nonlocal trained
                trained += levels
                report("train", trained, len(sizes))

            wanted.fit(source, progress=step)
        codes, distortion = encode(source, wanted, block_rows, report)
        made = SemanticIds(
            codes, codes, distortion, sizes, source.ids, wanted.fingerprint, unique, cap, wanted
        )
        return resolve(made, source, report=report)


def check_mode(unique: str, cap: int) -> None:
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
    made: SemanticIds,
    source: VectorSource,
    *,
    taken: Tokens | None = None,
    report: Progress,
) -> SemanticIds:
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
    order = canonical_order(distances, made.ids, rows)
    total, done = len(rows), 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        report("resolve collisions", done, total)

    codes, moved, moved_distortion = reassign(
        base, known, rows, order, fetch, model, cap=made.cap, progress=step
    )
    distortion = made.distortion.copy()
    distortion[moved] = moved_distortion
    return replace(made, codes=codes, distortion=distortion)


def _gather(
    source: VectorSource, rows: Int64, made: SemanticIds, report: Progress
) -> tuple[Callable[[Int64], Float32], npt.NDArray[np.float64]]:
    """A function that gives the vectors of contenders, and the distortion of each.

    One pass over the source. The distortions are computed anew, row by row, so that they do not
    depend on the place of an item in the file.
    """
    vectors: Float32
    if len(rows) * source.d * 4 <= IN_MEMORY_BYTES:
        vectors = np.empty((len(rows), source.d), dtype=np.float32)
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the mapping)
        vectors = np.memmap(file, dtype=np.float32, mode="w+", shape=(len(rows), source.d))
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
    grain = np.maximum(np.exp2(np.ceil(np.log2(np.maximum(energy, 1e-300)))) * 2.0**-22, 1e-300)
    return np.asarray(np.round(exact / grain) * grain)
