"""Write the golden files of a format version: run once, when the version is new, and commit.

    python tests/golden/make.py [model] [index] [map] [bench]

A file that is there is never written again: it stands for what that version wrote.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from dqindex import DQModel, build_index, open_vectors, semantic_ids
from dqindex.bench.results import FORMAT_VERSION as BENCH_VERSION
from dqindex.index.folder import FORMAT_VERSION as INDEX_VERSION
from dqindex.quantizer.model_file import FORMAT_VERSION as MODEL_VERSION
from dqindex.sids.map_file import FORMAT_VERSION as MAP_VERSION

HERE = Path(__file__).parent


def rows() -> np.ndarray:
    """300 vectors of width 6, the same on every machine: no BLAS has a hand in them."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(300, 6)) * [4, 3, 2, 1, 0.5, 0.1]).astype(np.float32)


def make_model(x: np.ndarray) -> None:
    """A model, the vectors, and the codes that it gives them."""
    model = DQModel(2, [4, 6], coarse=(3,)).fit(x)
    model.save(HERE / f"model-v{MODEL_VERSION}.safetensors")
    np.savez(HERE / f"model-v{MODEL_VERSION}.npz", x=x, codes=model.encode(x))


def make_index(x: np.ndarray) -> None:
    """An index with ids, and what it finds."""
    ids = np.array([f"i{row}" for row in range(300)])
    index = build_index(open_vectors(x, ids=ids), "DQ2,IVF4,PQ2x4")
    index.save(HERE / f"index-v{INDEX_VERSION}")
    found = index.search(x[:5], 3)
    np.savez(
        HERE / f"index-v{INDEX_VERSION}.npz",
        x=x,
        ids=found.ids.astype(str),
        distances=found.distances,
    )


def make_map(x: np.ndarray) -> None:
    """A map with ids and its model, one without ids, and where both put new items."""
    folder = HERE / f"map-v{MAP_VERSION}"
    folder.mkdir()
    ids = np.array([f"i{row}" for row in range(250)])
    new = np.array([f"i{row}" for row in range(250, 300)])
    named = semantic_ids(x[:250], ids, n_subspaces=2, n_codewords=[8, 6], coarse=(8,))
    plain = semantic_ids(x[:250], n_subspaces=3, n_codewords=4, unique="suffix")
    answers = {"x": x}
    for name, sids, more in (("named", named, new), ("plain", plain, None)):
        sids.save(folder / f"{name}.parquet")
        sids.model.save(folder / f"{name}.safetensors")
        answers |= {
            f"{name}_codes": sids.codes,
            f"{name}_base_codes": sids.base_codes,
            f"{name}_distortion": sids.distortion,
            f"{name}_appended": sids.append(x[250:], more)[1].codes,
        }
    np.savez(folder / "answers.npz", **answers)


def make_bench(x: np.ndarray) -> None:
    """Results of one method at two settings, as the command line writes them."""
    words = "run --data vectors.npy --n-queries 20 --spec DQ2,IVF4,PQ2x4 --param nprobe=1,4 "
    # A name without a folder: the results keep the command.
    name = f"bench-v{BENCH_VERSION}.jsonl"
    words += f"--threads 1 -o {name}"
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "vectors.npy", x)
        command = [sys.executable, "-m", "dqindex", "bench", *words.split()]
        subprocess.run(command, cwd=folder, check=True)
        shutil.copy(Path(folder) / name, HERE / name)


MAKERS = {
    "model": (MODEL_VERSION, make_model),
    "index": (INDEX_VERSION, make_index),
    "map": (MAP_VERSION, make_map),
    "bench": (BENCH_VERSION, make_bench),
}


def main() -> None:
    """Make what was named, or all."""
    for name in sys.argv[1:] or MAKERS:
        version, make = MAKERS[name]
        if any(HERE.glob(f"{name}-v{version}*")):
            sys.exit(f"{name}-v{version} is there already")
        else:
            make(rows())


if __name__ == "__main__":
    main()
