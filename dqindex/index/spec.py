"""Index specs: FAISS's ``index_factory`` grammar and one word, ``DQ{L}`` or ``DQ{L}_{d_out}``.

The word stands wherever ``OPQ`` can stand. It is handed to FAISS as the OPQ of the same shape, so
that FAISS itself parses all the rest, and the untrained OPQ is then given the DQ matrix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import faiss

from dqindex._types import METRICS
from dqindex.errors import SpecError
from dqindex.index.anatomy import dissect
from dqindex.index.grammar import Fault, check_words, split
from dqindex.index.words import DQ

_PQ = re.compile(r"(?:^|_)PQ(\d+)(?![\d+])")


@dataclass(frozen=True)
class IndexSpec:
    """A parsed spec.

    Attributes
    ----------
    text : str
        As given.
    factory : str
        What ``faiss.index_factory`` gets: DQ as the OPQ of the same shape.
    n_subspaces, n_components : int or None
        L and d_out of the DQ word; None where there is no such word, or it names no d_out.
    position : int
        Place of the DQ word in the chain of transforms, from 0; -1 without one.
    """

    text: str
    factory: str
    n_subspaces: int | None
    n_components: int | None
    position: int


def parse_spec(text: str, d: int) -> IndexSpec:
    """Parse a spec for vectors of width `d`.

    Raises
    ------
    SpecError
        If DQ stands twice or nested, or its subspaces do not match the PQ.

    Examples
    --------
    >>> parse_spec("DQ16,IVF1024,PQ16", 50).factory
    'OPQ16_64,IVF1024,PQ16'
    """
    try:
        words = split(text)
        place = _place_of_dq(words)
        widths = check_words(words, d)
    except Fault as fault:
        raise SpecError(f"spec {text!r} on vectors of width {d}: {fault}") from None
    match = re.fullmatch(DQ, words[place]) if place >= 0 else None
    if match is None:
        return IndexSpec(text, ",".join(words), None, None, -1)
    n_subspaces, n_components = (int(one) if one else None for one in match.groups())
    opq = f"OPQ{n_subspaces}_{widths[place + 1]}"
    factory = ",".join([*words[:place], opq, *words[place + 1 :]])
    return IndexSpec(text, factory, n_subspaces, n_components, place)


def make_index(spec: IndexSpec, d: int, metric: str) -> faiss.Index:
    """The untrained FAISS index.

    For ``cosine`` it is an L2 index that normalises what comes in, so that stock FAISS ranks
    by cosine without knowing it.

    Raises
    ------
    SpecError
        If FAISS does not understand the spec or it does not fit `d`.
    """
    if metric not in METRICS:
        raise SpecError(f"metric {metric!r}; use one of {', '.join(METRICS)}")
    try:
        check_words(split(spec.text), d, metric)
    except Fault as fault:
        raise SpecError(
            f"spec {spec.text!r} with metric {metric} on vectors of width {d}: {fault}"
        ) from None
    kind = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
    try:
        index = faiss.index_factory(d, spec.factory, kind)
    except (RuntimeError, MemoryError) as error:
        raise SpecError(
            f"spec {spec.text!r} on vectors of width {d}: FAISS {faiss.__version__} says: "
            f"{_reason(error)}"
        ) from None
    _check_metric(index, kind, spec, metric)
    if metric == "cosine":
        normalise = faiss.NormalizationTransform(d, 2.0)
        if isinstance(index, faiss.IndexPreTransform):
            index.prepend_transform(normalise)
        else:
            inner, index = index, faiss.IndexPreTransform(normalise, index)
            index.own_fields = True
            inner.this.disown()
        # The index owns its parts and frees them; Python must not free them again.
        normalise.this.disown()
    return index


def _place_of_dq(words: list[str]) -> int:
    """Which of `words` is DQ, -1 if none is; what stands behind it must fit."""
    places = [place for place, word in enumerate(words) if re.fullmatch(DQ, word)]
    if any("DQ" in word for place, word in enumerate(words) if place not in places):
        raise Fault("DQ must stand as a word of its own, as in DQ16,IVF1024,PQ16")
    if len(places) > 1:
        raise Fault(f"DQ stands {len(places)} times; give it once")
    if not places:
        return -1
    dq = words[places[0]]
    count = dq[2:].partition("_")[0]
    for word in words[places[0] + 1 :]:
        found = _PQ.search(word)
        if found and int(count) and found[1] != count:
            raise Fault(
                f"{dq} balances {count} subspaces, but {word} quantises {found[1]}; use "
                f"DQ{found[1]}"
            )
    return places[0]


def _reason(error: Exception) -> str:
    """What FAISS says, without the place in its source."""
    text = str(error).rpartition("Error: ")[2] or str(error)
    text = re.sub(r"^Error in .*? at \S+: ", "", text).strip().split("\n")[0]
    return text or "it has not the memory"


def _check_metric(index: faiss.Index, kind: int, spec: IndexSpec, metric: str) -> None:
    """Refuse an index in which a part ranks by another metric than asked."""
    parts = dissect(index)
    asked = [index, parts.core, parts.holder]
    if parts.ivf is not None:
        asked.append(faiss.downcast_index(parts.ivf.quantizer))
    if parts.refine is not None:
        asked.append(faiss.downcast_index(parts.refine.refine_index))
    for part in asked:
        if part.metric_type != kind:
            raise SpecError(
                f"spec {spec.text!r}: FAISS ranks {type(part).__name__} by another metric than "
                f"{metric}; use another spec"
            )
