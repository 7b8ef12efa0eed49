"""Tokens of items and of users, by the name of what made them, and tokens that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from dqindex._types import Float32, Tokens
from dqindex.sids.linkage import linkage
from dqindex.sids.semantic_ids import SemanticIds, semantic_ids


class Coded(NamedTuple):
    """Token tuples.

    Attributes
    ----------
    codes : (n, T) integers
    sizes : list of T ints
        Codewords of each level.
    lost : float or None
        Share of the variance that the codewords lose; None where they are not known.
    """

    codes: Tokens
    sizes: list[int]
    lost: float | None

    def shuffled(self, rng: np.random.Generator) -> Coded:
        """The same tuples, each at another's place: as many parameters, as often used."""
        return Coded(rng.permutation(self.codes), self.sizes, None)

    def hashed(self, rng: np.random.Generator) -> Coded:
        """Tokens drawn evenly, each for itself: as many parameters."""
        return Coded(rng.integers(self.sizes, size=self.codes.shape), self.sizes, None)

    def edges(self, k: int) -> scipy.sparse.csr_array:
        """Who shares most tokens with whom, as `dqindex sids neighbors` has it."""
        codes = self.codes.astype(np.int32)
        unknown = np.full(len(codes), np.nan, np.float32)
        parts = list(linkage(SemanticIds(codes, codes, unknown, self.sizes), k))
        source, target, weight = (np.concatenate(one) for one in zip(*parts, strict=True))
        n = len(codes)
        return scipy.sparse.coo_array((weight, (source, target)), shape=(n, n)).tocsr()


def ours(tokens: int, unique: str = "", **settings: Any) -> Callable[[Float32, str], Coded]:
    """Of the family, with collisions resolved as asked, or always by `unique`."""

    def code(x: Float32, asked: str) -> Coded:
        sids = semantic_ids(x, n_subspaces=tokens, unique=unique or asked, **settings)
        return Coded(sids.codes, sids.sizes, lost(x, sids.distortion))

    return code


def opq(tokens: int) -> Callable[[Float32, str], Coded]:
    """FAISS's OPQ; collisions stay."""

    def code(x: Float32, asked: str) -> Coded:
        import sids

        codes, decoded = sids.opq(x, tokens)(x)
        return Coded(codes, [256] * tokens, lost(x, np.square(x - decoded).sum(axis=1)))

    return code


def rq_vae(tokens: int) -> Callable[[Float32, str], Coded]:
    """RQ-VAE at its best: see `baselines`."""

    def code(x: Float32, asked: str) -> Coded:
        from baselines.quantizer import NeuralQuantizer

        found = NeuralQuantizer("rq", tokens).fit(x).semantic_ids(x, unique=asked)
        return Coded(found.codes, found.sizes, lost(x, found.distortion))

    return code


KINDS: dict[str, Callable[[Float32, str], Coded]] = {
    "DQ 4": ours(4),
    "DQ 8": ours(8),
    "DQ 16": ours(16),
    "1 + DQ 3": ours(3, coarse=(256,)),
    "RQ 4": ours(4, method="rq"),
    "RQ 8": ours(8, method="rq"),
    "DQ 4, collisions left": ours(4, unique="none"),
    "RQ 4, collisions left": ours(4, unique="none", method="rq"),
    "OPQ 4": opq(4),
    "OPQ 8": opq(8),
    "RQ-VAE 4": rq_vae(4),
}


def lost(x: Float32, distortion: Float32) -> float:
    """Share of the variance that is lost, from the squared error of each vector."""
    return float(distortion.mean(dtype=np.float64) / x.var(axis=0, dtype=np.float64).sum())
