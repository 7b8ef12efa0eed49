"""LightGCN: He et al., "Simplifying and Powering Graph Convolution Network", 2020."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
import torch
from interactions import Sequences
from torch import Tensor

from dqindex._types import Float32
from recommenders.features import Features, Table
from recommenders.recommender import Recommender
from recommenders.sampling import Negatives, softmax_loss, unit


class LightGCN(Recommender):
    """Vectors that are passed along the edges of users and items, and averaged over the layers.

    The score is the cosine of two of them, as in later models of this kind: without it, recall on
    Amazon Beauty was less than half.

    Further edges, between users and between items, join the graph with a weight for all of a node's
    edges that is a share of that of its interactions.
    """

    DIM, BATCH, NEGATIVES, SCALE, LAYERS = 64, 8192, 256, 0.1, 2
    TEMPERATURE, RATE = 0.1, 0.03

    def __init__(
        self,
        users: Features,
        items: Features,
        training: Sequences,
        among_users: scipy.sparse.csr_array | None = None,
        among_items: scipy.sparse.csr_array | None = None,
    ) -> None:
        super().__init__()
        self.users = Table(users, self.DIM, self.SCALE)
        self.items = Table(items, self.DIM, self.SCALE)
        self._pairs = torch.from_numpy(np.stack([training.users(), training.items], axis=1))
        self._negatives = Negatives(training.counts(), self.NEGATIVES)
        self._graph = tensor(graph(training, among_users, among_items))

    def batches(self, rng: np.random.Generator) -> Iterator[Tensor]:
        """Interactions, (m, 2), each once."""
        order = torch.from_numpy(rng.permutation(len(self._pairs)))
        for some in order.split(self.BATCH):
            yield self._pairs[some]

    def spread(self) -> tuple[Tensor, Tensor]:
        """The vectors of users and of items."""
        layer = torch.cat([self.users.all(), self.items.all()])
        total = layer
        for _ in range(self.LAYERS):
            layer = Propagation.apply(layer, self._graph)
            total = total + layer
        nodes = unit(total)
        return nodes[: len(self.users)], nodes[len(self.users) :]

    def loss(self, batch: Tensor, rng: np.random.Generator) -> Tensor:
        """Of the items that users had."""
        drawn = self._negatives.draw(rng)
        users, items = self.spread()
        queries, right = users[batch[:, 0]] / self.TEMPERATURE, items[batch[:, 1]]
        return softmax_loss(queries, right, batch[:, 1], items[drawn.items], drawn)

    def rankers(self, before: Sequences) -> tuple[Float32, Float32]:
        """Vectors of users and of items; what users had `before` changes nothing."""
        with torch.no_grad():
            users, items = self.spread()
        return users.numpy(), items.numpy()


class Propagation(torch.autograd.Function):
    """A product with a symmetric sparse matrix, so that the gradient is one too."""

    @staticmethod
    def forward(context: Any, dense: Tensor, matrix: Tensor) -> Tensor:
        """The product."""
        context.matrix = matrix
        return matrix @ dense

    @staticmethod
    def backward(context: Any, *gradients: Any) -> tuple[Tensor, None]:
        """The product with the gradient."""
        return context.matrix @ gradients[0].contiguous(), None


def graph(
    training: Sequences,
    among_users: scipy.sparse.csr_array | None = None,
    among_items: scipy.sparse.csr_array | None = None,
) -> scipy.sparse.csr_array:
    """The symmetric graph of users and items, an edge divided by the root of both its degrees."""
    shape = (len(training), training.n_items)
    ones = np.ones(len(training.items), np.float32)
    had = scipy.sparse.coo_array((ones, (training.users(), training.items)), shape).tocsr()
    whole = scipy.sparse.block_array(
        [[_shared(among_users, had), had], [had.T, _shared(among_items, had.T.tocsr())]]
    ).tocsr()
    degree = np.asarray(whole.sum(axis=1)).ravel()
    scale = scipy.sparse.diags_array(np.where(degree > 0, degree, 1) ** -0.5)
    return (scale @ whole @ scale).tocsr().astype(np.float32)


# What the further edges of all nodes weigh, as a share of the interactions.
SHARE = 0.5


def _shared(
    edges: scipy.sparse.csr_array | None, had: scipy.sparse.csr_array
) -> scipy.sparse.csr_array:
    """Edges, symmetric, at `SHARE` of the weight of the interactions."""
    if edges is None:
        return scipy.sparse.csr_array((had.shape[0], had.shape[0]), dtype=np.float32)
    both = edges.maximum(edges.T)
    return both * (SHARE * had.sum() / both.sum())


def tensor(matrix: scipy.sparse.csr_array) -> Tensor:
    """The same in torch."""
    with warnings.catch_warnings():
        # torch says once that its sparse tensors may change.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data),
            matrix.shape,
            check_invariants=True,
        )
