"""The generator that IDs are measured with: model, search by the trie, lists, training."""

import itertools
import json
import sys
from typing import Any

import common
import numpy as np
import pyarrow as pa
import pytest
from interactions import NONE, Sequences, leave_one_out

from dqindex import semantic_ids
from dqindex.errors import InputError
from dqindex.sids.semantic_ids import SemanticIds
from dqindex.sids.trie import trie_of

torch = pytest.importorskip("torch")

import generator  # noqa: E402
from generation import training  # noqa: E402
from generation.batches import batches, histories, windows  # noqa: E402
from generation.branches import Branches  # noqa: E402
from generation.dropout import DRAWN, Dropout  # noqa: E402
from generation.model import Generator, Shape  # noqa: E402
from generation.ranking import item_lists, valid_share  # noqa: E402
from generation.search import search  # noqa: E402
from generator import Row, asked, changed, measured  # noqa: E402

TINY = Shape(width=16, heads=2, inner=32, encoder=1, decoder=1, length=5, dropout=0.0)
SIZES = [4, 3, 5]


@pytest.fixture(autouse=True)
def one_thread():
    """Tests share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Generator(SIZES, TINY)
    for one in made.parameters():
        torch.nn.init.normal_(one, std=0.7)
    return made.eval()


def tokens(*shape: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([rng.integers(size, size=shape) for size in SIZES], axis=-1))


def a_map(codes: np.ndarray, sizes: list[int] | None = None) -> SemanticIds:
    codes = np.asarray(codes, dtype=np.uint8)
    unknown = np.full(len(codes), np.nan, np.float32)
    return SemanticIds(codes, codes, unknown, sizes or [int(codes.max()) + 1] * codes.shape[1])


def log_probability(model: Generator, history: Any, item: tuple[int, ...]) -> float:
    """Of one item after one history, token by token."""
    with torch.no_grad():
        state = model.encode(history[None])[0, -1]
        before, found = torch.zeros_like(state), 0.0
        for level, code in enumerate(item):
            found += float(model.decode(state, before, level).log_softmax(dim=0)[code])
            before = before + model.tables[level].weight[code]
    return found


def test_states_do_not_depend_on_what_comes_later(model):
    codes = tokens(2, 5)
    with torch.no_grad():
        whole = model.encode(codes)
        for item in range(5):
            other = codes.clone()
            other[:, item] = (other[:, item] + 1) % 3
            changed = model.encode(other)
            assert torch.allclose(whole[:, :item], changed[:, :item], atol=1e-5)
            for after in range(item, 5):
                assert not torch.allclose(whole[:, after], changed[:, after], atol=1e-3)


def test_search_finds_the_likeliest_tuples(model):
    """With room for all prefixes it is the sorted list of all tuples."""
    history = tokens(2, 4)
    lengths = torch.tensor([4, 2])
    found = search(model, history, lengths, beams=60, branches=None)
    for user in range(2):
        want = {
            item: log_probability(model, history[user, : lengths[user]], item)
            for item in itertools.product(*map(range, SIZES))
        }
        best = sorted(want, key=lambda item: -want[item])
        assert [tuple(one) for one in found.codes[user].tolist()] == best
        assert np.allclose(found.scores[user], [want[item] for item in best], atol=1e-4)


def test_search_by_a_trie_gives_all_items_and_nothing_else(model):
    codes = np.unique(tokens(12, seed=5).numpy(), axis=0)
    branches = Branches(trie_of(codes, SIZES))
    found = search(model, tokens(3, 5, seed=7), torch.tensor([5, 5, 3]), 20, branches)
    for user in range(3):
        real = torch.isfinite(found.scores[user])
        assert sorted(found.codes[user][real].tolist()) == codes.tolist()
        # Their probabilities are those among the tokens that may follow, so they add up to one.
        assert float(found.scores[user].exp().sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("within", [True, False])
def test_what_training_lowers_is_the_score_of_the_search(model, within):
    codes = np.unique(tokens(12, seed=5).numpy(), axis=0)
    branches = Branches(trie_of(codes, SIZES)) if within else None
    trained = training.Trained(model, torch.from_numpy(codes), branches)
    parts = [np.array([3, 1, 2]), np.array([4]), np.array([5, 0])]
    targets = np.array([7, 7, 1])
    losses, right = training.told(trained, parts, targets)
    for user, part in enumerate(parts):
        history = trained.table[part][None]
        found = search(model, history, torch.tensor([len(part)]), 60, branches)
        place = found.codes[0].tolist().index(codes[targets[user]].tolist())
        assert losses[user].sum() == pytest.approx(-float(found.scores[0, place]), abs=1e-4)
        first = found.codes[0, 0, 0] == codes[targets[user], 0]
        assert right[user, 0] or not (place == 0 and first)


def test_branches_are_the_tokens_that_may_follow():
    codes = np.array([[0, 1], [0, 2], [2, 0], [2, 2]])
    branches = Branches(trie_of(codes, [3, 3], start=7))
    first = branches.after(torch.tensor([0]), 0)[0]
    assert (first >= 0).tolist() == [True, False, True]
    both = branches.after(torch.stack([first[2], torch.tensor(-1), first[0]]).long(), 1)
    assert (both >= 0).tolist() == [[True, False, True], [False] * 3, [False, True, True]]
    ends = branches.after(both[0][both[0] >= 0].long(), 1)
    assert (ends == -1).all()
    assert branches.free(torch.tensor([0, -1, int(first[0])])).tolist() == [0, 2]


def test_lists_show_shared_ids_by_popularity_and_not_what_users_had():
    sids = a_map([[0, 0], [0, 1], [0, 1], [0, 1], [1, 0]])
    popularity = np.array([9, 1, 5, 5, 2])
    before = Sequences.of([[2], [0, 4], []], 5)
    codes = np.array([[[0, 1], [1, 1], [1, 0]], [[0, 0], [0, 1], [1, 0]], [[1, 0], [0, 0], [0, 1]]])
    scores = np.array([[-1, -2, -3], [-1, -2, -3], [-1, -np.inf, -np.inf]], dtype=np.float32)
    lists = item_lists(sids, codes, scores, popularity, before, 4)
    assert lists.tolist() == [[3, 1, 4, NONE], [2, 3, 1, NONE], [4, NONE, NONE, NONE]]
    assert valid_share(sids, codes) == pytest.approx(8 / 9)


def test_a_map_with_ids_of_its_own_is_refused():
    sids = a_map([[0], [1]])
    sids.ids = pa.array(["a", "b"])
    nobody = Sequences.of([[]], 2)
    with pytest.raises(InputError, match="in the order of the items"):
        item_lists(sids, np.zeros((1, 1, 1), int), np.zeros((1, 1)), np.ones(2, int), nobody, 1)


@pytest.mark.parametrize("length", [1, 3, 20])
def test_every_item_but_the_first_is_told_once(length):
    sequences = Sequences.of([[5, 6, 7, 8, 9, 1, 2], [3], [], [4, 4]], 10)
    parts = windows(sequences, length)
    told = [one for part in parts for one in part[1:].tolist()]
    assert sorted(told) == sorted([6, 7, 8, 9, 1, 2, 4])
    assert max(map(len, parts)) <= length + 1
    assert parts[0].tolist() == [5, 6, 7, 8, 9, 1, 2][-length - 1 :]


def test_batches_hold_every_part_once_padded_behind():
    table = torch.arange(20).reshape(10, 2)
    parts = histories(Sequences.of([[1, 2, 3], [4], [5, 6], [7, 8, 9, 0]], 10), 3)
    seen = {}
    for batch in batches(parts, table, 2, np.random.default_rng(0)):
        for row, codes, length in zip(batch.rows, batch.codes, batch.lengths, strict=True):
            seen[int(row)] = (codes[:length, 0] // 2).tolist()
    assert seen == {0: [1, 2, 3], 1: [4], 2: [5, 6], 3: [8, 9, 0]}


@pytest.mark.parametrize("count", [1000, DRAWN + 5])
def test_dropout_keeps_the_mean_and_does_nothing_outside_training(count):
    torch.manual_seed(0)
    drop = Dropout(0.25)
    x = torch.ones(count)
    dropped = drop(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert sorted(set(dropped.tolist())) == pytest.approx([0, 4 / 3])
    assert not torch.equal(drop(x), dropped)
    assert torch.equal(drop.eval()(x), x)


def followers(n: int = 60) -> Sequences:
    """Users who go from each item to its one follower."""
    rng = np.random.default_rng(0)
    order, starts = rng.permutation(n), rng.integers(n, size=300)
    return Sequences.of([order[(start + np.arange(7)) % n].tolist() for start in starts], n)


def test_it_learns_what_follows_and_keeps_the_best_epoch(monkeypatch):
    monkeypatch.setattr(training, "RATE", 2e-2)
    monkeypatch.setattr(training, "WARM_UP", 1)
    sequences = followers()
    vectors = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    sids = semantic_ids(vectors, n_subspaces=3, n_codewords=4)
    split = leave_one_out(sequences)
    few = Shape(width=32, heads=2, inner=32, encoder=1, decoder=1, length=3, dropout=0.0)
    branches = Branches(trie_of(sids.codes, sids.sizes))
    trained = training.train(sids, split, few, branches, epochs=25)
    assert len(trained.losses) == 25
    assert trained.losses[trained.best - 1] == min(trained.losses)
    assert training.validation_loss(trained, split) == pytest.approx(min(trained.losses), abs=1e-4)
    test = asked(split, 200)
    found = measured(sids, trained, branches, test)
    assert found["recall_10"] > 0.9
    assert sum(one["users"] for one in found["groups"].values()) == 200
    assert found["valid_share"] < 1
    assert min(found["token_right"]) > 0.8


def test_the_script_measures_each_row_once(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(generator, "train", lambda *rest, **_: training.train(*rest, epochs=0))
    monkeypatch.setattr(generator, "Shape", lambda: TINY)
    monkeypatch.setattr(generator, "MADE", {"DQ": {"n_subspaces": 3, "n_codewords": 4}})
    users = followers()
    lines = [" ".join(map(str, [user, *(users[user] + 1)])) for user in range(len(users))]
    (tmp_path / "sequences.txt").write_text("\n".join(lines))
    vectors = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    options = [f"--{name}={tmp_path / name}" for name in ("sequences.txt", "vectors.npy")]
    options = [option.replace(".txt=", "=").replace(".npy=", "=") for option in options]
    monkeypatch.setattr(sys, "argv", ["generator.py", *options, "--ids=DQ", "--seeds=2"])
    generator.main()
    record = json.loads((tmp_path / "generator.json").read_text())
    rows = [(row["ids"], row["unique"], row["change"], row["seed"]) for row in record["rows"]]
    want = [(*row, 0) for row in generator.ROWS if row.ids == "DQ"]
    assert rows == [*want, (*Row("DQ", "reassign"), 1)]
    for row in record["rows"]:
        assert len(row["sizes"]) == (4 if row["unique"] == "suffix" else 3)
    monkeypatch.setattr(generator, "run", None)
    generator.main()


def test_a_published_map_is_read_by_the_numbers_of_its_items(tmp_path):
    text = {str(item): [f"<a_{item}>", f"<b_{7 - item}>"] for item in (3, 1, 0, 2)}
    (tmp_path / "map.json").write_text(json.dumps(text))
    catalogue = generator.Catalogue(np.eye(4, dtype=np.float32), tmp_path / "map.json")
    sids = catalogue.map_of(Row("LETTER", "none"))
    assert sids.codes.tolist() == [[0, 7], [1, 6], [2, 5], [3, 4]]
    assert catalogue.lost(sids) is None


def test_changes_of_a_map():
    sids = a_map(np.random.default_rng(0).integers(4, size=(50, 3)), [4, 5, 6])
    turned = changed(sids, "levels reversed")
    assert (turned.codes[:, ::-1] == sids.codes).all()
    assert turned.sizes == [6, 5, 4]
    mixed = changed(sids, "items shuffled")
    assert sorted(mixed.codes.tolist()) == sorted(sids.codes.tolist())
    assert (mixed.codes != sids.codes).any()
    assert changed(sids, "") is sids
    assert Row("DQ", "none").change == ""
