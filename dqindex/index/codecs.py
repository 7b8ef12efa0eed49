"""Codecs of an index that hold a fixed range of numbers, whatever it is trained on."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from dqindex._types import Float32
from dqindex.errors import RangeError, warn
from dqindex.index.anatomy import dissect
from dqindex.vectors.extent import Extent, row_norms

# float16 holds numbers up to 65,504; the steps of its small ones are 6e-8, a 17,000th of this.
FLOAT16 = 1e-3, 65504.0
# Codecs whose steps are even, over what training saw.
EVEN_STEPS = (
    faiss.ScalarQuantizer.QT_8bit,
    faiss.ScalarQuantizer.QT_6bit,
    faiss.ScalarQuantizer.QT_4bit,
    faiss.ScalarQuantizer.QT_8bit_uniform,
    faiss.ScalarQuantizer.QT_4bit_uniform,
)


# Of a scalar quantizer's 256 steps over the range of all values, this many times the median norm
# leave one to most vectors.
OUTLIER = 1000.0


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


def warn_of_outliers(index: Any, spec: str, sample: Float32) -> None:
    """Warn where a scalar quantizer spends its steps on the range of a few vectors.

    Warns
    -----
    DQWarning
    """
    parts = dissect(index)
    coders = [parts.core] if parts.refine is None else [parts.core, parts.refine.refine_index]
    quantizers = [getattr(faiss.downcast_index(one), "sq", None) for one in coders]
    if not any(one is not None and one.qtype in EVEN_STEPS for one in quantizers):
        return
    norms = row_norms(sample)
    middle, longest = float(np.median(norms)), float(norms.max())
    if longest > OUTLIER * middle > 0:
        warn(
            f"spec {spec!r}: a scalar quantizer has even steps over the range of all values, and a "
            f"vector has the norm {longest:.3g} where the median is {middle:.3g}: most vectors "
            f"get few distinct codes, which loses neighbours. Remove the longest vectors, or use "
            f"a PQ"
        )


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
