"""The recommenders of the benchmarks: features, losses and models do what their names say."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from conftest import clustered
from interactions import GROUPS as GROUPS_OF_ITEMS
from interactions import Sequences, figures, leave_one_out, ranks

from dqindex.sids.semantic_ids import SemanticIds

torch = pytest.importorskip("torch", reason="needs torch")

import common  # noqa: E402
import recommend  # noqa: E402
import recommend_tables  # noqa: E402
from recommenders import features, training  # noqa: E402
from recommenders.augmentation import Catalogue, means  # noqa: E402
from recommenders.codes import KINDS, Coded, ours  # noqa: E402
from recommenders.light_gcn import LightGCN, Propagation, graph, tensor  # noqa: E402
from recommenders.recommender import Recommender  # noqa: E402
from recommenders.sampling import Drawn, Negatives, softmax_loss  # noqa: E402
from recommenders.sasrec import SASRec  # noqa: E402
from recommenders.two_tower import TwoTower  # noqa: E402

GROUPS, EACH, USERS = 6, 10, 120
N = GROUPS * EACH


@pytest.fixture(autouse=True)
def one_thread():
    """Tests share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sequences() -> Sequences:
    """Each user has items of one group, in the order of a ring."""
    rng = np.random.default_rng(0)
    lists = []
    for user in range(USERS):
        start = rng.integers(EACH)
        ring = (start + np.arange(rng.integers(5, 9))) % EACH
        lists.append((user % GROUPS) * EACH + ring)
    return Sequences.of(lists, N)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered(N, 8)


def dense(some: features.Features) -> np.ndarray:
    """As a matrix of entities by columns."""
    matrix = np.zeros((len(some), some.size), np.float32)
    np.add.at(matrix, (np.arange(len(some))[:, None], some.columns), some.weights)
    return matrix


def test_features_are_a_sparse_matrix():
    codes = np.array([[1, 0], [0, 2], [1, 2]])
    made = features.ids(3).beside(features.tokens(codes, [2, 3]))
    made = made.beside(features.bags([[1], [], [0, 1]])).beside(
        features.buckets(np.array([0, 1, 5]))
    )
    expected = [
        [1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0],
        [0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0],
        [0, 0, 1, 0, 1, 0, 0, 1, 0.5, 0.5, 0, 0, 0, 1],
    ]
    assert dense(made).tolist() == expected
    table = features.Table(made, 4, 1.0)
    product = torch.tensor(expected) @ table.vectors
    torch.testing.assert_close(table.all(), product)
    torch.testing.assert_close(table(torch.tensor([2, 0])), product[[2, 0]])


def test_numeric_features_are_the_vectors(vectors):
    made = dense(features.numbers(vectors))
    assert np.square(made).sum(axis=1).mean() == pytest.approx(1, rel=1e-5)
    centred = vectors - vectors.mean(axis=0)
    np.testing.assert_allclose(made / made[0, 0], centred / centred[0, 0], rtol=1e-3)


def test_smoothing_shares_an_id_with_its_neighbours():
    edges = scipy.sparse.csr_array(np.array([[0, 3, 1], [0, 0, 0], [2, 0, 0]], np.float32))
    made = dense(features.smoothed(edges, 0.4))
    np.testing.assert_allclose(made, [[0.6, 0.3, 0.1], [0, 1, 0], [0.4, 0, 0.6]], rtol=1e-6)


def test_the_loss_over_all_items_is_the_cross_entropy():
    rng = np.random.default_rng(0)
    queries, items = (torch.from_numpy(rng.normal(size=(n, 4)).astype(np.float32)) for n in (5, 7))
    targets = torch.tensor([6, 0, 3, 3, 1])
    everything = torch.arange(7)
    drawn = Drawn(everything, torch.zeros(7), everything)
    found = softmax_loss(queries, items[targets], targets, items, drawn)
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(queries @ items.T, targets))


def test_a_sample_stands_for_all_items():
    """The sum over a sample, each as often as it stands for, is that over all on average."""
    rng = np.random.default_rng(0)
    counts, values = rng.integers(0, 50, 40), rng.random(40)
    negatives = Negatives(counts, 25)
    sums = []
    for _ in range(3000):
        drawn = negatives.draw(rng)
        assert (drawn.place[drawn.items] == torch.arange(len(drawn.items))).all()
        assert (drawn.place >= 0).sum() == len(drawn.items)
        sums.append((values[drawn.items.numpy()] * drawn.stands_for.exp().numpy()).sum())
    error = np.std(sums) / np.sqrt(len(sums))
    assert np.mean(sums) == pytest.approx(values.sum(), abs=4 * error)


def test_the_graph_is_normalised(sequences):
    split = leave_one_out(sequences)
    rng = np.random.default_rng(0)
    codes = rng.integers(4, size=(N, 3))
    edges = Coded(codes, [4] * 3, None).edges(5)
    for among in (None, edges):
        made = graph(split.training, among_items=among).toarray()
        np.testing.assert_allclose(made, made.T, rtol=1e-6)
        # The largest eigenvalue of a graph that is normalised on both sides.
        assert np.linalg.eigvalsh(made)[-1] == pytest.approx(1, abs=1e-5)
        assert (made[USERS:, USERS:] > 0).any() == (among is not None)
        assert not made[:USERS, :USERS].any()


def test_the_gradient_of_a_propagation():
    rng = np.random.default_rng(0)
    matrix = rng.random((6, 6)) * (rng.random((6, 6)) < 0.5)
    matrix = scipy.sparse.csr_array(matrix + matrix.T)
    layer = torch.from_numpy(rng.normal(size=(6, 3))).requires_grad_()
    weights = torch.from_numpy(rng.normal(size=(6, 3)))
    (Propagation.apply(layer, tensor(matrix)) * weights).sum().backward()
    torch.testing.assert_close(layer.grad, torch.from_numpy(matrix.toarray()) @ weights)


def test_sasrec_sees_what_came_before_and_nothing_else(sequences):
    torch.manual_seed(0)
    model = SASRec(features.ids(N), leave_one_out(sequences).training).eval()
    items = torch.tensor([[3, 7, 1, 9], [3, 7, 1, 2], [3, 8, 1, 9]])
    first, other_end, other_start = model.states(items)
    torch.testing.assert_close(first[:3], other_end[:3])
    assert not torch.allclose(first[3], other_end[3])
    assert not torch.allclose(first[3], other_start[3])
    users, _ = model.rankers(Sequences.of([[3, 7, 1, 9], [], [9]], N))
    np.testing.assert_allclose(users[0], first[3].detach(), rtol=1e-4, atol=1e-5)
    assert not users[1].any()


def test_batches_hold_each_interaction_once(sequences):
    split = leave_one_out(sequences)
    rng = np.random.default_rng(0)
    pairs = sorted(zip(split.training.users(), split.training.items, strict=True))
    tower = TwoTower(features.ids(USERS), features.ids(N), split.training)
    found = torch.cat(list(tower.batches(rng))).tolist()
    assert sorted(map(tuple, found)) == pairs
    model = SASRec(features.ids(N), split.training)
    targets = torch.cat([batch[:, 1:].reshape(-1) for batch in model.batches(rng)])
    expected = np.concatenate([split.training[user][1:] for user in range(USERS)])
    assert sorted(targets.tolist()) == sorted(expected.tolist())


def models(split) -> dict[str, Recommender]:
    users, items = features.ids(USERS), features.ids(N)
    return {
        "two-tower": TwoTower(users, items, split.training),
        "LightGCN": LightGCN(users, items, split.training),
        "SASRec": SASRec(items, split.training),
    }


@pytest.mark.parametrize("name", recommend.MODELS)
def test_a_model_learns_whose_items_are_whose(sequences, monkeypatch, name):
    monkeypatch.setattr(training, "EPOCHS", 30)
    split = leave_one_out(sequences)
    torch.manual_seed(0)
    model = models(split)[name]
    trained = training.train(model, split, 0)
    assert trained.epoch % training.EVERY == 0
    found = figures(ranks(*model.rankers(split.training), split.validation, split.training))
    # The model is as it was where validation was best.
    assert found == pytest.approx(trained.validation)
    # Of the items of a group, four to eight are left; of all, 54.
    test = figures(ranks(*model.rankers(split.before_test), split.test, split.before_test))
    assert test["recall_10"] > 0.8


def test_what_is_to_be_found_is_in_no_feature(sequences, vectors):
    """Other items for validation and test, and the catalogue is the same."""
    split = leave_one_out(sequences)
    lists = [[*split.training[user], 5, 17] for user in range(USERS)]
    other = leave_one_out(Sequences.of(lists, N))
    ones, others = (Catalogue(each.training, vectors) for each in (split, other))
    np.testing.assert_array_equal(ones.users.vectors, others.users.vectors)
    parts = ("popularity", "vectors")
    for one, two in ((ones.users, others.users), (ones.items, others.items)):
        first, second = (side.features(parts, "", 0) for side in (one, two))
        np.testing.assert_array_equal(first.weights, second.weights)
        np.testing.assert_array_equal(first.columns, second.columns)
    expected = vectors[split.training[3]].mean(axis=0)
    np.testing.assert_allclose(ones.users.vectors[3], expected, rtol=1e-5)
    assert not means(Sequences.of([[]], N), vectors).any()


def test_controls_have_no_meaning_and_as_many_parameters():
    codes = np.random.default_rng(0).integers(16, size=(N, 4))
    coded = Coded(codes, [16] * 4, 0.2)
    rng = np.random.default_rng(1)
    shuffled, hashed = coded.shuffled(rng), coded.hashed(rng)
    assert sorted(map(tuple, shuffled.codes)) == sorted(map(tuple, codes))
    for other in (shuffled, hashed):
        assert (other.codes == codes).mean() < 0.2
        assert features.tokens(other.codes, other.sizes).size == 64


@pytest.fixture
def files(tmp_path, sequences, vectors) -> list[str]:
    lines = [
        " ".join(map(str, [user + 1, *(sequences[user] + 1)])) for user in range(len(sequences))
    ]
    (tmp_path / "sequences.txt").write_text("\n".join(lines))
    np.save(tmp_path / "vectors.npy", vectors)
    attributes = {str(item + 1): [item // EACH] for item in range(N)}
    (tmp_path / "attributes.json").write_text(json.dumps(attributes))
    codes = np.stack([np.arange(N) // EACH, np.arange(N) % EACH], axis=1).astype(np.uint8)
    nothing = np.full(N, np.nan, np.float32)
    SemanticIds(codes, codes, nothing, [GROUPS, EACH]).export(tmp_path / "map.json", "lc-rec")
    names = ["sequences.txt", "vectors.npy", "attributes.json", "map.json"]
    options = ["--sequences", "--vectors", "--attributes", "--map"]
    pairs = zip(options, names, strict=True)
    return [word for option, name in pairs for word in (option, str(tmp_path / name))]


def test_a_campaign_goes_on_where_it_was_broken_off(tmp_path, monkeypatch, files):
    rows = [
        recommend.Row("two-tower", "user and item linkage", "few"),
        recommend.Row("two-tower", "item attributes"),
        recommend.Row("LightGCN", "user and item tokens and linkage", "few"),
        recommend.Row("SASRec", "item tokens", "published"),
    ]
    few = ours(2, n_codewords=8)
    monkeypatch.setitem(KINDS, "few", few)
    monkeypatch.setattr(recommend, "ROWS", rows)
    monkeypatch.setattr(training, "EPOCHS", training.EVERY)
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sys, "argv", ["recommend.py", *files, "--seeds", "1"])
    recommend.main()
    path = tmp_path / "results" / "recommend.json"
    first = json.loads(path.read_text())
    assert [(run["model"], run["augmentation"], run["tokens"]) for run in first["rows"]] == rows
    assert str(tmp_path) not in path.read_text()
    tower, attributes, light, sasrec = first["rows"]
    assert tower["lost"] > 0
    assert attributes["lost"] is sasrec["lost"] is None
    assert attributes["parameters"] == TwoTower.DIM * (USERS + N + GROUPS)
    assert light["parameters"] == LightGCN.DIM * (USERS + N + 2 * 16)
    assert sum(one["users"] for one in tower["groups"].values()) == USERS
    # A run that is missing is made up for, and no other.
    first["rows"][0]["test"] = {"recall_10": 2.0}
    path.write_text(json.dumps({**first, "rows": first["rows"][:3]}))
    recommend.main()
    second = json.loads(path.read_text())
    assert [run["model"] for run in second["rows"]] == [row.model for row in rows]
    assert second["rows"][0]["test"] == {"recall_10": 2.0}
    assert second["rows"][3]["test"] == sasrec["test"]


def run_of(augmentation: str, seed: int, recall: float, model: str = "two-tower") -> dict[str, Any]:
    figures = {"recall_10": 0.5, "ndcg_10": 0.5, "recall_20": recall, "ndcg_20": 0.5}
    return {
        **recommend.Row(model, augmentation, "published")._asdict(),
        **{"seed": seed, "parameters": 1000, "lost": None, "epochs": 3, "seconds": 2.0},
        "test": figures,
        "groups": {name: {**figures, "users": 1} for name in GROUPS_OF_ITEMS},
    }


def test_the_table_compares_runs_of_one_model_and_seed():
    runs = [
        run_of("item tokens", 0, 0.25),
        run_of("item vectors", 0, 0.5),
        run_of("item tokens", 1, 0.35),
        run_of("ids alone", 0, 0.15),
        run_of("ids alone", 1, 0.3),
        run_of("item tokens", 0, 0.4, "SASRec"),
    ]
    columns, rows = recommend_tables.short({"rows": runs})
    assert [len(row) for row in rows] == [len(columns)] * 4
    # Ids alone first, then the best; 0.1 and 0.05 beyond them; none to compare with of SASRec.
    assert [row[0] for row in rows] == ["two-tower"] * 3 + ["SASRec"]
    assert [row[1] for row in rows[:3]] == ["", "item vectors", "item tokens"]
    assert [row[5] for row in rows] == ["", "+0.3500", "+0.0750", ""]
    assert rows[2][2:4] == ["LETTER 4", "0.3000 ± 0.0707"]
    assert rows[1][3] == "0.5000"
    columns, rows = recommend_tables.wide({"rows": runs})
    assert [len(row) for row in rows] == [len(columns)] * 4
