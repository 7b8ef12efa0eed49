"""Specs worth trying for so many vectors of some width, and what they will weigh."""

from __future__ import annotations

from collections.abc import Callable

from dqindex.index.weight import weight

# Whose specs: all that are worth a try, or those with a DQ and what needs none.
FAMILIES = ("all", "dq")
# Fewer vectors than this are scanned: inverted lists would not pay.
LEAST_FOR_LISTS = 10_000
# Bytes of 8-bit codes where no limit says otherwise.
LONGEST_CODE = 64
REFINEMENTS = ("Refine(SQ4)", "Refine(SQ6)", "Refine(SQ8)", "RFlat")
# Fewer vectors than codewords train no codebook.
LEAST_FOR_BYTES = 256


def lists_for(n: int) -> int:
    """Inverted lists for `n` vectors: the power of two next below twice the square root."""
    return int(2 ** (int(2 * n**0.5).bit_length() - 1))


def fill(template: str, n: int) -> str:
    """The spec for `n` vectors: ``{lists}`` in a template becomes their number."""
    return template.replace("{lists}", str(lists_for(n)))


def candidates(
    n: int, d: int, max_bytes: float | None, metric: str = "l2", family: str = "all"
) -> list[str]:
    """Templates for `n` vectors of width `d` that weigh at most `max_bytes` each, lightest first.

    Ours: fast-scan codes of 2 and 4 dimensions, refined by 4, 6 or 8 bits a dimension or by the
    vectors themselves; bare codes of 4 and 8 bits, as long as fit; and the vectors as they are.
    Of the family "all", FAISS's own besides: the same fast-scan codes without a rotation, RaBitQ's,
    both refined, 8 bits a dimension, and a graph over those.

    Examples
    --------
    >>> candidates(1_000_000, 64, 28)
    ['RR,IVF{lists},RaBitQfs', 'DQ32,IVF{lists},PQ32x4fs', 'DQ27,PQ27', 'DQ19,IVF{lists},PQ19']
    >>> candidates(1_000_000, 64, 20, family="dq")
    ['DQ19,PQ19', 'DQ22,IVF{lists},PQ22x4fs', 'DQ11,IVF{lists},PQ11']
    """
    middle = "IVF{lists}," if n >= LEAST_FOR_LISTS else ""

    def heavy(template: str) -> float:
        return weight(fill(template, n), n, d, metric)

    def longest(most: int, template: Callable[[int], str]) -> list[str]:
        """The template of the longest code that fits."""
        low, high = 0, most
        while low < high:
            size = (low + high + 1) // 2
            fits = max_bytes is None or heavy(template(size)) <= max_bytes
            low, high = (size, high) if fits else (low, size - 1)
        return [template(low)] if low else []

    templates = _refined(d, middle)
    templates += longest(-(-d // 2), lambda size: f"DQ{size},{middle}PQ{size}x4fs")
    if n >= LEAST_FOR_BYTES:
        bytes_most = min(d, LONGEST_CODE)
        templates += longest(bytes_most, lambda size: f"DQ{size},{middle}PQ{size}")
        if middle and max_bytes is not None:
            # Without ids there is room for a longer code.
            templates += longest(bytes_most, lambda size: f"DQ{size},PQ{size}")
    if family == "all":
        templates += _of_faiss(d, middle)
    weighed = {template: heavy(template) for template in templates}
    fit = [one for one in weighed if max_bytes is None or weighed[one] <= max_bytes]
    return sorted(fit, key=lambda template: weighed[template])


def _refined(d: int, middle: str) -> list[str]:
    """Ours, that find first and then rank; and the vectors as they are."""
    four, two = -(-d // 4), -(-d // 2)
    return [
        *(f"DQ{four},{middle}PQ{four}x4fs,{end}" for end in REFINEMENTS),
        *(f"DQ{two},{middle}PQ{two}x4fs,{end}" for end in REFINEMENTS[1:3]),
        f"{middle}Flat",
    ]


def _of_faiss(d: int, middle: str) -> list[str]:
    """What FAISS has without a DQ."""
    four, two = -(-d // 4), -(-d // 2)
    pads = {
        parts: "" if d % parts == 0 else f"Pad{each * parts},"
        for parts, each in ((four, 4), (two, 2))
    }
    return [
        *(f"{pads[four]}{middle}PQ{four}x4fs,{end}" for end in REFINEMENTS[2:]),
        *(f"{pads[two]}{middle}PQ{two}x4fs,{end}" for end in REFINEMENTS[2:]),
        *(f"RR,{middle}RaBitQfs,{end}" for end in REFINEMENTS[2:]),
        f"RR,{middle}RaBitQfs",
        f"{middle}SQ8",
        "HNSW16_SQ8",
    ]
