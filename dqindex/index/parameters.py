"""Search parameters: what they may be, and how FAISS takes them for one search alone."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import faiss

from dqindex.errors import SpecError

MOST = 2**31 - 1
# Parameter: the least it may be, and whether it counts something.
RULES = {
    "nprobe": (1, True),
    "max_codes": (0, True),
    "efSearch": (1, True),
    "k_factor_rf": (1.0, False),
    "quantizer_efSearch": (1, True),
    "quantizer_nprobe": (1, True),
}
Settings = dict[str, Any]


def check_parameters(parameters: Mapping[str, Any] | None, index: Any, spec: str) -> Settings:
    """`parameters` with their values as FAISS takes them.

    Raises
    ------
    SpecError
        If the index has no such parameter, or it cannot have such a value.
    """
    if parameters is None:
        return {}
    names = accepted(index)
    settings = {}
    for name, value in parameters.items():
        if name not in names:
            known = f"it takes {', '.join(names)}" if names else "it takes none"
            raise SpecError(
                f"search parameter {name}={value} does not fit an index {spec!r}; {known}"
            )
        settings[name] = _value(name, value, spec)
    return settings


def _value(name: str, value: Any, spec: str) -> Any:
    least, counts = RULES[name]
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    number = float(value) if is_number else math.nan
    if not least <= number <= MOST or (counts and not number.is_integer()):
        kind = "an integer" if counts else "a number"
        raise SpecError(
            f"search parameter {name}={value} does not fit an index {spec!r}; give {kind} from "
            f"{least:g} to {MOST}"
        )
    return int(number) if counts else number


def accepted(index: Any) -> list[str]:
    """Names of the parameters that a search of `index` can have for itself."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return accepted(index.index)
    if isinstance(index, faiss.IndexRefine):
        return [*accepted(index.base_index), "k_factor_rf"]
    if hasattr(index, "hnsw"):
        return ["efSearch"]
    if isinstance(index, faiss.IndexIVF):
        inner = accepted(index.quantizer)
        return ["nprobe", "max_codes", *(f"quantizer_{name}" for name in inner if name in PLAIN)]
    return []


PLAIN = ("efSearch", "nprobe")


def set_for_good(index: Any, settings: Settings) -> None:
    """Set checked parameters in the index itself."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        set_for_good(index.index, settings)
    elif isinstance(index, faiss.IndexRefine):
        index.k_factor = settings.get("k_factor_rf", index.k_factor)
        set_for_good(index.base_index, settings)
    elif hasattr(index, "hnsw"):
        index.hnsw.efSearch = settings.get("efSearch", index.hnsw.efSearch)
    elif isinstance(index, faiss.IndexIVF):
        index.nprobe = settings.get("nprobe", index.nprobe)
        index.max_codes = settings.get("max_codes", index.max_codes)
        set_for_good(index.quantizer, _of_quantizer(settings))


def in_force(index: Any) -> Settings:
    """The parameters that are set in the index itself."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return in_force(index.index)
    if isinstance(index, faiss.IndexRefine):
        return {**in_force(index.base_index), "k_factor_rf": float(index.k_factor)}
    if hasattr(index, "hnsw"):
        return {"efSearch": int(index.hnsw.efSearch)}
    if isinstance(index, faiss.IndexIVF):
        inner = in_force(index.quantizer)
        return {
            "nprobe": int(index.nprobe),
            "max_codes": int(index.max_codes),
            **{f"quantizer_{name}": value for name, value in inner.items() if name in PLAIN},
        }
    return {}


def _of_quantizer(settings: Settings) -> Settings:
    return {
        name.removeprefix("quantizer_"): value
        for name, value in settings.items()
        if name.startswith("quantizer_")
    }


def for_one_search(index: Any, settings: Settings, selector: Any, k: int) -> Any:
    """FAISS's own object for `settings` and `selector`, nested as `index` is; None for neither.

    FAISS takes from such an object all that it would take from the index, so what is not set here
    is copied from there.
    """
    index = faiss.downcast_index(index)
    if not settings and selector is None:
        return None
    if isinstance(index, faiss.IndexPreTransform):
        inner = for_one_search(index.index, settings, selector, k)
        return faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexRefine):
        inner = for_one_search(
            index.base_index,
            {name: value for name, value in settings.items() if name != "k_factor_rf"},
            selector,
            k,
        )
        return faiss.IndexRefineSearchParameters(
            k_factor=candidates_factor(index, settings, k), base_index_params=inner
        )
    if hasattr(index, "hnsw"):
        return faiss.SearchParametersHNSW(
            sel=selector, efSearch=settings.get("efSearch", index.hnsw.efSearch)
        )
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(
            sel=selector,
            nprobe=min(settings.get("nprobe", index.nprobe), index.nlist),
            max_codes=settings.get("max_codes", index.max_codes),
            quantizer_params=for_one_search(index.quantizer, _of_quantizer(settings), None, k),
        )
    return faiss.SearchParameters(sel=selector) if selector is not None else None


def candidates_factor(refine: Any, settings: Settings, k: int) -> float:
    """Candidates a neighbour that a refined search ranks, at most as many as there are."""
    factor = float(settings.get("k_factor_rf", refine.k_factor))
    return max(1.0, min(factor, int(refine.ntotal) / k))


def takes_parameters(index: Any) -> bool:
    """Whether FAISS lets a single search of `index` have parameters of its own."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return takes_parameters(index.index)
    if isinstance(index, faiss.IndexRefine):
        return takes_parameters(index.base_index) or not isinstance(
            faiss.downcast_index(index.base_index), faiss.IndexIVF
        )
    return not isinstance(
        index, faiss.IndexIVFAdditiveQuantizerFastScan | faiss.IndexIVFFlatPanorama
    )


def takes_selector(index: Any) -> bool:
    """Whether FAISS can search `index` among chosen rows."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return takes_selector(index.index)
    if isinstance(index, faiss.IndexRefine):
        return takes_selector(index.base_index)
    if isinstance(index, faiss.IndexIVF):
        return not isinstance(
            index,
            faiss.IndexIVFPQR
            | faiss.IndexIVFFlatPanorama
            | faiss.IndexIVFAdditiveQuantizer
            | faiss.IndexIVFAdditiveQuantizerFastScan,
        )
    return hasattr(index, "hnsw") or type(index) in SELECTING


SELECTING = (
    faiss.IndexFlat,
    faiss.IndexFlatL2,
    faiss.IndexFlatIP,
    faiss.IndexScalarQuantizer,
    faiss.IndexRaBitQ,
)
