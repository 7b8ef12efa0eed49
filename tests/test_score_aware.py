"""Score-aware codes: less loss than the nearest codewords, the same everywhere, plain FAISS."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import faiss
import numpy as np
import pytest
from conftest import clustered
from stock_faiss import StockFaiss

from dqindex import build_index, build_like, exact_neighbors, merge_indexes, open_index
from dqindex.errors import FileFormatError, InputError, SpecError
from dqindex.index.anatomy import dissect
from dqindex.index.codes import flat_codes, list_codes, list_ids, lists_of
from dqindex.index.score_aware import origin_of
from dqindex.quantizer import score_aware
from dqindex.quantizer.score_aware import ScoreAwareEncoder, directions, train_score_aware

# Codes of 4 and of 8 bits, alone and in lists, of vectors and of residuals, refined, without DQ,
# behind a bias, and of an odd number.
SPECS = (
    "DQ8,PQ8x4fs",
    "DQ6,PQ6",
    "DQ8,IVF16,PQ8x4fs",
    "DQ8,IVF16,PQ8x4fsr",
    "DQ6,IVF16,PQ6",
    "DQ8,IVF16,PQ8x4fs,RFlat",
    "IVF16,PQ8x4",
    "PCA20,DQ5_20,PQ5x4fs",
)


@pytest.fixture(scope="module")
def x():
    return clustered(2000, 24)


def codes_of(index):
    """Codes of all rows, in their order."""
    core = dissect(index.index).core
    if not hasattr(core, "nlist"):
        return flat_codes(core)
    lists = lists_of(core)
    rows = [np.array(list_ids(lists, number)) for number in range(core.nlist)]
    held = [np.array(list_codes(core, number)) for number in range(core.nlist)]
    return np.concatenate(held)[np.argsort(np.concatenate(rows))]


def loss(x, decoded, eta):
    """The definition: across and along, for each row."""
    error, u = x - decoded, x / np.linalg.norm(x, axis=1, keepdims=True)
    along = (error * u).sum(axis=1)
    return (error**2).sum(axis=1) + (eta - 1) * along**2


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(200, 6)).astype(np.float32)
    return rows, [rng.normal(size=(5, 2)).astype(np.float32) for _ in range(3)]


def decode(codes, books):
    return np.concatenate([book[codes[:, level]] for level, book in enumerate(books)], axis=1)


def test_codes_are_where_no_subspace_alone_can_improve(small):
    rows, books = small
    eta = 4.0
    codes = ScoreAwareEncoder(books).encode(rows, directions(rows, eta))
    found = loss(rows, decode(codes, books), eta)
    every = np.array(list(itertools.product(range(5), repeat=3)))
    all_losses = np.stack([loss(rows, decode(one[None], books), eta) for one in every], axis=1)
    nearest = np.stack(
        [
            ((rows[:, 2 * i : 2 * i + 2, None] - books[i].T) ** 2).sum(axis=1).argmin(1)
            for i in range(3)
        ],
        axis=1,
    )
    start = loss(rows, decode(nearest, books), eta)
    assert (found <= start * 1.0001).all()
    assert found.mean() < 0.9 * start.mean()
    # The best of all 125 codes is found for most rows, and little is lost for the others.
    best = all_losses.min(axis=1)
    assert (found <= best * 1.0001).mean() > 0.8
    assert found.mean() < 1.1 * best.mean()
    # No single codeword of a row that has settled gives less.
    settled = 0
    for level in range(3):
        for code in range(5):
            other = codes.copy()
            other[:, level] = code
            settled += (loss(rows, decode(other, books), eta) >= found * 0.9999).mean()
    assert settled / 15 > 0.99


@pytest.mark.parametrize("size", [3, 16, 64])
def test_few_codewords_by_the_definition(size):
    rng = np.random.default_rng(size)
    rows = rng.normal(size=(700, 4)).astype(np.float32)
    book = rng.normal(size=(size, 4)).astype(np.float32)
    codes = ScoreAwareEncoder([book]).encode(rows, directions(rows, 3.0))
    # With one subspace, descent ends at the codeword of the least loss.
    losses = np.stack([loss(rows, one[None], 3.0) for one in book], axis=1)
    found = losses[np.arange(700), codes[:, 0]]
    np.testing.assert_allclose(found, losses.min(axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [65, 256, 300])
def test_many_codewords_lose_as_little_as_few(size, monkeypatch):
    rng = np.random.default_rng(size)
    rows = rng.normal(size=(700, 24)).astype(np.float32)
    books = [rng.normal(size=(size, 4)).astype(np.float32) for _ in range(6)]
    along = directions(rows, 4.0)
    codes = ScoreAwareEncoder(books).encode(rows, along)
    assert codes.dtype == (np.uint8 if size <= 256 else np.uint16)
    nearest = np.stack(
        [
            ((rows[:, 4 * i : 4 * i + 4, None] - book.T) ** 2).sum(axis=1).argmin(axis=1)
            for i, book in enumerate(books)
        ],
        axis=1,
    )
    found, start = (loss(rows, decode(one, books), 4.0) for one in (codes, nearest))
    assert (found <= start * 1.0001).all()
    assert found.mean() < 0.9 * start.mean()
    if size <= 256:
        monkeypatch.setattr(score_aware, "FEW", 256)
        each = ScoreAwareEncoder(books).encode(rows, along)
        assert found.mean() < 1.1 * loss(rows, decode(each, books), 4.0).mean()


def test_equal_codewords_and_zero_vectors(small):
    rows, books = small
    rows = rows.copy()
    rows[:20] = 0
    along = directions(rows, 4.0)
    assert not along[:20].any()
    np.testing.assert_allclose(np.linalg.norm(along[20:], axis=1), np.sqrt(3), rtol=1e-5)
    assert not directions(rows * np.float32(1e-24), 4.0).any()
    doubled = [np.concatenate([book, book]) for book in books]
    codes = ScoreAwareEncoder(doubled).encode(rows, along)
    assert codes.max() < 5  # the first of equals
    np.testing.assert_array_equal(codes, ScoreAwareEncoder(books).encode(rows, along))


def test_training_lowers_the_loss(x):
    eta, books = 4.0, [clustered(16, 4, seed=level) for level in range(6)]
    along = directions(x, eta)
    trained = train_score_aware(x, along, books)
    before, after = (
        loss(x, decode(ScoreAwareEncoder(some).encode(x, along), some), eta).mean()
        for some in (books, trained)
    )
    assert after < 0.9 * before
    np.testing.assert_array_equal(books[0], clustered(16, 4, seed=0))  # a copy is trained
    # A codeword that no row has stays.
    far = [np.concatenate([book, np.full((1, 4), 1e3, np.float32)]) for book in books]
    assert all((book[-1] == 1e3).all() for book in train_score_aware(x, along, far))


@pytest.mark.parametrize(
    ("spec", "metric"),
    [("DQ8,PQ8x4fs", "cosine"), ("OPQ4,PQ4", "ip"), ("PQ8", "ip"), ("RR,L2norm,PQ8", "cosine")],
)
def test_directions_go_along_with_transforms(x, spec, metric):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    index = build_index(x, spec, metric=metric)
    ahead = x
    for link in dissect(index.index).chain:
        ahead = link.apply(ahead)
    ahead = ahead - origin_of(dissect(index.index).chain)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    np.testing.assert_allclose(ahead @ ahead[:9].T, unit @ unit[:9].T, atol=1e-4)


@pytest.mark.parametrize("metric", ["cosine", "ip"])
@pytest.mark.parametrize("spec", SPECS)
def test_codes_of_an_index_have_less_loss_than_the_nearest(x, spec, metric):
    plain, aware = (build_index(x, spec, metric=metric, score_aware=eta) for eta in (1, 4))
    losses = []
    for index in (plain, aware):
        parts = dissect(index.index)
        turned = x.copy()
        for link in parts.chain:
            turned = link.apply(turned)
        ahead = turned - origin_of(parts.chain)
        bits = np.unpackbits(codes_of(index), axis=1, bitorder="little")
        pq = parts.pq
        each = bits[:, : pq.M * pq.nbits].reshape(len(x), pq.M, pq.nbits)
        codes = (each * 2 ** np.arange(pq.nbits)).sum(axis=2)
        books = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub)
        decoded = decode(codes, list(books))
        if parts.encodes_residuals:
            lists = parts.ivf.quantizer.assign(turned, 1)[:, 0]
            decoded += parts.ivf.quantizer.reconstruct_batch(lists)
        losses.append(loss(ahead, decoded - (turned - ahead), 4.0).mean())
    assert losses[1] < 0.95 * losses[0]
    assert aware.manifest["settings"]["score_aware"] == 4


def test_a_weight_of_one_gives_the_plain_index_byte_for_byte(x):
    for spec in SPECS:
        plain = build_index(x, spec, metric="cosine")
        one = build_index(x, spec, metric="cosine", score_aware=1)
        assert plain.manifest == one.manifest
        np.testing.assert_array_equal(
            faiss.serialize_index(plain.index), faiss.serialize_index(one.index)
        )


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_bytes_at_any_thread_count_and_block_size(x, spec):
    made = [
        build_index(x, spec, metric="cosine", score_aware=4, threads=threads, block_rows=rows)
        for threads, rows in ((1, None), (2, None), (2, 777))
    ]
    first = faiss.serialize_index(made[0].index)
    for other in made[1:]:
        np.testing.assert_array_equal(first, faiss.serialize_index(other.index))


@pytest.mark.parametrize("spec", ["DQ16,PQ16x4fs", "DQ16,IVF16,PQ16x4fsr", "DQ8,IVF16,PQ8"])
def test_more_neighbours_are_found(spec):
    # In few dimensions a weight gains nothing: there an error along a vector is no small part.
    x = np.random.default_rng(0).normal(size=(6500, 64)) * np.exp(-np.arange(64) / 64 * 1.5)
    base, queries = np.split(x.astype(np.float32), [6000])
    true, _ = exact_neighbors(base, queries, 10, metric="cosine")
    found = []
    for eta in (1, 4):
        index = build_index(base, spec, metric="cosine", score_aware=eta)
        few = {"nprobe": 16} if "IVF" in spec else {}
        some = index.search(queries, 20, parameters=few).positions
        found.append((some[:, :, None] == true[:, None]).any(axis=1).mean())
    assert found[1] > found[0] + 0.015


@pytest.mark.parametrize("spec", SPECS)
def test_changes_keep_encoding_so(x, spec, tmp_path):
    whole = build_index(x, spec, metric="cosine", score_aware=4)
    expected = codes_of(whole)
    like = build_like(x[:1000], whole)
    like.save(tmp_path / "like")
    opened = open_index(tmp_path / "like")
    opened.add(x[1000:1600])
    opened.save(tmp_path / "like")
    second = build_like(x[1600:], tmp_path / "like")
    merged = merge_indexes([tmp_path / "like", second])
    np.testing.assert_array_equal(codes_of(merged), expected)
    # Others in their rows, and then those again.
    merged.update(x[:700], ids=np.arange(700, 1400))
    np.testing.assert_array_equal(codes_of(merged)[700:1400], expected[:700])
    merged.update(x[700:1400], ids=np.arange(700, 1400))
    np.testing.assert_array_equal(codes_of(merged), expected)
    merged.remove(np.arange(1000))
    np.testing.assert_array_equal(codes_of(merged), expected[1000:])
    queries = x[:20]
    few = {"nprobe": 16} if "IVF" in spec else {}
    again = whole.search(queries, 5, parameters=few)
    rest = merged.search(queries, 5, parameters=few)
    stays = (again.positions >= 1000).all(axis=1)
    np.testing.assert_array_equal(again.distances[stays], rest.distances[stays])


def test_codes_of_another_weight_are_not_merged(x, tmp_path, monkeypatch):
    # The codebooks stay those of k-means, so that they do not tell the indexes apart.
    monkeypatch.setattr(score_aware, "ROUNDS", 0)
    made = [build_index(x, "DQ8,PQ8x4fs", metric="cosine", score_aware=eta) for eta in (1, 2, 4)]
    assert len({one.training for one in made}) == 3
    assert (codes_of(made[0]) != codes_of(made[2])).any()
    for number, one in enumerate(made):
        one.save(tmp_path / str(number))
    with pytest.raises(InputError, match=r"index 1: its codes have score_aware 4, .*index 0 1; "):
        merge_indexes([made[0], made[2]])
    with pytest.raises(InputError, match=r"0: its codes have score_aware 1, .*/1 2; "):
        merge_indexes([tmp_path / "1", tmp_path / "0"])
    assert len(merge_indexes([made[2], build_like(x[:9], made[2])])) == len(x) + 9


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_stock_faiss_reads_them_and_gives_the_same_answers(x, spec, metric, tmp_path):
    index = build_index(x, spec, metric=metric, score_aware=3)
    index.save(tmp_path / "i")
    queries = np.ascontiguousarray(x[:40])
    np.save(tmp_path / "q.npy", queries)
    with StockFaiss() as stock:
        n, labels, distances = stock.search(tmp_path / "i", tmp_path / "q.npy", 7)
    assert n == len(x)
    few = {"nprobe": 16.0} if "IVF" in spec else {}
    if "RFlat" in spec:
        few["k_factor_rf"] = len(x) / 7
    ours = open_index(tmp_path / "i").search(queries, 7, parameters=few)
    np.testing.assert_array_equal(ours.positions, labels)
    np.testing.assert_allclose(ours.distances, distances, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "metric", "words"),
    [
        ("DQ8,PQ8x4fs", "l2", "metric is l2"),
        ("SQ8", "cosine", "is for product codes that are scanned"),
        ("IVF16,Flat", "ip", "is for product codes that are scanned"),
        ("IVF16,PQ6+6", "cosine", "is for product codes that are scanned"),
        ("HNSW8_PQ6", "cosine", "is for product codes that are scanned"),
    ],
)
def test_where_it_can_not_be(x, spec, metric, words):
    with pytest.raises(SpecError, match=words):
        build_index(x, spec, metric=metric, score_aware=2)


@pytest.mark.parametrize("eta", [0.99, -1, float("nan"), float("inf"), "2", True])
def test_what_it_can_not_be(x, eta):
    with pytest.raises(InputError, match=r"score_aware is .*a finite number of at least 1"):
        build_index(x, "DQ8,PQ8x4fs", metric="cosine", score_aware=eta)


def test_a_manifest_that_says_nonsense(x, tmp_path):
    index = build_index(x, "DQ8,PQ8x4fs", metric="cosine", score_aware=2)
    index.manifest["settings"]["score_aware"] = 0.5
    index.save(tmp_path / "i")
    with pytest.raises(FileFormatError, match=r"settings.score_aware is 0.5"):
        open_index(tmp_path / "i")


def test_an_index_of_before_has_the_nearest_codewords(x, tmp_path):
    index = build_index(x, "DQ8,PQ8x4fs", metric="cosine")
    del index.manifest["settings"]["score_aware"]
    index.save(tmp_path / "i")
    opened = open_index(tmp_path / "i")
    opened.add(x[:10])
    np.testing.assert_array_equal(codes_of(opened)[-10:], codes_of(opened)[:10])


def test_command_line(x, run, tmp_path: Path):
    np.save(tmp_path / "x.npy", x)
    spec = ("--spec", "DQ8,IVF16,PQ8x4fs")
    build = ("build", "x.npy", "-o", "i", "--metric", "cosine")
    assert run(*build, *spec, "--score-aware", "4").returncode == 0
    expected = build_index(x, spec[1], metric="cosine", score_aware=4)
    np.testing.assert_array_equal(codes_of(open_index(tmp_path / "i")), codes_of(expected))
    told = json.loads(run("info", "i", "--json").stdout)
    assert told["settings"]["score_aware"] == 4
    assert run("add", "i", "x.npy").returncode == 0
    twice = codes_of(open_index(tmp_path / "i"))
    np.testing.assert_array_equal(twice, np.concatenate([codes_of(expected)] * 2))
    for eta in ("nan", "0.5"):
        done = run(*build, *spec, "--score-aware", eta)
        assert done.returncode == 1
        assert f"--score-aware is {eta}; it must be a finite number" in done.stderr
        assert done.stderr.count("\n") == 1
    done = run("build", "x.npy", "-o", "j", "--like", "i", "--score-aware", "2")
    assert done.returncode == 2
    assert "--score-aware is for a training" in done.stderr
