"""The suites: name -> what is tried, and what is allowed; the table in docs/reliability.md."""

from __future__ import annotations

TYPED = "an error of `dqindex.errors` in one line, or the same answer"

SUITES: dict[str, tuple[str, str]] = {
    "mutated model": (
        "A model's file: bits flipped, file cut, overwritten or extended; each field of its header "
        "edited.",
        TYPED,
    ),
    "mutated index folder": (
        "Each file of an index folder: bits flipped, file cut, overwritten, removed or swapped "
        "with another index's; each field of the manifest edited.",
        TYPED,
    ),
    "mutated map": (
        "A map of semantic IDs: bits flipped, file cut, overwritten or extended; its metadata and "
        "columns edited.",
        TYPED,
    ),
    "mutated results": (
        "A file of bench results: bits flipped, file cut, lines removed; each field edited.",
        TYPED,
    ),
    "mutated truth cache": (
        "The cache of exact neighbours: as for a model, and the cache of other vectors under its "
        "name.",
        "the right neighbours",
    ),
    "mutated vectors": (
        "Vectors in every format: bits flipped, file cut or overwritten, values edited.",
        "an error of `dqindex.errors` in one line, or the right answer for the changed file",
    ),
    "values": (
        "Scales from 1e-38 to 1e38, outliers, constants, duplicates, few distinct vectors, widths "
        "of 1 to 4,096, all metrics.",
        "an error of `dqindex.errors` in one line, or the answer of exact search",
    ),
    "kills": (
        "SIGKILL at each create, write, fsync, rename, truncate and unlink of every command that "
        "writes, and in the middle of each write.",
        "the old output complete, or the new one; the next write removes temporary files",
    ),
    "failing writes": (
        "A full disk, an I/O error and a short write at each of those calls.",
        "exit code 1 with one clear line and the old output, or exit code 0 and the new one",
    ),
    "writers against writers": (
        "Processes that write the same output at the same time.",
        "each change is refused as busy or is in the result; none is lost",
    ),
    "readers against writers": (
        "Reads of an output while other processes replace it or add to it.",
        "the answer of one complete version",
    ),
}
