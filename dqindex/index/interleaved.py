"""Codes of fast-scan as they lie in memory: interleaved in blocks, so that registers take them.

A block holds the codes of 32, 64, … vectors. For every two of their 4-bit parts, and for every 32
of its vectors, there are 32 bytes: 16 for one part, 16 for the other, with the vectors in an order
of their own. What a code has beyond those parts (RaBitQ's factors) lies behind, vector by vector.
FAISS's own packer is right for blocks of 32 alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dqindex._types import Int64

Bytes = npt.NDArray[np.uint8]
GROUP = 32
# Byte j of 16 holds the vectors ORDER[j] and ORDER[j] + 16 of the 32.
ORDER = np.array([0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15])


class Layout(NamedTuple):
    """How codes lie in blocks.

    Attributes
    ----------
    rows : int
        Vectors a block.
    parts : int
        Bytes of a code that are interleaved: two parts each.
    width : int
        All bytes of a code.
    """

    rows: int
    parts: int
    width: int

    @property
    def block(self) -> int:
        """Bytes a block."""
        return self.rows * self.width

    @property
    def _groups(self) -> int:
        return self.rows // GROUP

    def pack(self, codes: Bytes) -> Bytes:
        """Interleave `codes`, shape (n, width); what fills the last block is zero."""
        blocks = -(-len(codes) // self.rows)
        padded = np.zeros((blocks * self.rows, self.width), dtype=np.uint8)
        padded[: len(codes)] = codes
        groups = padded[:, : self.parts].reshape(blocks, self._groups, GROUP, self.parts)
        groups = groups.transpose(0, 3, 1, 2)
        low, high = groups & 15, groups >> 4
        packed = np.empty(groups.shape, dtype=np.uint8)
        packed[..., :16] = low[..., ORDER] | low[..., ORDER + 16] << 4
        packed[..., 16:] = high[..., ORDER] | high[..., ORDER + 16] << 4
        behind = padded[:, self.parts :].reshape(blocks, self.rows * (self.width - self.parts))
        return np.hstack([packed.reshape(blocks, self.rows * self.parts), behind]).ravel()

    def unpack(self, content: Bytes) -> Bytes:
        """All codes of the blocks in `content`, shape (n, width), those that fill up as well."""
        blocks = content.reshape(-1, self.block)
        n = len(blocks)
        packed = blocks[:, : self.rows * self.parts].reshape(n, self.parts, self._groups, GROUP)
        first, second = packed[..., :16], packed[..., 16:]
        groups = np.empty(packed.shape, dtype=np.uint8)
        groups[..., ORDER] = first & 15 | (second & 15) << 4
        groups[..., ORDER + 16] = first >> 4 | second & 240
        codes = np.empty((n, self.rows, self.width), dtype=np.uint8)
        codes[:, :, : self.parts] = groups.transpose(0, 2, 3, 1).reshape(n, self.rows, self.parts)
        behind = blocks[:, self.rows * self.parts :]
        codes[:, :, self.parts :] = behind.reshape(n, self.rows, self.width - self.parts)
        return codes.reshape(-1, self.width)

    def at(self, content: Bytes, rows: Int64) -> Bytes:
        """The codes at `rows`."""
        blocks, places = np.divmod(rows, self.rows)
        wanted, where = np.unique(blocks, return_inverse=True)
        codes = self.unpack(content.reshape(-1, self.block)[wanted])
        return codes.reshape(-1, self.rows, self.width)[where, places]


def layout_of(index: Any) -> Layout:
    """The layout of a fast-scan index, flat or of lists."""
    packer = index.get_CodePacker()
    return Layout(packer.nvec, index.M2 // 2, packer.block_size // packer.nvec)
