"""Codecs of an index that hold a fixed range of numbers, whatever it is trained on."""

from __future__ import annotations

from typing import Any

import faiss

from dqindex.errors import RangeError
from dqindex.index.anatomy import dissect
from dqindex.vectors.extent import Extent

# float16 holds numbers up to 65,504; the steps of its small ones are 6e-8, a 17,000th of this.
FLOAT16 = 1e-3, 65504.0


def check_codecs(index: Any, spec: str, metric: str, extent: Extent) -> None:
    """Refuse vectors that a codec of the untrained `index` can't hold.

    Raises
    ------
    RangeError
    """
    parts = dissect(index)
    _check_codec(parts.holder, spec, metric, extent, bool(parts.chain))
    if parts.refine is not None:
        refined = faiss.downcast_index(parts.refine.refine_index)
        # Below a normalisation alone, the refinement holds what comes in.
        _check_codec(refined, spec, metric, extent, metric == "cosine")


def _check_codec(index: Any, spec: str, metric: str, extent: Extent, transformed: bool) -> None:
    """Refuse what the scalar quantizer of `index`, if it has one, can't hold.

    Rotations keep the norm, which then bounds the values.
    """
    codec = getattr(getattr(index, "sq", None), "qtype", None)
    where = f"spec {spec!r}: vectors with values from {extent.lowest:.3g} to {extent.highest:.3g}"
    if codec == faiss.ScalarQuantizer.QT_fp16:
        values = max(-extent.lowest, extent.highest)
        reach = 1.0 if metric == "cosine" else extent.norm if transformed else values
        if reach and not FLOAT16[0] <= reach <= FLOAT16[1]:
            raise RangeError(
                f"{where} and norms up to {extent.norm:.3g} (row {extent.row}) do not fit float16, "
                f"which holds {FLOAT16[0]:g} to {FLOAT16[1]:g}; rescale the vectors, or use SQbf16 "
                "or SQ8"
            )
    elif codec in (
        faiss.ScalarQuantizer.QT_8bit_direct,
        faiss.ScalarQuantizer.QT_8bit_direct_signed,
    ):
        low = -128 if codec == faiss.ScalarQuantizer.QT_8bit_direct_signed else 0
        if transformed or extent.lowest < low or extent.highest > low + 255:
            raise RangeError(
                f"{where} are not the integers from {low} to {low + 255} that this codec stores "
                "as they are; use SQ8"
            )
