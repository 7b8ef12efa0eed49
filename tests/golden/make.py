"""Write the golden files of a format version: run once, when the version is new, and commit.

python tests/golden/make.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dqindex import DQModel, build_index, open_vectors
from dqindex.index.folder import FORMAT_VERSION
from dqindex.quantizer.model_file import FORMAT_VERSION as MODEL_VERSION

HERE = Path(__file__).parent


def main() -> None:
    """A model, an index with ids, the vectors, and what both answer."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 6)) * [4, 3, 2, 1, 0.5, 0.1]).astype(np.float32)
    model = DQModel(2, [4, 6], coarse=(3,)).fit(x)
    model.save(HERE / f"model-v{MODEL_VERSION}.safetensors")
    ids = np.array([f"i{row}" for row in range(300)])
    index = build_index(open_vectors(x, ids=ids), "DQ2,IVF4,PQ2x4")
    index.save(HERE / f"index-v{FORMAT_VERSION}")
    found = index.search(x[:5], 3)
    np.savez(
        HERE / "answers-v1.npz",
        x=x,
        codes=model.encode(x),
        ids=found.ids.astype(str),
        distances=found.distances,
    )


if __name__ == "__main__":
    main()
