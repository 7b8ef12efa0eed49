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

_DQ = re.compile(r"DQ(\d+)(?:_(\d+))?")
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
    words = _split(text)
    places = [place for place, word in enumerate(words) if _DQ.fullmatch(word)]
    if any("DQ" in word for place, word in enumerate(words) if place not in places):
        raise SpecError(
            f"spec {text!r}: DQ must stand as a word of its own before the index, as in "
            "DQ16,IVF1024,PQ16 or DQ16_64,PQ16x4fs; not inside another word or parentheses"
        )
    if not places:
        return IndexSpec(text, text, None, None, -1)
    if len(places) > 1:
        raise SpecError(f"spec {text!r}: DQ stands {len(places)} times; give it once")
    place = places[0]
    match = _DQ.fullmatch(words[place])
    n_subspaces = int(match[1]) if match else 0
    n_components = int(match[2]) if match and match[2] else None
    if n_subspaces < 1 or n_components == 0:
        raise SpecError(f"spec {text!r}: DQ needs at least 1 subspace and 1 component")
    for word in words[place + 1 :]:
        found = _PQ.search(word)
        if found and int(found[1]) != n_subspaces:
            raise SpecError(
                f"spec {text!r}: DQ{n_subspaces} balances {n_subspaces} subspaces, but {word} "
                f"quantises {found[1]}; use DQ{found[1]}"
            )
    d_in = _width_before(words[:place], d, text)
    width = -(-(n_components or d_in) // n_subspaces) * n_subspaces
    factory = ",".join([*words[:place], f"OPQ{n_subspaces}_{width}", *words[place + 1 :]])
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
    if any(word.startswith("IDMap") for word in _split(spec.text)):
        raise SpecError(
            f"spec {spec.text!r}: leave out IDMap; dqindex keeps the ids beside the index"
        )
    try:
        index = faiss.index_factory(
            d, spec.factory, faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
        )
    except RuntimeError as error:
        reason = str(error).rpartition("Error: ")[2] if "Error: " in str(error) else str(error)
        reason = re.sub(r"^Error in .*? at \S+: ", "", reason).strip().split("\n")[0]
        raise SpecError(
            f"spec {spec.text!r} on vectors of width {d}: FAISS says: {reason}; "
            "a PQ needs a width that its subspaces divide, which DQ{L} gives by padding"
        ) from None
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


def _split(text: str) -> list[str]:
    """Words between commas that no parentheses enclose."""
    words, depth, word = [], 0, ""
    for letter in text.strip():
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            words.append(word.strip())
            word = ""
        else:
            word += letter
    return [*words, word.strip()]


def _width_before(words: list[str], d: int, text: str) -> int:
    """Width of the vectors that reach DQ through the transforms before it."""
    if not words:
        return d
    try:
        before = faiss.index_factory(d, ",".join([*words, "Flat"]))
    except RuntimeError:
        before = None
    if not isinstance(before, faiss.IndexPreTransform):
        raise SpecError(
            f"spec {text!r}: only transforms may stand before DQ, not {','.join(words)}"
        )
    return int(before.chain.at(before.chain.size() - 1).d_out)
