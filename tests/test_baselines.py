"""The neural quantisers that the family is measured against."""

import numpy as np
import pytest
from conftest import clustered

import dqindex
from dqindex.errors import InputError

torch = pytest.importorskip("torch")

from baselines import training  # noqa: E402
from baselines.autoencoder import Autoencoder  # noqa: E402
from baselines.codebook import PATIENCE, Codebook  # noqa: E402
from baselines.network import Network  # noqa: E402
from baselines.quantizer import NeuralQuantizer, model_of  # noqa: E402
from baselines.training import error_of  # noqa: E402
from sids import neural  # noqa: E402

SMALL = {"codewords": 16, "hidden": (32,), "batch": 256, "most_steps": 200}


@pytest.fixture(autouse=True)
def one_thread():
    """Tests share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def vectors():
    return clustered(1500, 12, seed=3)


@pytest.fixture(scope="module", params=["rq", "vq"])
def trained(request, vectors):
    return NeuralQuantizer(request.param, 3, **SMALL).fit(vectors)


def curve(n: int) -> np.ndarray:
    """A curve in eight dimensions: one number tells all, but no line does."""
    t = np.random.default_rng(0).uniform(-3, 3, n)
    waves = [np.sin(k * t + k) for k in range(1, 9)]
    return np.stack(waves, axis=1).astype(np.float32)


def lost(x: np.ndarray, decoded: np.ndarray) -> float:
    return float(dqindex.distortion(x, decoded) / x.var(axis=0).sum())


def test_codewords_start_as_kmeans_and_move_to_the_means_of_what_they_code():
    rows = torch.tensor([[0.0, 0.0], [0.0, 1.0], [8.0, 0.0], [8.0, 1.0]])
    book = Codebook(2, 2)
    book.start(rows, batch=4, seed=0)
    assert sorted(book.codewords.tolist()) == [[0.0, 0.5], [8.0, 0.5]]
    moved, chance = rows + 1, torch.Generator().manual_seed(0)
    for _ in range(1000):
        book.follow(moved, book.nearest(moved), chance)
    want = torch.tensor([[1.0, 1.5], [9.0, 1.5]])
    assert torch.allclose(book.codewords[book.codewords[:, 0].argsort()], want, atol=1e-2)


def test_a_codeword_that_codes_nothing_starts_again_at_a_vector_that_is_coded_badly():
    rows = torch.tensor([[0.0], [0.2], [5.0]])
    book = Codebook(2, 1)
    book.codewords.copy_(torch.tensor([[0.1], [100.0]]))
    book.sums.copy_(book.codewords)
    chance = torch.Generator().manual_seed(0)
    for _ in range(PATIENCE - 1):
        book.follow(rows, book.nearest(rows), chance)
    assert book.codewords[1].item() == pytest.approx(100.0)
    book.follow(rows, book.nearest(rows), chance)
    assert book.codewords[1].item() in rows
    for _ in range(1000):
        book.follow(rows, book.nearest(rows), chance)
    assert torch.allclose(
        book.codewords.flatten().sort().values, torch.tensor([0.1, 5.0]), atol=0.1
    )


def test_the_gradient_passes_straight_through_the_codewords():
    network = Autoencoder(
        Network([4, 4], torch.eye(4)),
        Network([4, 4], torch.eye(4)),
        [Codebook(4, 4)],
        residual=True,
    )
    latent = torch.randn(8, 4, requires_grad=True)
    weights = torch.randn(8, 4)
    (network.quantise(latent).latent * weights).sum().backward()
    assert torch.allclose(latent.grad, weights)


def test_an_untrained_one_is_kmeans_of_the_vectors(vectors):
    found = NeuralQuantizer("rq", 3, **SMALL | {"most_steps": 0}).fit(vectors)
    model = dqindex.DQModel.rq(3, 16).fit(vectors)
    ours = lost(vectors, model.decode(model.encode(vectors)))
    assert lost(vectors, found.decode(found.encode(vectors))) == pytest.approx(ours, rel=0.1)


@pytest.mark.parametrize("linear", [True, False])
def test_it_follows_a_curve_that_codewords_of_the_space_cannot(linear):
    x = curve(2000)
    few = {**SMALL, "codewords": 8, "most_steps": 900, "hidden": (64, 64), "linear": linear}
    found = NeuralQuantizer("vq", 2, width=2, **few).fit(x)
    assert 0 < found.best_step_ <= 900
    model = dqindex.DQModel(2, 8).fit(x)
    assert lost(x, found.decode(found.encode(x))) < 0.8 * lost(x, model.decode(model.encode(x)))


def test_the_best_weights_are_kept(vectors, monkeypatch):
    """Errors that only rise leave what was there at the start."""
    errors = iter(range(1000))
    monkeypatch.setattr(training, "error_of", lambda *_: float(next(errors)))
    found = NeuralQuantizer("rq", 3, **SMALL).fit(vectors)
    start = NeuralQuantizer("rq", 3, **SMALL | {"most_steps": 0}).fit(vectors)
    assert found.best_step_ == 0
    assert np.array_equal(found.encode(vectors), start.encode(vectors))


def test_codes_are_those_of_the_codebooks_that_were_trained(vectors, trained):
    """`DQModel` codes latent vectors as the autoencoder did in training."""
    coded = trained.network_.quantise(torch.from_numpy(trained.latents(vectors))).latent
    codes = trained.encode(vectors)
    assert np.allclose(trained.model_.decode(codes), coded.detach().numpy(), atol=1e-4)
    rows = torch.from_numpy(((vectors - trained.mean_) / trained.scale_).astype(np.float32))
    error = error_of(trained.network_, rows) * trained.scale_**2 * vectors.shape[1]
    assert dqindex.distortion(vectors, trained.decode(codes)) == pytest.approx(error, rel=1e-3)


def test_the_same_seed_gives_the_same_codes_and_leaves_torch_as_it_was(vectors):
    few = {**SMALL, "most_steps": 60}
    state = torch.random.get_rng_state()
    one, two = (NeuralQuantizer("rq", 3, **few).fit(vectors).encode(vectors) for _ in range(2))
    other = NeuralQuantizer("rq", 3, seed=1, **few).fit(vectors).encode(vectors)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("unique", ["none", "reassign", "suffix"])
def test_maps_have_the_distortion_of_the_decoded_vectors(vectors, trained, unique):
    found = trained.semantic_ids(vectors, unique=unique)
    base = trained.encode(vectors)
    assert np.array_equal(found.base_codes, base)
    assert found.unique_share() == 1 or unique == "none"
    errors = np.square(trained.decode(found.codes[:, :3]) - vectors).sum(axis=1)
    assert np.allclose(found.distortion, errors, rtol=1e-4)
    moved = (found.codes[:, :3] != base).any(axis=1)
    assert moved.any() == (unique == "reassign")
    if unique == "reassign" and trained.kind == "rq":
        elsewhere = (found.codes[:, :2] != base[:, :2]).any(axis=1)
        assert elsewhere.sum() == found.widened() < 0.1 * len(base)


def test_a_model_of_given_codebooks_codes_by_hand():
    books = [np.array([[0.0, 0], [10, 0]]), np.array([[0.0, 0], [0, 1]])]
    rows = np.array([[9.0, 1.2], [1.0, 0.1]], dtype=np.float32)
    residual = model_of([one.astype(np.float32) for one in books], "rq")
    assert residual.encode(rows).tolist() == [[1, 1], [0, 0]]
    parts = model_of(
        [np.array([[0.0], [10.0]], np.float32), np.array([[0.0], [1.0]], np.float32)], "vq"
    )
    assert parts.encode(rows).tolist() == [[1, 1], [0, 0]]


def test_the_benchmark_of_methods_has_them(vectors):
    code = neural("vq", **SMALL | {"most_steps": 20})(vectors, 5)
    codes, decoded = code(vectors[:100])
    assert codes.shape == (100, 5)
    assert lost(vectors[:100], decoded) < 1


def test_another_kind_is_refused():
    with pytest.raises(InputError, match="kind is 'pq'; it must be one of rq, vq"):
        NeuralQuantizer("pq")
