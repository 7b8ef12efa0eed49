"""Coarse levels and codebooks, trained together.

Residual k-means fits each level to what those before leave over, and never looks back. Here two
steps take turns: codes by beam search, then all atoms at once by least squares (Babenko and
Lempitsky, CVPR 2014; Martinez et al., "Revisiting Additive Quantization", ECCV 2016). The normal
matrix has one row an atom, so that the number of vectors enters through counts alone. Codewords
stay in their subspaces: in each, the coarse levels' part and its codebook are solved for together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse

from dqindex._types import Float32, Float64, Int64, Matrix, Progress, no_progress
from dqindex.parallel.pieces import pieces
from dqindex.parallel.threads import parallel_map, single_blas_thread
from dqindex.quantizer.beam import BeamSearch
from dqindex.quantizer.coarse import left_over
from dqindex.quantizer.transform import DQTransform

# Weight of the atoms as they are, in rows an atom: it decides what the codes leave open (what one
# level adds, another can take away; and atoms that no row uses).
INERTIA = 1e-3
# A round that gains less than this share of the distortion is the last.
LEAST_GAIN = 1e-3


class Atoms(NamedTuple):
    """Coarse levels, R arrays (K_t, d), and codebooks, L arrays (K_l, dsub)."""

    coarse: list[Float32]
    codebooks: list[Float32]


def train_jointly(
    X: Float32,
    transform: DQTransform,
    start: Atoms,
    *,
    rounds: int,
    width: int,
    progress: Progress | None = None,
) -> Atoms:
    """Lower the distortion of a model with coarse levels, from atoms that are trained already.

    Parameters
    ----------
    X : (n, d) float32
    transform : DQTransform
        Of what the coarse levels leave over; it stays.
    start : Atoms
        With at least one coarse level.
    rounds : int
        Of beam search and least squares, at most; fewer once they gain little.
    width : int
        Of the beam.
    progress : callable, optional
        Called with ("polish", rounds done, rounds).
    """
    report = progress or no_progress
    atoms, before = start, np.inf
    for done in range(rounds):
        codes = beam_codes(X, transform, atoms, width)
        atoms, distortion = _fitted(X, transform, atoms, codes)
        report("polish", done + 1, rounds)
        if before - distortion < LEAST_GAIN * distortion:
            break
        before = distortion
    return atoms


def beam_codes(X: Float32, transform: DQTransform, atoms: Atoms, width: int) -> Int64:
    """Tokens of all rows, (n, R + L), on all threads."""
    search = BeamSearch(atoms.coarse, transform, atoms.codebooks, width)
    parts = parallel_map(search, (X[part] for part in pieces(len(X), X.shape[1])))
    return np.concatenate(list(parts))


def _fitted(X: Float32, transform: DQTransform, atoms: Atoms, codes: Int64) -> tuple[Atoms, float]:
    """The atoms of least distortion for given codes, and the distortion before, a row."""
    levels = len(atoms.coarse)
    error = _error(X, transform, atoms, codes)
    axes = transform.components_
    coarse = [level.astype(np.float64) for level in atoms.coarse]
    codebooks = []
    with single_blas_thread():
        for place, book in enumerate(atoms.codebooks):
            columns = slice(place * book.shape[1], (place + 1) * book.shape[1])
            part = axes[columns]
            used = [*range(levels), levels + place]
            moves = _moves(codes[:, used], [*map(len, coarse), len(book)], error @ part.T)
            for level, move in zip(coarse, moves, strict=False):
                level += move @ part
            codebooks.append((book + moves[-1]).astype(np.float32))
        if transform.dropped_:
            # No codeword reaches there: coarse levels alone.
            outside = error - (error @ axes.T) @ axes
            moves = _moves(codes[:, :levels], [*map(len, coarse)], outside)
            for level, move in zip(coarse, moves, strict=True):
                level += move
    distortion = float(np.einsum("ij,ij->", error, error)) / len(X)
    return Atoms([level.astype(np.float32) for level in coarse], codebooks), distortion


def _error(X: Float32, transform: DQTransform, atoms: Atoms, codes: Int64) -> Matrix:
    """What the reconstructions leave over, (n, d)."""
    error = left_over(X.astype(np.float64) - transform.mean_, atoms.coarse, codes)
    for place, book in enumerate(atoms.codebooks):
        columns = slice(place * book.shape[1], (place + 1) * book.shape[1])
        turned = book @ transform.components_[columns]
        error -= turned[codes[:, len(atoms.coarse) + place]]
    return error


def _moves(codes: Int64, sizes: Sequence[int], error: Float64) -> list[Float64]:
    """How far the atoms of each level go, to lower the squares of `error` most."""
    n, levels = codes.shape
    edges = np.cumsum([0, *sizes])
    chosen = scipy.sparse.csr_array(
        (np.ones(n * levels), (codes + edges[:-1]).ravel(), np.arange(0, n * levels + 1, levels)),
        shape=(n, edges[-1]),
    )
    normal = (chosen.T @ chosen).toarray()
    normal[np.diag_indices_from(normal)] += INERTIA * n / len(normal)
    factor = scipy.linalg.cho_factor(normal, overwrite_a=True, check_finite=False)
    moves = scipy.linalg.cho_solve(factor, chosen.T @ error, check_finite=False)
    return np.split(np.asarray(moves), edges[1:-1])
