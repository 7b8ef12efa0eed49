"""New vectors, old tokens: fit again so that tokens keep their meaning."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.optimize

from dqindex._parameters import (
    callback,
    checked,
    number_at_least,
    one_of,
    or_none,
    thread_count,
    unbounded,
)
from dqindex._types import Float32, Float64, Int64, Progress, no_progress
from dqindex.errors import InputError
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer.blocks import scaled
from dqindex.quantizer.coarse import left_over
from dqindex.quantizer.codebooks import ProductCodebooks, train_codebooks
from dqindex.quantizer.joint import Atoms, train_jointly
from dqindex.quantizer.kmeans import train_kmeans
from dqindex.quantizer.model import DQModel
from dqindex.quantizer.nearest import nearest_in_pieces
from dqindex.quantizer.transform import DQTransform, learn_axes
from dqindex.sids.extract import encode, extract
from dqindex.sids.hold import hold_ids
from dqindex.sids.map import SidMap
from dqindex.sids.matching import in_one_type
from dqindex.sids.priority import read_priority
from dqindex.sids.unique import REASSIGNING, check_capacity, tokens_kept
from dqindex.vectors import VectorSource, open_vectors

# Of an item's distortion: see docs/methods.md.
WORTH = 0.05
# What rounding may change of a distortion: a share of it, and of the squares of the vectors.
ROUNDING, LEAST_ENERGY = 1e-4, 2.0**-20


class Churn(NamedTuple):
    """What changed for items that are in both maps.

    Attributes
    ----------
    items : float
        Share of items whose ID is another.
    tokens : float
        Share of tokens that are another.
    common : int
        Number of items in both maps.
    distortion : float
        Mean distortion of the new map.
    """

    items: float
    tokens: float
    common: int
    distortion: float


@checked(
    rotation=one_of("keep", "new"),
    worth=number_at_least(0),
    seed=unbounded(0),
    threads=thread_count(),
    progress=or_none(callback()),
)
def refit(
    sids: SidMap,
    vectors: Any,
    ids: Any = None,
    *,
    rotation: str = "keep",
    worth: float = WORTH,
    priority: Any = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[SidMap, Churn, Churn]:
    """Fit codebooks anew on `vectors`, from the old ones, and extract a map.

    Parameters
    ----------
    sids : SidMap
        The published map, with its model attached.
    vectors, ids
        The catalogue as it is now; items are matched by id.
    rotation : {"keep", "new"}
        Keep the transform of the old model, or fit it to the new vectors too.
    worth : float
        Change only what pays: an item keeps its ID unless the new one lowers its distortion by
        more than this share of it, and the whole model stays unless the map under a new one has
        a mean distortion that is lower by more than it. 0 changes whatever gains anything. Where
        no vector has changed, and no item came or went, nothing changes at all.
    priority, seed, threads, progress
        As in `semantic_ids`.

    Returns
    -------
    new : SidMap
        With its model.
    churn : Churn
        Of the new map against the old.
    fresh : Churn
        Of a fit from nothing on the same vectors, whose labels are unrelated.

    Raises
    ------
    InputError
        If no item is in both, the vectors do not fit the model, or the map went by a priority and
        none is given.
    """
    old = sids.need_model()
    report = progress or no_progress
    source = open_vectors(vectors, ids=ids)
    if source.d != old.n_features_in_:
        raise InputError(
            f"{source.name}: width {source.d}, but the model was fitted on {old.n_features_in_}"
        )
    common = _common(sids, source.ids, source.n, source.name)
    numbers = read_priority(priority, source)
    if sids.priority is not None and priority is None:
        raise InputError(
            f"{source.name}: the map was made with a priority; give the current priority of the "
            f"items (priority=, --priority)"
        )
    if sids.unique in REASSIGNING:
        check_capacity(source.n, old.code_sizes(), sids.cap)
    with thread_limit(threads):
        base = _base_of(sids, old, source, numbers, report)
        new = hold_ids(sids, base, common, source, worth=worth, report=report)
        sample = source.sample(old.training_rows(source.d), seed=seed)
        if not _unchanged(sids, base, new, common, scaled(sample, old.scale_)):
            model = _refit_model(old, sample, rotation)
            other = _base_of(sids, model, source, numbers, report)
            other = hold_ids(sids, other, common, source, worth=worth, report=report)
            if _mean(other) < (1 - worth) * _mean(new):
                new = other
        # The labels of a fit from nothing are unrelated: what churn is measured against.
        unaligned = DQModel(**{**old.get_params(), "seed": seed + 1}).fit(source)
        fresh = extract(
            source,
            unaligned,
            unique=sids.unique,
            cap=sids.cap,
            keep=sids.keep,
            priority=priority,
            report=report,
        )
    return new, churn(sids, new), churn(sids, fresh)


def _base_of(
    sids: SidMap,
    model: DQModel,
    source: VectorSource,
    priority: Float64 | None,
    report: Progress,
) -> SidMap:
    """Base tokens of the catalogue as it is now under `model`, of the code sizes of the map's."""
    sizes = model.code_sizes()
    codes, distortion = encode(source, model, None, report)
    made = replace(
        sids,
        codes=codes,
        base_codes=codes,
        distortion=distortion,
        sizes=sizes,
        ids=source.ids,
        fingerprint=model.fingerprint,
        priority=priority,
        model=model,
        duplicates=None,
    )
    if made.unique in REASSIGNING:
        made = replace(made, keep=tokens_kept(sids.keep, len(model.coarse_), sizes))
    return made


def _unchanged(
    sids: SidMap, base: SidMap, held: SidMap, common: tuple[Int64, Int64], sample: Float32
) -> bool:
    """Whether the catalogue is what it was: no item came, went, or has another vector.

    A map has no vectors. Under its model, vectors that are the same have the same base tokens, and
    are as far from the published ones as the map says, but for rounding.

    Parameters
    ----------
    sids : SidMap
        The published map.
    base, held : SidMap
        Of the catalogue as it is now, under the same model: base tokens, and with IDs that stay.
    common : pair of (m,) int64
        Rows of the items in both.
    sample : (n, d) float32
        Vectors, for the size of what rounding may change.
    """
    before, after = common
    if not len(before) == len(sids) == len(base):
        return False
    energy = float((sample.astype(np.float64) ** 2).sum(axis=1).mean())
    return (
        np.array_equal(base.base_codes[after], sids.base_codes[before])
        and np.array_equal(held.codes[after], sids.codes[before])
        and np.allclose(
            held.distortion[after],
            sids.distortion[before],
            rtol=ROUNDING,
            atol=energy * LEAST_ENERGY,
        )
    )


def _mean(sids: SidMap) -> float:
    """Distortion of an item."""
    return float(sids.distortion.mean(dtype=np.float64))


def churn(old: SidMap, new: SidMap) -> Churn:
    """What changed from one map to another, over items that are in both."""
    before, after = _common(old, new.ids, len(new), "the new map")
    width = min(old.codes.shape[1], new.codes.shape[1])
    changed = old.codes[before][:, :width] != new.codes[after][:, :width]
    return Churn(
        float(changed.any(axis=1).mean()),
        float(changed.mean()),
        len(before),
        _mean(new),
    )


def _common(
    sids: SidMap, ids: pa.Array | None, n: int, name: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of the items in both: in the old map, and in the new one."""
    if (sids.ids is None) != (ids is None):
        raise InputError(f"{name}: one of the map and the vectors has ids, the other has none")
    if ids is None or sids.ids is None:
        rows = np.arange(min(len(sids), n))
        return rows, rows
    wanted, known = in_one_type(ids, sids.ids, name)
    found = pc.index_in(wanted, value_set=known)
    after = np.flatnonzero(pc.is_valid(found).to_numpy(zero_copy_only=False))
    if not len(after):
        raise InputError(f"{name}: no item of the map is among the vectors; check the ids")
    return found.drop_null().to_numpy().astype(np.int64), after


def _refit_model(old: DQModel, sample: Float32, rotation: str) -> DQModel:
    """A model of `sample` whose tokens mean what those of `old` mean."""
    refitted = _refit_together if old.coarse_ and old.polish else _refit_in_turn
    transform, codebooks, coarse = refitted(old, sample, rotation)
    settings: dict[str, Any] = {"polish": old.polish, "beam": old.beam}
    if old.scale_ is not None:
        edges = np.cumsum([0, *old.block_widths])
        settings["block_widths"] = old.block_widths
        settings["block_scale"] = old.scale_[edges[:-1]].tolist()
    return DQModel.from_parts(transform, codebooks, coarse, **settings)


def _refit_together(
    old: DQModel, sample: Float32, rotation: str
) -> tuple[DQTransform, ProductCodebooks, list[Float32]]:
    """Rounds of joint training from the old: each moves all atoms a little, none its label."""
    tokens = old.encode(sample)
    sample = scaled(sample, old.scale_)
    residual = left_over(sample, old.coarse_, tokens)
    transform, start = _rotated(old, residual, rotation)
    atoms = train_jointly(
        sample, transform, Atoms(old.coarse_, start), rounds=old.polish, width=old.joint_width()
    )
    codebooks = copy.copy(old.codebooks_)
    codebooks.codebooks_ = atoms.codebooks
    return transform, codebooks, atoms.coarse


def _refit_in_turn(
    old: DQModel, sample: Float32, rotation: str
) -> tuple[DQTransform, ProductCodebooks, list[Float32]]:
    """Coarse levels, then codebooks, started from the old, and labels matched to the old."""
    sample = scaled(sample, old.scale_)
    coarse: list[Float32] = []
    for published in old.coarse_:
        centroids, _ = train_kmeans(
            sample,
            len(published),
            n_iter=old.n_iter,
            start=published,
            max_share=old.max_share,
        )
        centroids = centroids[matched_labels(published, centroids)]
        coarse.append(centroids)
        sample = sample - centroids[nearest_in_pieces(sample, centroids)[0]]
    transform, start = _rotated(old, sample, rotation)
    projected = transform.projected(sample)
    codebooks = train_codebooks(
        ProductCodebooks(**old.codebooks_.get_params()), projected, start=start
    )
    books = []
    for level, book in enumerate(codebooks.codebooks_):
        before = _embedded(old.transform_, old.codebooks_.codebooks_[level], level)
        after = _embedded(transform, book, level)
        books.append(book[matched_labels(before, after)])
    codebooks.codebooks_ = books
    return transform, codebooks, coarse


def _rotated(old: DQModel, residual: Float32, rotation: str) -> tuple[DQTransform, list[Float32]]:
    """The old rotation or a new one, and the old codewords as they stand in it."""
    books = old.codebooks_.codebooks_
    if rotation == "keep":
        return old.transform_, books
    transform = learn_axes(DQTransform(**old.transform_.get_params()), residual)
    moved = [_in_space(transform, book, level, old.transform_) for level, book in enumerate(books)]
    return transform, moved


def matched_labels(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """For each old codeword the new one that takes its label, at the least total distance."""
    a, b = before.astype(np.float64), after.astype(np.float64)
    cost = (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)
    return np.asarray(scipy.optimize.linear_sum_assignment(cost)[1])


def _embedded(transform: DQTransform, book: Float32, level: int) -> Float64:
    """Codewords of one subspace in the original space, so that rotations can differ."""
    size = book.shape[1]
    axes = transform.components_[level * size : (level + 1) * size]
    return np.asarray(book.astype(np.float64) @ axes)


def _in_space(transform: DQTransform, book: Float32, level: int, old: DQTransform) -> Float32:
    """Old codewords as seen in the same subspace of a new rotation."""
    size = book.shape[1]
    axes = transform.components_[level * size : (level + 1) * size]
    return (_embedded(old, book, level) @ axes.T).astype(np.float32)
