"""Where vectors come from: one small reader a format, all giving validated float32 blocks."""

from dqindex.vectors.array import ArrayVectors
from dqindex.vectors.doorway import open_vectors
from dqindex.vectors.id_file import read_ids
from dqindex.vectors.source import VectorSource

__all__ = ["ArrayVectors", "VectorSource", "open_vectors", "read_ids"]
