"""What each word of a spec may be: patterns, places, and the reasons why not.

The names and forms are those of FAISS's ``index_factory``. What it crashes on, or builds of another
metric than asked, or can't search, add to or write afterwards, is refused here with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

# No number in a spec is larger: what it stands for would not fit into memory.
LARGEST = 2**24
PQ_BITS = 4, 16
ADDITIVE_BITS = 1, 16
# FAISS pads to as many vectors a block.
BLOCK = 32


class Place(NamedTuple):
    """Where a word stands.

    Attributes
    ----------
    d : int
        Width of the vectors that reach it.
    metric : str
        Empty where it is not known yet.
    refined : bool
        Whether a refinement ranks what this finds anew.
    """

    d: int
    metric: str
    refined: bool


# The reason why a word can't stand in a place; empty where it can.
Reason = Callable[[re.Match[str], Place], str]


def _fine(_: re.Match[str], __: Place) -> str:
    return ""


def not_ip(_: re.Match[str], place: Place) -> str:
    """Why a word can't serve inner products."""
    return "FAISS ranks it by l2 whatever the metric; use l2 or cosine" * (place.metric == "ip")


def _cosine(_: re.Match[str], place: Place) -> str:
    if place.metric in ("", "cosine"):
        return ""
    return f"it takes vectors of length 1, which metric {place.metric} has not; use cosine"


def between(name: str, value: int, low: int, high: int) -> str:
    """Why `value` can't be; it is of things that `name` names."""
    return "" if low <= value <= high else f"{value} {name}; give {low} to {high}"


def parts(count: int, width: int, what: str) -> str:
    """Why `count` equal parts can't be cut from `width`."""
    if count < 1:
        return f"0 {what}; give at least 1"
    if width % count:
        return (
            f"{count} {what} do not divide the width {width}; choose a divisor, or put DQ{count} "
            "first, which pads"
        )
    return ""


def _pq(match: re.Match[str], place: Place) -> str:
    bits = between("bits a code", int(match[2] or 8), *PQ_BITS)
    return parts(int(match[1]), place.d, "subspaces") or bits


def _refined_pq(match: re.Match[str], place: Place) -> str:
    subspaces = parts(int(match[1]), place.d, "subspaces")
    return subspaces or parts(int(match[2]), place.d, "subspaces") or not_ip(match, place)


def _block(size: str | None) -> str:
    if size and (int(size) < BLOCK or int(size) % BLOCK):
        return f"blocks of {size}; give a multiple of {BLOCK}"
    return ""


def _fast_pq(match: re.Match[str], place: Place) -> str:
    return parts(int(match[1]), place.d, "subspaces") or _block(match[2])


def _norm(name: str, place: Place) -> str:
    """Why an additive quantizer can't keep norms as `name` says."""
    if name == "_Nnone" and place.metric not in ("", "ip"):
        return f"_Nnone leaves out the norm, without which it does not rank by {place.metric}"
    return ""


def _additive(match: re.Match[str], place: Place) -> str:
    for levels, bits in re.findall(r"(\d+)x(\d+)", match["levels"]):
        wrong = between("levels", int(levels), 1, 1024)
        wrong = wrong or between("bits a code", int(bits), *ADDITIVE_BITS)
        if wrong:
            return wrong
    if "splits" in match.re.groupindex:
        wrong = parts(int(match["splits"]), place.d, "splits")
    else:
        wrong = ""
    return wrong or _norm(match["norm"], place)


def _fast_additive(match: re.Match[str], place: Place) -> str:
    splits = match["splits"] if "splits" in match.re.groupindex else "1"
    wrong = parts(int(splits), place.d, "splits") or between(
        "levels", int(match["levels"]), 1, 1024
    )
    wrong = wrong or _block(match["block"])
    if wrong or not place.metric:
        return wrong
    if place.metric == "ip" and match["norm"] not in ("", "_Nnone"):
        return "for ip no norm is kept; leave out " + match["norm"]
    if place.metric != "ip" and match["norm"] not in ("_Nrq2x4", "_Nlsq2x4"):
        word = match.string.removesuffix(match["norm"])
        word += "" if match["block"] else f"_{BLOCK}"
        return f"{place.metric} needs norms, in codes of 4 bits; use {word}_Nrq2x4"
    return ""


def _panorama(match: re.Match[str], place: Place) -> str:
    return between("levels", int(match[1] or 8), 1, place.d)


def _graph_panorama(match: re.Match[str], place: Place) -> str:
    return _panorama(match, place) or not_ip(match, place)


def _graph_pq(match: re.Match[str], place: Place) -> str:
    return _pq(match, place) or not_ip(match, place)


def _lsh(match: re.Match[str], place: Place) -> str:
    bits = int(match[1] or place.d)
    if not place.refined:
        return "it counts bits that differ, which is no distance; put RFlat behind it, which ranks"
    wrong = between("bits", bits, 1, 65536)
    if not wrong and bits > place.d and not match[2]:
        wrong = f"{bits} bits of {place.d} values; use LSH{bits}r, which turns them"
    return wrong or not_ip(match, place)


class Code(NamedTuple):
    """A word that stores vectors.

    Attributes
    ----------
    pattern : str
    places : str
        Where it may stand: "alone", behind "lists", behind a "graph", in a "refinement".
    reason : function
    """

    pattern: str
    places: str
    reason: Reason = _fine


_LEVELS = r"(?P<levels>\d+x\d+)"
_MIXED = r"(?P<levels>\d+x\d+(?:_\d+x\d+)*)"
_NORM = r"(?P<norm>|_Nnone|_Nfloat|_Nc?qint[48]|_Nlsq2x4|_Nrq2x4)"
_FAST = r"(?P<levels>\d+)x4fs{}(?:_(?P<block>\d+))?" + _NORM
CODES = (
    Code("Flat", "alone lists graph refinement"),
    Code(r"SQ(?:4|6|8|fp16|bf16|tq[2-5])", "alone lists graph refinement"),
    # Behind lists it would have to store residuals, which are no integers.
    Code(r"SQ8_direct(?:_signed)?", "alone graph refinement"),
    Code(r"SQtqmse[12348]", "alone lists graph refinement", _cosine),
    Code(r"PQ(\d+)(?:x(\d+))?(?:np)?", "alone lists refinement", _pq),
    Code(r"PQ(\d+)(?:x(\d+))?(?:np)?", "graph", _graph_pq),
    Code(r"PQ(\d+)\+(\d+)", "lists", _refined_pq),
    Code(r"PQ(\d+)x4fs(?:_(\d+))?", "alone", _fast_pq),
    Code(r"PQ(\d+)x4fsr?(?:_(\d+))?", "lists", _fast_pq),
    Code(r"RQ" + _MIXED + _NORM, "alone lists", _additive),
    Code(r"LSQ" + _LEVELS + _NORM, "alone lists", _additive),
    Code(r"PL?(?:SQ|RQ)(?P<splits>\d+)x" + _LEVELS + _NORM, "alone lists", _additive),
    Code(r"(?:RQ|LSQ)" + _FAST.format(""), "alone", _fast_additive),
    Code(r"(?:RQ|LSQ)" + _FAST.format("r?"), "lists", _fast_additive),
    Code(r"(?:PRQ|PLSQ)(?P<splits>\d+)x" + _FAST.format(""), "alone", _fast_additive),
    Code(r"(?:PRQ|PLSQ)(?P<splits>\d+)x" + _FAST.format("r?"), "lists", _fast_additive),
    Code(r"RaBitQ[1-9]?", "alone lists"),
    Code(r"RaBitQ", "graph", not_ip),
    Code(r"RaBitQfs[1-9]?(?:_(\d+))?", "alone lists", lambda match, _: _block(match[1])),
    Code("FlatDedup", "lists"),
    Code(r"FlatPanorama(\d+)?", "lists", _panorama),
    Code(r"FlatPanorama(\d+)?", "graph", _graph_panorama),
    Code(r"LSH(\d+)?(r)?t?", "alone", _lsh),
)


class Transform(NamedTuple):
    """A word that changes vectors.

    Attributes
    ----------
    pattern : str
    reason, width : function
        Width of what comes out.
    """

    pattern: str
    reason: Reason
    width: Callable[[re.Match[str], int], int]


def _as_said(match: re.Match[str], d: int) -> int:
    return int(match["width"] or d)


def _power_of_two(_: re.Match[str], d: int) -> int:
    return int(1 << (d - 1).bit_length())


def _padded(match: re.Match[str], d: int) -> int:
    """Width that DQ gives: its components, and as many more as make equal parts."""
    count = int(match["parts"])
    return -(-int(match["components"] or d) // count) * count


def _pca(match: re.Match[str], place: Place) -> str:
    return between("components", int(match["width"]), 1, place.d)


def _some(match: re.Match[str], _: Place) -> str:
    return "0 components; give at least 1" if match["width"] and int(match["width"]) < 1 else ""


def _opq(match: re.Match[str], place: Place) -> str:
    return _some(match, place) or parts(int(match["parts"]), _as_said(match, place.d), "subspaces")


def _dq(match: re.Match[str], _: Place) -> str:
    if min(int(match["parts"]), int(match["components"] or 1)) < 1:
        return "it needs at least 1 subspace and 1 component"
    return ""


DQ = r"DQ(?P<parts>\d+)(?:_(?P<components>\d+))?"
TRANSFORMS = (
    Transform(DQ, _dq, _padded),
    Transform(r"PCAR?(?P<width>\d+)", _pca, _as_said),
    Transform(r"OPQ(?P<parts>\d+)(?:_(?P<width>\d+))?", _opq, _as_said),
    Transform(r"RR(?P<width>\d+)?", _some, _as_said),
    # Its number is a seed.
    Transform(r"HR\d*", _fine, _power_of_two),
    Transform(r"Pad(?P<width>\d+)", _fine, lambda match, d: max(int(match["width"]), d)),
    Transform("L2[nN]orm", _cosine, lambda _, d: d),
)

LISTS = r"IVF(\d+)([kM])?(?:_HNSW(\d+)?|\((.*)\))?"
IMI = r"IMI2x(\d+)"
GRAPH = r"HNSW(\d+)?(?:_(.+))?"
REFINE = r"Refine\((.+)\)"

# Words of FAISS that no index of ours is made of, and why.
REFUSED = (
    (r"IDMap2?", "leave out IDMap; dqindex keeps the ids beside the index"),
    (r"PCAWR?\d+", "it scales the axes, after which distances are others; use PCA or DQ"),
    (r"ITQ\d*", "it scales vectors to length 1 about their mean, after which distances are others"),
    (
        r"NSG.*|IVF\d+[kM]?_NSG.*",
        "its graph is built of all vectors at once, and takes no more; use HNSW",
    ),
    (r"HNSW\d*_(?:2x)?\d+\+PQ\d*", "it has no compact form that can be searched; use IVF…,PQ"),
    (r"MinMax(?:FP16)?", "it only encodes, and can't be searched"),
    (r"Residual\d+(?:x\d+)?", "it only encodes, and can't be searched; use IVF"),
    (r"(?:RCQ|LSCQ)\d.*", "it finds lists, and stores no vectors; use RQ or LSQ"),
    (r"SH[-0-9.e]*[gcm]?", "it counts bits that differ, which is no distance; use RaBitQ"),
    (r"ZnLattice.*", "FAISS does not write its codes to a file"),
    (r"Flat(?:L2|IP)Panorama.*", "it finds no more neighbours than a batch of it holds; use Flat"),
    (r"(?:SVS|IVFSVS|BIVF|BFlat|BHNSW|BHash|NNDescent).*", "dqindex builds no such index"),
)
