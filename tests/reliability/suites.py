"""The suites: name -> what is tried, and what is allowed. The table in docs/ is made from it."""

from __future__ import annotations

TYPED = "an error of `dqindex.errors` in one line, or the same answer"

SUITES: dict[str, tuple[str, str]] = {
    "mutated model": (
        "A model's file: bits flipped, cut, overwritten, grown; each field of its header edited.",
        TYPED,
    ),
    "mutated index folder": (
        "Each file of an index folder: bits flipped, cut, overwritten, removed, swapped with "
        "another index's; each field of the manifest edited.",
        TYPED,
    ),
    "mutated map": (
        "A map of semantic IDs: bits flipped, cut, overwritten, grown; its record and columns "
        "edited.",
        TYPED,
    ),
    "mutated results": (
        "A file of bench results: bits flipped, cut, lines removed; each field edited.",
        TYPED,
    ),
    "mutated truth cache": (
        "The cache of exact neighbours: as for a model, and another cache under its name.",
        "the right neighbours",
    ),
    "mutated vectors": (
        "Vectors in every format: bits flipped, cut, overwritten, edited.",
        "an error of `dqindex.errors` in one line, or an answer that is true of the file",
    ),
    "values": (
        "Scales from 1e-38 to 1e38, outliers, constants, duplicates, few distinct vectors, widths "
        "of 1 to 4,096, all metrics.",
        "an error of `dqindex.errors` in one line, or what exact search answers",
    ),
    "kills": (
        "SIGKILL at each create, write, fsync, rename, truncate and unlink of every command that "
        "writes, and in the middle of each write.",
        "the old artefact whole, or the new; the next write sweeps what was left",
    ),
    "failing writes": (
        "A full disk, an I/O error and a short write at each of those calls.",
        "exit 1 with one clear line and the old artefact, or exit 0 and the new",
    ),
    "writers against writers": (
        "Processes that write the same artefact at once.",
        "each is refused as busy, or its work is there; nothing is lost",
    ),
    "readers against writers": (
        "Reads of an artefact while others replace it or add to it.",
        "the answer of one whole version",
    ),
}
