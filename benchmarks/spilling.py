"""What a second list for each vector is worth: codes to scan for a share of the true neighbours.

    python benchmarks/spilling.py --data glove-50 [--rows N] [--lists 1024]

A vector that lies between lists is missed where its own is not visited. Here it is put into a
second one too: the second nearest, for all vectors or for those at a border only, or the one whose
residual is most nearly at right angles to the first (SOAR, Sun et al. 2023). Codes are counted, not
time: stock FAISS does not know that two entries of its lists are one vector, and returns it twice.
"""

from __future__ import annotations

import argparse
from typing import Any

import common
import numpy as np

import dqindex
from dqindex.index.anatomy import dissect

QUERIES, NEIGHBOURS, NEAR, BORDER, SOAR = 1000, 10, 16, 1.1, 1.0
COVERAGES = (0.9, 0.95, 0.98)


def second_lists(x: np.ndarray, centroids: np.ndarray, way: str) -> tuple[np.ndarray, np.ndarray]:
    """The first list of every vector, and the second; -1 for none."""
    near, distances = dqindex.exact_neighbors(centroids, x, NEAR)
    first, second = near[:, 0], near[:, 1].copy()
    if way == "none":
        second[:] = -1
    elif way == "at borders":
        second[distances[:, 1] > BORDER * distances[:, 0]] = -1
    elif way == "SOAR":
        residuals = x[:, None] - centroids[near]
        unit = residuals[:, 0] / np.linalg.norm(residuals[:, 0], axis=1, keepdims=True)
        along = np.einsum("ijk,ik->ij", residuals, unit)
        loss = distances + SOAR * along**2
        loss[:, 0] = np.inf
        second = near[np.arange(len(x)), loss.argmin(axis=1)]
    return first, second


def measure(name: str, x: np.ndarray, lists: int) -> list[dict[str, Any]]:
    """Codes to scan by the way of spilling and the share of neighbours that is to be covered."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    held = np.random.default_rng(0).choice(len(x), QUERIES, replace=False)
    base, queries = np.delete(x, held, axis=0), x[held]
    true, _ = dqindex.exact_neighbors(base, queries, NEIGHBOURS, metric="cosine")
    index = dqindex.build_index(base, f"IVF{lists},SQ8", metric="cosine", threads=1)
    centroids = dissect(index.index).ivf.quantizer.reconstruct_n(0, lists)
    order, _ = dqindex.exact_neighbors(centroids, queries, lists)
    ranks = np.argsort(order, axis=1)
    rows = []
    for way in ("none", "all", "at borders", "SOAR"):
        first, second = second_lists(base, centroids, way)
        sizes = np.bincount(first, minlength=lists) + np.bincount(
            second[second >= 0], minlength=lists
        )
        each = np.arange(QUERIES)[:, None]
        reached = ranks[each, first[true]]
        other = np.where(second[true] >= 0, ranks[each, second[true]], lists)
        reached = np.minimum(reached, other)
        scanned = np.cumsum(sizes[order], axis=1).mean(axis=0)
        covered = np.array([(reached < probes).mean() for probes in range(1, lists + 1)])
        for share in COVERAGES:
            probes = int(np.searchsorted(covered, share)) + 1
            rows.append(
                {
                    "data": name,
                    "rows": len(base),
                    "lists": lists,
                    "way": way,
                    "coverage": share,
                    "nprobe": probes,
                    "codes": round(float(scanned[probes - 1])),
                    "entries": round(float(sizes.sum() / len(base)), 3),
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--rows", type=int, help="only so many vectors, drawn at random")
    parser.add_argument("--lists", type=int, default=1024)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for data in arguments.data:
        name, x = common.load(data)
        if arguments.rows is not None:
            x = np.random.default_rng(1).choice(x, arguments.rows, replace=False)
        rows += measure(name, x, arguments.lists)
    print(common.write("spilling", rows).name)


if __name__ == "__main__":
    main()
