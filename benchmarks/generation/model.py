"""`Generator`: an encoder of histories and a decoder of the tokens of the next item."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from generation.attention import Attention, Distances, Feed
from generation.dropout import Dropout


@dataclass(frozen=True)
class Shape:
    """Sizes of a generator.

    Attributes
    ----------
    width, heads, inner : int
        Of all layers: of a vector, attention heads, and the feed-forward part.
    encoder, decoder : int
        Layers.
    length : int
        Items of a history.
    dropout : float
    """

    width: int = 64
    heads: int = 2
    inner: int = 128
    encoder: int = 2
    decoder: int = 1
    length: int = 20
    dropout: float = 0.2


class EncoderLayer(nn.Module):
    """Items of a history take from those before and from themselves."""

    def __init__(self, shape: Shape, drop: Dropout) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(shape.width) for _ in range(2))
        self.own = Attention(shape.width, shape.heads)
        self.feed = Feed(shape.width, shape.inner, drop)
        self.drop = drop

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """(B, n, width) to the same."""
        x = x + self.drop(self.own(self.norms[0](x), scores))
        return x + self.drop(self.feed(self.norms[1](x)))


class DecoderLayer(nn.Module):
    """What is known of an item, changed by a feed-forward part."""

    def __init__(self, shape: Shape, drop: Dropout) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(shape.width)
        self.feed = Feed(shape.width, shape.inner, drop)
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) to the same."""
        return x + self.drop(self.feed(self.norm(x)))


class Generator(nn.Module):
    """The next item's tokens, one after another, from a history of items.

    A history has one position an item: the sum of the embeddings of its tokens. A transformer
    encodes it; its items see only those before them, so that one pass serves all positions of a
    sequence. The decoder reads the state of the last item and the sum of the embeddings of the
    tokens that it has decoded already. Every level has its own tokens, whose embeddings are also
    what its logits are products with.

    Parameters
    ----------
    sizes : list of ints
        Codes of each level.
    shape : Shape
    """

    def __init__(self, sizes: list[int], shape: Shape) -> None:
        super().__init__()
        self.sizes, self.shape = sizes, shape
        width = shape.width
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        for table in self.tables:
            nn.init.normal_(table.weight, std=width**-0.5)
        self.biases = nn.ParameterList(torch.zeros(size) for size in sizes)
        self.levels = nn.Parameter(torch.randn(len(sizes), width) * width**-0.5)
        self.drop = drop = Dropout(shape.dropout)
        self.enter, self.encoded = nn.LayerNorm(width), nn.LayerNorm(width)
        self.decoded = nn.LayerNorm(width)
        self.encoder = nn.ModuleList(EncoderLayer(shape, drop) for _ in range(shape.encoder))
        self.decoder = nn.ModuleList(DecoderLayer(shape, drop) for _ in range(shape.decoder))
        self.near = Distances(shape.length, shape.heads)

    def encode(self, codes: Tensor) -> Tensor:
        """States after each item of histories, (B, n, T) codes: (B, n, width)."""
        tokens = [table(codes[..., level]) for level, table in enumerate(self.tables)]
        x = self.drop(self.enter(torch.stack(tokens).sum(dim=0)))
        scores = self.near(codes.shape[1])
        for layer in self.encoder:
            x = layer(x, scores)
        return self.encoded(x)

    def decode(self, states: Tensor, before: Tensor, level: int) -> Tensor:
        """Logits of a level, (…, K).

        Parameters
        ----------
        states : (…, width)
            From `encode`.
        before : (…, width)
            Sum of the embeddings of the tokens of the levels before.
        level : int
        """
        x = states + self.drop(before) + self.levels[level]
        for layer in self.decoder:
            x = layer(x)
        x = self.decoded(x)
        return nn.functional.linear(x, self.tables[level].weight, self.biases[level])
