"""Methods by family: what has one colour on the page, and is told apart by its label."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

Record = dict[str, Any]

# In the order of the legend, which is that of the tones in page.css.
FAMILIES = (
    "DQ in lists, refined",
    "DQ in lists",
    "DQ, all codes",
    "DQ in a graph",
    "FAISS OPQ",
    "FAISS, others",
    "hnswlib",
    "usearch",
    "scann",
    "nanopq",
    "voyager",
    "turbovec",
    "rabitqlib",
    "glass",
    "svs",
)
OURS = FAMILIES[:4]


def label(record: Record) -> str:
    """Method as a reader calls it: our specs without a prefix."""
    method = str(record["method"])
    return method.removeprefix("dqindex:")


def family(record: Record) -> str:
    """The family of a method: ours and FAISS's by what their spec is made of, peers by library.

    Examples
    --------
    >>> family({"library": "dqindex", "method": "dqindex:DQ8,IVF64,PQ8,Refine(SQ8)"})
    'DQ in lists, refined'
    >>> family({"library": "faiss", "method": "faiss:OPQ8,PQ8"})
    'FAISS OPQ'
    """
    library = str(record["library"])
    words = str(record["method"]).partition(":")[2].split(",")
    if library == "faiss":
        return "FAISS OPQ" if words[0].startswith("OPQ") else "FAISS, others"
    if library != "dqindex":
        return library
    if any(word.startswith(("HNSW", "NSG")) for word in words):
        return "DQ in a graph"
    if not any(word.startswith(("IVF", "IMI")) for word in words):
        return "DQ, all codes"
    refined = words[-1].startswith(("RFlat", "Refine"))
    return "DQ in lists, refined" if refined else "DQ in lists"


def by_method(records: list[Record]) -> dict[str, list[Record]]:
    """Records of each method, by family, in the order of the file."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[str(record["method"])].append(record)
    return dict(sorted(groups.items(), key=lambda pair: FAMILIES.index(family(pair[1][0]))))
