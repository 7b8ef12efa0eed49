"""Recall against throughput at equal bytes: DQ, FAISS's own, and the libraries users would pick.

    python benchmarks/frontier.py --data glove-50 --data text384.npy
    python benchmarks/make_data.py phrases -o phrases.npy
    python benchmarks/frontier.py --data phrases.npy --threads 1 --threads 2

Appends to results/frontier.jsonl; what is there is not measured again, and after each method it
says how long the rest takes. `dqindex bench report benchmarks/results/frontier.jsonl -o
report.html` shows it. A file is of one machine: name another with `--output`.

Nothing else should run while searches are timed. Where that costs too much, `--keep FOLDER
--build` builds all indexes beforehand, beside other work, and `--keep FOLDER` then measures those;
`--short` measures what stands next to the frontier, and `--method` and `--param` what they name.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from dqindex.bench.dataset import Dataset, Description
from dqindex.bench.run import run

OUTPUT = Path(__file__).parent / "results" / "frontier.jsonl"

# By the number of dimensions: the sizes that make sense are others.
METHODS = {
    50: [
        # At most 16 bytes a vector, all counted.
        "dqindex:DQ12,PQ12",
        "dqindex:DQ12,PQ12;score_aware=3",
        "dqindex:DQ28,PQ28x4fs;score_aware=3",
        "dqindex:DQ28,PQ28x4fs",
        "dqindex:DQ14,IVF512,PQ14x4fs",
        "dqindex:DQ7,IVF512,PQ7",
        "faiss:OPQ12_60,PQ12",
        "faiss:OPQ28_56,PQ28x4fs",
        "faiss:OPQ14_56,IVF512,PQ14x4fs",
        "faiss:RaBitQ",
        "nanopq:M=10",
        # At most 32.
        "dqindex:DQ40,IVF512,PQ40x4fs",
        "dqindex:DQ22,IVF1024,PQ22",
        "dqindex:DQ40,IVF512,PQ40x4fs;score_aware=3",
        "faiss:OPQ40_80,IVF512,PQ40x4fs",
        "faiss:OPQ22_66,IVF1024,PQ22",
        "faiss:IVF1024,RaBitQ",
        "faiss:SQ4",
        "scann:leaves=1024,reorder=none",
        "turbovec:bits=2",
        # At most 64.
        "dqindex:DQ50,IVF1024,PQ50",
        "dqindex:DQ25,IVF1024,PQ25x4fs,Refine(SQ4)",
        "dqindex:DQ24,IVF1024,PQ24x4fs,Refine(SQ6)",
        "faiss:IVF1024,PQ50",
        "faiss:OPQ24_72,IVF1024,PQ24x4fs,Refine(SQ6)",
        "faiss:IVF1024,SQ8",
        "rabitqlib:bits=4,lists=1024",
        "turbovec:bits=4",
        # Any size.
        "dqindex:DQ25,IVF1024,PQ25x4fs,Refine(SQ8)",
        "dqindex:DQ25,IVF1024,PQ25x4fs,RFlat",
        "dqindex:DQ25,IVF1024,PQ25x4fs,RFlat;score_aware=3",
        "faiss:IVF1024,PQ25x4fs,RFlat",
        "faiss:IVF1024,Flat",
        "faiss:HNSW16",
        "hnswlib",
        "usearch:dtype=i8",
        "usearch:dtype=f16",
        "voyager",
        "glass",
        "svs:bits=8,residual=0",
        "svs",
        "scann:leaves=1024",
        "scann:leaves=1024,reorder=i8",
        "rabitqlib:bits=7,lists=1024",
    ],
    384: [
        # At most 32 bytes a vector, all counted; the rotation alone is 10 of them here.
        "dqindex:DQ40,PQ40x4fs",
        "dqindex:DQ40,PQ40x4fs;score_aware=3",
        "faiss:OPQ40_400,PQ40x4fs",
        "faiss:PQ48x4fs",
        # At most 64.
        "dqindex:DQ46,PQ46",
        "dqindex:DQ46,PQ46;score_aware=3",
        "dqindex:DQ96,PQ96x4fs;score_aware=3",
        "dqindex:DQ96,PQ96x4fs",
        "dqindex:DQ64,IVF256,PQ64x4fs",
        "faiss:OPQ46_414,PQ46",
        "faiss:OPQ96,PQ96x4fs",
        "faiss:OPQ64,IVF256,PQ64x4fs",
        "faiss:RaBitQ",
        "nanopq:M=32",
        # Any size.
        "dqindex:DQ96,IVF256,PQ96x4fs",
        "dqindex:DQ96,PQ96",
        "dqindex:DQ192,PQ192",
        "dqindex:DQ48,IVF256,PQ48x4fs,Refine(SQ8)",
        "dqindex:DQ96,IVF256,PQ96x4fs,Refine(SQ8)",
        "dqindex:DQ96,IVF256,PQ96x4fs,Refine(SQ8);score_aware=3",
        "dqindex:DQ96,IVF256,PQ96x4fs,RFlat",
        "dqindex:DQ192,IVF256,PQ192x4fs,Refine(SQ8)",
        "faiss:IVF256,PQ96x4fs,Refine(SQ8)",
        "faiss:OPQ96,IVF256,PQ96x4fs,Refine(SQ8)",
        "faiss:IVF256,PQ192x4fs,RFlat",
        "faiss:IVF256,SQ8",
        "faiss:IVF256,RaBitQ",
        "faiss:HNSW16",
        "hnswlib",
        "usearch:dtype=i8",
        "usearch:dtype=f16",
        "voyager",
        "glass",
        "svs:bits=8,residual=0",
        "svs",
        "scann:leaves=256",
        "scann:leaves=256,reorder=i8",
        "scann:leaves=256,reorder=none",
        "turbovec:bits=2",
        "turbovec:bits=4",
        "rabitqlib:bits=4,lists=256",
        "rabitqlib:bits=7,lists=256",
    ],
    # The generated million; the lists are those of a million vectors.
    256: [
        # At most 16 bytes a vector, all counted.
        "dqindex:DQ15,PQ15",
        "dqindex:DQ15,PQ15;score_aware=3",
        "dqindex:DQ30,PQ30x4fs;score_aware=3",
        "dqindex:DQ12,IVF1024,PQ12x4fs;score_aware=3",
        "faiss:OPQ15_255,PQ15",
        "faiss:OPQ28_280,PQ28x4fs",
        # At most 32.
        "dqindex:DQ31,PQ31;score_aware=3",
        "dqindex:DQ62,PQ62x4fs;score_aware=3",
        "dqindex:DQ44,IVF1024,PQ44x4fs;score_aware=3",
        "dqindex:DQ22,IVF1024,PQ22;score_aware=3",
        "faiss:PQ64x4fs",
        "faiss:OPQ44_264,IVF1024,PQ44x4fs",
        # At most 64.
        "dqindex:DQ62,PQ62;score_aware=3",
        "dqindex:DQ104,IVF1024,PQ104x4fs;score_aware=3",
        "dqindex:DQ54,IVF1024,PQ54;score_aware=3",
        "faiss:IVF1024,RaBitQfs",
        "faiss:RaBitQ",
        "nanopq:M=32",
        # Any size.
        "dqindex:DQ64,IVF1024,PQ64x4fs,Refine(SQ8)",
        "dqindex:DQ64,IVF1024,PQ64x4fs,Refine(SQ8);score_aware=3",
        "dqindex:DQ64,IVF1024,PQ64x4fs,RFlat;score_aware=3",
        "dqindex:DQ128,IVF1024,PQ128x4fs,Refine(SQ8);score_aware=3",
        "faiss:IVF1024,PQ64x4fs,Refine(SQ8)",
        "faiss:IVF1024,PQ128x4fs,RFlat",
        "faiss:RR,IVF1024,RaBitQfs,Refine(SQ8)",
        "faiss:IVF1024,SQ8",
        "faiss:HNSW16",
        "faiss:HNSW16_SQ8",
        "hnswlib",
        "usearch:dtype=i8",
        "usearch:dtype=f16",
        "voyager",
        "glass",
        "svs:bits=8,residual=0",
        "svs",
        "scann:leaves=1024",
        "scann:leaves=1024,reorder=i8",
        "scann:leaves=1024,reorder=none",
        "turbovec:bits=2",
        "turbovec:bits=4",
        "rabitqlib:bits=4,lists=1024",
        "rabitqlib:bits=7,lists=1024",
    ],
}

# What stands on the frontier or next to it, for where there is no time for all.
SHORT = {
    50: [
        # At most 16 bytes a vector, all counted.
        "dqindex:DQ28,PQ28x4fs;score_aware=3",
        "dqindex:DQ12,PQ12;score_aware=3",
        "dqindex:DQ14,IVF512,PQ14x4fs;score_aware=3",
        "faiss:OPQ28_56,PQ28x4fs",
        # At most 32.
        "dqindex:DQ40,IVF512,PQ40x4fs;score_aware=3",
        "dqindex:DQ22,IVF1024,PQ22;score_aware=3",
        "faiss:OPQ40_80,IVF512,PQ40x4fs",
        "scann:leaves=1024,reorder=none",
        # At most 64.
        "dqindex:DQ24,IVF1024,PQ24x4fs,Refine(SQ6);score_aware=3",
        "dqindex:DQ50,IVF1024,PQ50",
        "faiss:Pad52,IVF1024,PQ26x4fs,Refine(SQ6)",
        "rabitqlib:bits=4,lists=1024",
        # Any size.
        "dqindex:DQ25,IVF1024,PQ25x4fs,RFlat",
        "dqindex:DQ25,IVF1024,PQ25x4fs,RFlat;score_aware=3",
        "faiss:IVF1024,PQ25x4fs,RFlat",
        "scann:leaves=1024",
        "scann:leaves=1024,reorder=i8",
        "rabitqlib:bits=7,lists=1024",
        "glass",
    ],
    384: [
        # At most 32 bytes a vector, all counted.
        "dqindex:DQ40,PQ40x4fs;score_aware=3",
        "faiss:PQ48x4fs",
        # At most 64.
        "dqindex:DQ64,IVF256,PQ64x4fs;score_aware=3",
        "dqindex:DQ96,PQ96x4fs;score_aware=3",
        "dqindex:DQ46,PQ46;score_aware=3",
        "faiss:IVF256,PQ64x4fs",
        # Any size.
        "dqindex:DQ96,IVF256,PQ96x4fs,Refine(SQ8)",
        "dqindex:DQ96,IVF256,PQ96x4fs,Refine(SQ8);score_aware=3",
        "dqindex:DQ96,IVF256,PQ96x4fs,RFlat;score_aware=3",
        "dqindex:DQ192,IVF256,PQ192x4fs,Refine(SQ8);score_aware=3",
        "faiss:IVF256,PQ96x4fs,Refine(SQ8)",
        "faiss:IVF256,PQ192x4fs,RFlat",
        "scann:leaves=256",
        "scann:leaves=256,reorder=i8",
        "rabitqlib:bits=7,lists=256",
        "glass",
        "hnswlib",
        "svs",
        "faiss:OPQ96,IVF256,PQ96x4fs,Refine(SQ8)",
    ],
    256: [
        # Any size.
        "dqindex:DQ64,IVF1024,PQ64x4fs,Refine(SQ8);score_aware=3",
        "faiss:IVF1024,PQ64x4fs,Refine(SQ8)",
        "rabitqlib:bits=7,lists=1024",
        "scann:leaves=1024,reorder=i8",
        # At most 64 bytes a vector, all counted.
        "dqindex:DQ104,IVF1024,PQ104x4fs;score_aware=3",
        "faiss:IVF1024,RaBitQfs",
        # At most 32.
        "dqindex:DQ44,IVF1024,PQ44x4fs;score_aware=3",
        "faiss:IVF1024,PQ32x4fs",
        # At most 16.
        "dqindex:DQ30,PQ30x4fs;score_aware=3",
        "dqindex:DQ12,IVF1024,PQ12x4fs;score_aware=3",
        "faiss:Pad270,PQ30x4fs",
        # Any size again.
        "dqindex:DQ64,IVF1024,PQ64x4fs,RFlat;score_aware=3",
        "dqindex:DQ128,IVF1024,PQ128x4fs,Refine(SQ8);score_aware=3",
        "faiss:IVF1024,PQ128x4fs,RFlat",
        "scann:leaves=1024",
        "glass",
    ],
}


@click.command()
@click.option("--data", "names", multiple=True, required=True)
@click.option("--threads", multiple=True, type=click.IntRange(min=1), default=(1,))
@click.option("--short", is_flag=True, help="What stands on the frontier or next to it.")
@click.option("--method", "chosen", multiple=True, help="Only these.")
@click.option("--param", "grid", multiple=True, metavar="NAME=V,V", help="Instead of the grid.")
@click.option("--output", type=Path, default=OUTPUT)
@click.option("--keep", type=Path, help="Where indexes are kept for the next run.")
@click.option("--build", is_flag=True, help="Build what is not kept, and measure nothing.")
def main(
    names: tuple[str, ...],
    threads: tuple[int, ...],
    short: bool,
    chosen: tuple[str, ...],
    grid: tuple[str, ...],
    output: Path,
    keep: Path | None,
    build: bool,
) -> None:
    """Measure every method on every data set, on one thread or as many as are given."""
    arguments = [Path(word).name for word in sys.argv[1:]]
    command = shlex.join(["python", "benchmarks/frontier.py", *arguments])
    values = {
        name: [float(value) for value in found.split(",")]
        for name, _, found in (one.partition("=") for one in grid)
    }
    for name in names:
        description = Description(name, None, "cosine", 1000, 0)
        width = Dataset(description).base.shape[1]
        outcome = run(
            description,
            chosen or (SHORT if short else METHODS)[width],
            output,
            threads=threads,
            grid=values,
            auto=True,
            command=command,
            keep=keep,
            only_build=build,
            say=lambda line: print(line, flush=True),
        )
        if outcome.failed:
            sys.exit(f"failed: {', '.join(outcome.failed)}")


if __name__ == "__main__":
    main()
