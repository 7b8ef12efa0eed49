"""The parts of a FAISS index that training, adding and searching have to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faiss


@dataclass(frozen=True)
class Anatomy:
    """The parts of a FAISS index that training has to reach.

    Attributes
    ----------
    chain : list of faiss.VectorTransform
        Transforms from the input to `core`, outermost first.
    core : faiss.Index
        The index behind all transforms and refinements.
    refine : faiss.IndexRefine or None
    """

    chain: list[Any]
    core: Any
    refine: Any

    @property
    def holder(self) -> Any:
        """What holds the codes: the storage of a graph, else `core` itself."""
        return (
            faiss.downcast_index(self.core.storage) if hasattr(self.core, "storage") else self.core
        )

    @property
    def pq(self) -> Any:
        """The product quantizer of `holder`, a faiss.ProductQuantizer, or None."""
        return getattr(self.holder, "pq", None)

    @property
    def additive_bits(self) -> list[int]:
        """Bits of each code of the additive quantizer of `holder`; none where it has none."""
        quantizer = getattr(self.holder, "aq", None)
        if quantizer is None:
            return []
        return [int(bits) for bits in faiss.vector_to_array(quantizer.nbits)]

    @property
    def ivf(self) -> Any:
        """`core` where it is an inverted file, else None."""
        return self.core if hasattr(self.core, "nlist") else None

    @property
    def encodes_residuals(self) -> bool:
        """Whether what is quantised is the residual to a coarse centroid."""
        return self.ivf is not None and bool(getattr(self.core, "by_residual", False))


def dissect(index: faiss.Index) -> Anatomy:
    """Find the parts of `index`."""
    chain: list[Any] = []
    refine = None
    core = faiss.downcast_index(index)
    while True:
        if isinstance(core, faiss.IndexPreTransform):
            chain += [
                faiss.downcast_VectorTransform(core.chain.at(i)) for i in range(core.chain.size())
            ]
            core = faiss.downcast_index(core.index)
        elif isinstance(core, faiss.IndexRefine):
            refine = core
            core = faiss.downcast_index(core.base_index)
        else:
            break
    return Anatomy(chain, core, refine)
