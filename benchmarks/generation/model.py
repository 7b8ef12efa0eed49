"""`Generator`: an encoder of histories and a decoder of the tokens of the next item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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

    width: int = 128
    heads: int = 4
    inner: int = 512
    encoder: int = 2
    decoder: int = 2
    length: int = 20
    dropout: float = 0.2


Pair = tuple[Tensor, Tensor]


class Memory(NamedTuple):
    """A history as the decoder reads it.

    Attributes
    ----------
    offered : list of pairs of (B, heads, n, ·)
        Keys and values, of each decoder layer.
    scores : (B, heads, n, n)
        Of what is decoded after item i for item j.
    """

    offered: list[Pair]
    scores: Tensor


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
        normed = self.norms[0](x)
        x = x + self.drop(self.own(normed, self.own.offered(normed), scores))
        return x + self.drop(self.feed(self.norms[1](x)))


class DecoderLayer(nn.Module):
    """Tokens of one item take from those before, and from the history."""

    def __init__(self, shape: Shape, drop: Dropout) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(shape.width) for _ in range(3))
        self.own = Attention(shape.width, shape.heads)
        self.history = Attention(shape.width, shape.heads)
        self.feed = Feed(shape.width, shape.inner, drop)
        self.drop = drop

    def forward(
        self, x: Tensor, memory: Pair, scores: Tensor, before: Pair | None
    ) -> tuple[Tensor, Pair]:
        """Of m items with t tokens each, (B, m, t, width); keys and values of all their tokens.

        `before` are those of tokens that were decoded already.
        """
        normed = self.norms[0](x)
        offered = self.own.offered(normed)
        if before is not None:
            offered = (torch.cat([before[0], offered[0]], 3), torch.cat([before[1], offered[1]], 3))
        known, asked = offered[0].shape[3], x.shape[2]
        later = torch.full((asked, known), -torch.inf).triu(known - asked + 1)
        x = x + self.drop(self.own(normed, offered, later))
        normed = self.norms[1](x).flatten(1, 2)
        x = x + self.drop(self.history(normed, memory, scores)).unflatten(1, x.shape[1:3])
        return x + self.drop(self.feed(self.norms[2](x))), offered


class Generator(nn.Module):
    """The next item's tokens, one after another, from a history of items.

    A history has one position an item: the sum of the embeddings of its tokens. Its items see only
    those before them, so that one pass serves all positions of a sequence. Every level has its own
    tokens, whose embeddings are also what its logits are products with.

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
        self.enter = nn.LayerNorm(width)
        self.drop = drop = Dropout(shape.dropout)
        self.encoder = nn.ModuleList(EncoderLayer(shape, drop) for _ in range(shape.encoder))
        self.decoder = nn.ModuleList(DecoderLayer(shape, drop) for _ in range(shape.decoder))
        self.near = Distances(shape.length, shape.heads)
        self.near_decoded = Distances(shape.length, shape.heads)
        self.left, self.leave = nn.LayerNorm(width), nn.LayerNorm(width)

    def remember(self, codes: Tensor) -> Memory:
        """Read histories, (B, n, T) codes, padded behind."""
        n = codes.shape[1]
        tokens = [table(codes[..., level]) for level, table in enumerate(self.tables)]
        x = self.drop(self.enter(torch.stack(tokens).sum(dim=0)))
        scores = self.near(n)
        for layer in self.encoder:
            x = layer(x, scores)
        x = self.left(x)
        return Memory([layer.history.offered(x) for layer in self.decoder], self.near_decoded(n))

    def begin(self, codes: Tensor) -> Tensor:
        """What the decoder reads to tell the tokens of items, (…, T) codes: (…, T, width).

        Each place has the token of the level before; the first none.
        """
        before = [torch.zeros_like(self.levels[0]).expand(*codes.shape[:-1], -1)]
        before += [self.tables[level](codes[..., level]) for level in range(len(self.sizes) - 1)]
        return torch.stack(before, dim=-2) + self.levels

    def decode(
        self, x: Tensor, memory: Memory, scores: Tensor, before: list[Pair] | None = None
    ) -> tuple[Tensor, list[Pair]]:
        """Vectors that give logits, (B, m, t, width), and keys and values for the next tokens."""
        x, known = self.drop(x), []
        for place, layer in enumerate(self.decoder):
            past = None if before is None else before[place]
            x, offered = layer(x, memory.offered[place], scores, past)
            known.append(offered)
        return self.leave(x), known

    def logits(self, x: Tensor, level: int) -> Tensor:
        """Scores of the codes of a level: (…, width) to (…, K)."""
        return nn.functional.linear(x, self.tables[level].weight, self.biases[level])

    def forward(self, codes: Tensor) -> list[Tensor]:
        """Logits of each level for the second to the last item: T of (B, n - 1, K).

        Parameters
        ----------
        codes : (B, n, T) int64
            Of whole sequences, padded behind.
        """
        history, wanted = codes[:, :-1], codes[:, 1:]
        memory = self.remember(history)
        scores = memory.scores.repeat_interleave(len(self.sizes), dim=1)
        x, _ = self.decode(self.begin(wanted), memory, scores)
        return [self.logits(x[:, :, level], level) for level in range(len(self.sizes))]
