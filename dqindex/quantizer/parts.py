"""The fitted parts of a model: what it learns, codes by, and stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dqindex._types import Float32, Float64, Matrix, Progress
from dqindex.quantizer.coarse import train_in_turn
from dqindex.quantizer.codebooks import ProductCodebooks, train_codebooks
from dqindex.quantizer.equals import first_equals
from dqindex.quantizer.joint import Atoms, beam_codes, train_jointly
from dqindex.quantizer.polish import polish
from dqindex.quantizer.transform import DQTransform, learn_axes
from dqindex.storage.tensors import Tensors


class Parts(NamedTuple):
    """Coarse levels, (K, d) float32 each, and a DQ of what they leave over.

    All are of vectors whose columns are multiplied by `scale`, (d,), unless that is None.
    """

    transform: DQTransform
    codebooks: ProductCodebooks
    coarse: list[Float32]
    scale: Float64 | None = None

    def code_sizes(self) -> list[int]:
        """Number of codes of every token: coarse levels, then subspaces."""
        return [len(level) for level in [*self.coarse, *self.codebooks.codebooks_]]

    def tensors(self) -> Tensors:
        """All that was learned, by the names that a model's file has for it."""
        transform = self.transform
        tensors: Tensors = {
            "mean": transform.mean_,
            "components": transform.components_,
            "variances": transform.variances_,
            "groups": np.repeat(
                np.arange(transform.n_subspaces, dtype=np.int32),
                len(transform.components_) // transform.n_subspaces,
            ),
            "unused_codewords": self.codebooks.unused_codewords_,
        }
        if self.scale is not None:
            tensors["scale"] = self.scale
        for level, centroids in enumerate(self.coarse):
            tensors[f"coarse.{level}"] = centroids
        for level, codebook in enumerate(self.codebooks.codebooks_):
            tensors[f"codebook.{level}"] = codebook
        return tensors


def learn_parts(
    rows: Float32,
    transform: DQTransform,
    codebooks: ProductCodebooks,
    coarse: Sequence[int],
    *,
    rounds: int,
    width: int,
    report: Progress,
) -> Parts:
    """Fit the parts one after another, then in `rounds` together.

    Parameters
    ----------
    rows : (n, d) float32
        That were checked.
    transform, codebooks
        Unfitted, with their settings.
    coarse : sequence of ints
        Sizes of the coarse levels.
    rounds : int
        Of joint training, at most; see `DQModel`.
    width : int
        Of its beam.
    """
    tokens = len(coarse) + codebooks.n_subspaces
    levels, residual = train_in_turn(rows, coarse, codebooks, report)
    # What coarse levels leave over may be of any size: the vectors themselves were checked.
    transform = learn_axes(transform, residual)
    projected = _projected(transform, residual, max(codebooks.sizes()))
    codebooks = train_codebooks(
        codebooks,
        projected,
        even=bool(levels),
        progress=lambda what, done, _: report(what, len(coarse) + done, tokens),
    )
    parts = Parts(transform, codebooks, levels)
    if not rounds:
        return parts
    if levels:
        return _trained_jointly(rows, parts, rounds, width, report)
    return _polished(rows, parts, rounds)


def _projected(transform: DQTransform, rows: Float32, codewords: int) -> Matrix:
    """Projections of `rows`; of few distinct ones, equal to the last digit where rows are.

    A matrix product may give equal rows other last digits, which would be codewords of their own
    where there are more of these than rows.
    """
    for part in (rows[: 4 * codewords], rows):
        firsts = first_equals(part)
        kept, inverse = np.unique(firsts, return_inverse=True)
        if len(kept) > codewords:
            return transform.projected(rows)
    distinct: Matrix = transform.projected(np.ascontiguousarray(rows[kept]))
    return distinct[inverse]


def _polished(rows: Float32, parts: Parts, rounds: int) -> Parts:
    books = parts.codebooks
    found = polish(parts.transform, rows, books.sizes(), rounds=rounds, seed=books.seed)
    projected: Matrix = found.transform.projected(rows)
    return Parts(
        found.transform, train_codebooks(books, projected, start=found.codebooks), parts.coarse
    )


def _trained_jointly(
    rows: Float32, parts: Parts, rounds: int, width: int, report: Progress
) -> Parts:
    transform, books, levels, _ = parts
    atoms = train_jointly(
        rows,
        transform,
        Atoms(levels, books.codebooks_),
        rounds=rounds,
        width=width,
        progress=report,
    )
    books.codebooks_ = atoms.codebooks
    tokens = beam_codes(rows, transform, atoms, width)[:, len(levels) :]
    books.unused_codewords_ = np.array(
        [
            len(book) - len(np.unique(column))
            for book, column in zip(books.codebooks_, tokens.T, strict=True)
        ],
        dtype=np.int64,
    )
    return Parts(transform, books, atoms.coarse)
