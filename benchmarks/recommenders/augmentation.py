"""What users and items bring beside their ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse
from interactions import Sequences

from dqindex._types import Float32, Int64
from recommenders import features
from recommenders.codes import KINDS, Coded
from recommenders.features import Features

# Neighbours that an item or user is linked to, and the share of its vector that is theirs where
# linkage is smoothing.
LINKS, SMOOTHING = 10, 0.5


class Augmentation(NamedTuple):
    """Names of what stands beside the ids of users and of items: see `Side.features`."""

    users: tuple[str, ...] = ()
    items: tuple[str, ...] = ()


AUGMENTATIONS = {
    "ids alone": Augmentation(),
    "item tokens": Augmentation(items=("tokens",)),
    "user tokens": Augmentation(users=("tokens",)),
    "user and item tokens": Augmentation(("tokens",), ("tokens",)),
    "item linkage": Augmentation(items=("linkage",)),
    "user and item linkage": Augmentation(("linkage",), ("linkage",)),
    "item tokens and linkage": Augmentation(items=("tokens", "linkage")),
    "user and item tokens and linkage": Augmentation(("tokens", "linkage"), ("tokens", "linkage")),
    "shuffled item tokens": Augmentation(items=("shuffled tokens",)),
    "random item hashes": Augmentation(items=("hashes",)),
    "shuffled user and item tokens": Augmentation(("shuffled tokens",), ("shuffled tokens",)),
    "random user and item hashes": Augmentation(("hashes",), ("hashes",)),
    "shuffled item linkage": Augmentation(items=("shuffled linkage",)),
    "shuffled user and item linkage": Augmentation(("shuffled linkage",), ("shuffled linkage",)),
    "item popularity": Augmentation(items=("popularity",)),
    "item attributes": Augmentation(items=("attributes",)),
    "item attributes and tokens": Augmentation(items=("attributes", "tokens")),
    "item vectors": Augmentation(items=("vectors",)),
    "user and item vectors": Augmentation(("vectors",), ("vectors",)),
}


class Side:
    """The users, or the items.

    Parameters
    ----------
    vectors : (n, d) float32
    counts : (n,) int64
        Interactions of each in the training part.
    unique : str
        What `dqindex.semantic_ids` shall do where tokens collide.
    attributes : sequence of n lists of ints, optional
    published : Coded, optional
        Tokens that another system published.
    """

    def __init__(
        self,
        vectors: Float32,
        counts: Int64,
        unique: str,
        attributes: Sequence[Sequence[int]] | None = None,
        published: Coded | None = None,
    ) -> None:
        self.vectors, self._counts, self._unique = vectors, counts, unique
        self._attributes = attributes
        self._coded: dict[str, Coded] = {} if published is None else {"published": published}

    def coded(self, kind: str) -> Coded:
        """The tokens of a kind; they are made once."""
        if kind not in self._coded:
            self._coded[kind] = KINDS[kind](self.vectors, self._unique)
        return self._coded[kind]

    def features(
        self, parts: tuple[str, ...], kind: str, seed: int, *, smoothed: bool = True
    ) -> Features:
        """Ids, and what stands beside them.

        Parameters
        ----------
        parts : tuple of str
            ``tokens`` of `kind`; ``shuffled tokens``, those of others; ``hashes``, random ones;
            ``linkage`` or ``shuffled linkage``; ``popularity``; ``attributes``; ``vectors``.
        kind : str
        seed : int
        smoothed : bool
            Whether linkage is a matter of features: ids share their vectors with their neighbours.
        """
        edges = self.edges(parts, kind, seed) if smoothed else None
        made = features.ids(len(self.vectors))
        if edges is not None:
            made = features.smoothed(edges, SMOOTHING)
        for part in parts:
            if part == "popularity":
                made = made.beside(features.buckets(self._counts))
            elif part == "attributes":
                made = made.beside(features.bags(self._attributes or []))
            elif part == "vectors":
                made = made.beside(features.numbers(self.vectors))
            elif "linkage" not in part:
                coded = self._meaning(part, kind, seed)
                made = made.beside(features.tokens(coded.codes, coded.sizes))
        return made

    def edges(self, parts: tuple[str, ...], kind: str, seed: int) -> scipy.sparse.csr_array | None:
        """The edges of linkage, as a matrix; None where it is not among the `parts`."""
        for part in parts:
            if "linkage" in part:
                return self._meaning(part, kind, seed).edges(LINKS)
        return None

    def _meaning(self, part: str, kind: str, seed: int) -> Coded:
        """Tokens as they are, or without their meaning."""
        coded, rng = self.coded(kind), np.random.default_rng(seed)
        if part == "hashes":
            return coded.hashed(rng)
        return coded.shuffled(rng) if part.startswith("shuffled") else coded


class Catalogue:
    """Users and items.

    The vector of a user is the mean of those of the items in the training part of the sequence: no
    test or validation item is in it. Tokens of users need not be unique.
    """

    def __init__(
        self,
        training: Sequences,
        vectors: Float32,
        attributes: Sequence[Sequence[int]] | None = None,
        published: Coded | None = None,
    ) -> None:
        self.items = Side(vectors, training.counts(), "reassign", attributes, published)
        self._training = training

    @cached_property
    def users(self) -> Side:
        """Users, by the means of their items."""
        return Side(means(self._training, self.items.vectors), self._training.lengths(), "none")


def means(sequences: Sequences, vectors: Float32) -> Float32:
    """The mean vector of each user's items; zero of those who have none."""
    total = np.zeros((len(sequences), vectors.shape[1]), np.float64)
    np.add.at(total, sequences.users(), vectors[sequences.items])
    return (total / np.maximum(sequences.lengths(), 1)[:, None]).astype(np.float32)
