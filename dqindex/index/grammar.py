"""The grammar of index specs: which word may stand where.

A spec is held against it before FAISS sees it; ``tests/test_grammar.py`` walks it. The words
themselves are in `dqindex.index.words`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dqindex.index.words import (
    CODES,
    GRAPH,
    IMI,
    LARGEST,
    LISTS,
    REFINE,
    REFUSED,
    TRANSFORMS,
    Place,
    between,
    parts,
)


class Fault(ValueError):
    """What is wrong with a spec; becomes a `SpecError`."""


def split(text: str) -> list[str]:
    """Words between commas that no parentheses enclose."""
    words, depth, word = [], 0, ""
    for letter in text.strip():
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if letter == "," and depth == 0:
            words.append(word.strip())
            word = ""
        else:
            word += letter
    if depth:
        raise Fault("its parentheses do not match")
    return [*words, word.strip()]


def check_words(words: Sequence[str], d: int, metric: str = "") -> list[int]:
    """Hold the words of a spec against the grammar.

    Parameters
    ----------
    words : list of str
    d : int
        Width of the vectors.
    metric : str
        One that is asked for; empty where any may be.

    Returns
    -------
    list of int
        Width of the vectors that reach each transform, and of those that leave the last.

    Raises
    ------
    Fault
    """
    for number in re.findall(r"\d+", " ".join(words)):
        if len(number) > len(str(LARGEST)) or int(number) > LARGEST:
            raise Fault(f"{number} is more than fits; give at most {LARGEST}")
    rest = list(words)
    refined = len(rest) > 1 and _refinement(rest[-1], Place(d, metric, False))
    if refined:
        rest.pop()
    widths = [d]
    while rest and (found := _transform(rest[0], Place(widths[-1], metric, refined))):
        if len(widths) > 1 and words[len(widths) - 2].startswith("DQ"):
            raise Fault(f"{rest[0]} behind DQ mixes the axes that DQ balances; put it before DQ")
        widths.append(found)
        rest.pop(0)
    _index(rest, Place(widths[-1], metric, refined), words)
    return widths


def _match(pattern: str, word: str) -> re.Match[str] | None:
    return re.fullmatch(pattern, word)


def _refinement(word: str, place: Place) -> bool:
    """Whether `word` is a refinement; it must then be a good one."""
    if word == "RFlat":
        return True
    match = _match(REFINE, word)
    if match:
        _code(match[1], place, "refinement")
    return match is not None


def _transform(word: str, place: Place) -> int:
    """Width that leaves the transform `word`; 0 if it is none."""
    for transform in TRANSFORMS:
        match = _match(transform.pattern, word)
        if match is not None:
            wrong = transform.reason(match, place)
            if wrong:
                raise Fault(f"{word}: {wrong}")
            return transform.width(match, place.d)
    return 0


def _index(rest: list[str], place: Place, words: Sequence[str]) -> None:
    """Check what stores the vectors, behind all transforms."""
    if not rest or rest == [""]:
        raise Fault("it ends before an index, as in DQ16,IVF1024,PQ16 or Flat")
    word = rest.pop(0)
    graph = _match(GRAPH, word)
    if (lists := _match(LISTS, word)) or (imi := _match(IMI, word)):
        if lists:
            _lists(lists, place)
        else:
            _imi(imi, word, place)
        if not rest:
            raise Fault(f"{word} needs what its lists store, as in {word},PQ16 or {word},Flat")
        _code(rest.pop(0), place, "lists", word)
    elif graph and not _refused(word):
        _links(graph[1], word)
        stored = graph[2] or (rest.pop(0) if rest else "Flat")
        _code(stored, place, "graph", word)
    else:
        _code(word, place, "alone")
    if rest:
        raise Fault(
            _refused(rest[0])
            or f"{rest[0]!r} stands behind a whole index, {words[words.index(rest[0]) - 1]}; only "
            "one RFlat or Refine(…) may"
        )


def _lists(match: re.Match[str], place: Place) -> None:
    count = int(match[1]) * {"k": 1024, "M": 1024**2}.get(match[2] or "", 1)
    if not 1 <= count <= LARGEST:
        raise Fault(f"{match[0]}: {count} lists; give 1 to {LARGEST}")
    if "_HNSW" in match[0]:
        _links(match[3], match[0])
    inner = match[4]
    if inner is not None:
        graph = _match(GRAPH, inner)
        if inner != "Flat" and not (graph and (graph[2] or "Flat") == "Flat"):
            raise Fault(
                f"{match[0]}: {inner} must be trained, or misses lists; a quantizer of lists may "
                f"be Flat or HNSW, as in IVF{match[1]}_HNSW32"
            )
        if graph:
            _links(graph[1], match[0])


def _imi(match: re.Match[str] | None, word: str, place: Place) -> None:
    bits = int(match[1]) if match else 0
    wrong = between("bits", bits, 1, 12) or parts(2, place.d, "halves")
    if place.metric == "ip":
        wrong = "its lists are those of l2 whatever the metric; use IVF"
    if wrong:
        raise Fault(f"{word}: {wrong}")


def _links(count: str | None, word: str) -> None:
    wrong = between("links a vector", int(count or 32), 2, 1024)
    if wrong:
        raise Fault(f"{word}: {wrong}")


def _refused(word: str) -> str:
    for pattern, reason in REFUSED:
        if _match(pattern, word):
            return f"{word}: {reason}"
    return ""


def _code(word: str, place: Place, where: str, before: str = "") -> None:
    """Check a word that stores vectors."""
    elsewhere = []
    for code in CODES:
        match = _match(code.pattern, word)
        if match is None:
            continue
        if where not in code.places:
            elsewhere += code.places.split()
            continue
        wrong = code.reason(match, place)
        if wrong:
            raise Fault(f"{word}: {wrong}")
        return
    if elsewhere:
        said = {
            "alone": "alone",
            "lists": "behind IVF",
            "graph": "behind HNSW",
            "refinement": "in Refine",
        }
        may = " or ".join(said[one] for one in said if one in elsewhere)
        raise Fault(f"{word} can't stand {said[where]}; it may stand {may}")
    if _refused(word):
        raise Fault(_refused(word))
    if where == "refinement":
        raise Fault(f"{word} can't refine; use Refine(SQ8), Refine(PQ…) or RFlat")
    if word == "RFlat" or _match(REFINE, word):
        raise Fault(f"{word} refines an index, which must stand before it")
    behind = f" behind {before}" if before else ""
    if any(_match(transform.pattern, word) for transform in TRANSFORMS):
        raise Fault(f"{word} can't stand{behind}; it stands before the index, as in {word},Flat")
    raise Fault(f"{word!r} is not a word of a spec{behind}; see docs/spec.md")
