"""What a refit changes: only what pays, and nothing where nothing has changed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex import DQModel
from dqindex._types import no_progress
from dqindex.cli import cli
from dqindex.errors import InputError
from dqindex.sids import hold, refit, unique
from dqindex.sids.extract import encode
from dqindex.sids.semantic_ids import SemanticIds, semantic_ids
from dqindex.sids.tuples import TupleSet
from dqindex.vectors import open_vectors

FAMILIES: dict[str, dict[str, Any]] = {
    "dq": {"n_subspaces": 3, "n_codewords": 8},
    "coarse": {"n_subspaces": 2, "n_codewords": 8, "coarse": (6,)},
    "rq": {"method": "rq", "n_subspaces": 3, "n_codewords": 8},
}


def distortion_of(sids: SemanticIds, x: np.ndarray) -> np.ndarray:
    model = sids.need_model()
    tokens = len(model.code_sizes())
    error: np.ndarray = model.decode(sids.codes[:, :tokens]).astype(np.float64) - x
    return np.asarray((error**2).sum(axis=1))


def catalogue(n: int, seed: int) -> np.ndarray:
    x = clustered(n, 6, seed=seed, clusters=6)
    x[: n // 5] = x[0] + 1e-3 * np.random.default_rng(seed).normal(size=(n // 5, 6))
    return x


@settings(max_examples=40, deadline=None)
@given(
    family=st.sampled_from(sorted(FAMILIES)),
    mode=st.sampled_from(["reassign", "cap", "suffix", "none"]),
    keep=st.sampled_from([None, 0, 1, 2]),
    worth=st.sampled_from([0.0, 0.05]),
    batches=st.lists(st.integers(1, 60), max_size=3),
    seed=st.integers(0, 10**6),
)
def test_what_has_not_changed_keeps_its_id(family, mode, keep, worth, batches, seed):
    """Maps that grew by batches, with full prefixes: no ID would be given so today, none moves."""
    x = catalogue(200 + sum(batches), seed)
    ids = np.random.default_rng(seed).permutation(len(x))
    more = {"cap": 2} if mode == "cap" else {}
    if mode in unique.REASSIGNING:
        more["keep"] = keep
    model = semantic_ids(x[:200], ids[:200], **FAMILIES[family]).need_model()
    sids = semantic_ids(x[:200], ids[:200], model=model, unique=mode, **more)
    start = 200
    for batch in batches:
        sids, _ = sids.append(x[start : start + batch], ids[start : start + batch])
        start += batch
    order = np.random.default_rng(seed + 1).permutation(len(x))
    source = open_vectors(x[order], ids=ids[order])
    codes, distortion = encode(source, model, None, no_progress)
    made = SemanticIds(
        **{
            **vars(sids),
            "codes": codes,
            "base_codes": codes,
            "distortion": distortion,
            "sizes": model.code_sizes(),
            "ids": source.ids,
        }
    )
    new = hold.hold_ids(
        sids, made, (order, np.arange(len(x))), source, worth=worth, report=no_progress
    )
    np.testing.assert_array_equal(new.codes, sids.codes[order])
    np.testing.assert_array_equal(new.base_codes, sids.base_codes[order])
    assert new.sizes == sids.sizes
    np.testing.assert_allclose(new.distortion, sids.distortion[order], rtol=1e-3, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    family=st.sampled_from(sorted(FAMILIES)),
    mode=st.sampled_from(["reassign", "cap", "suffix", "none"]),
    worth=st.sampled_from([0.0, 0.02, 0.2, 1.0]),
    shift=st.sampled_from([0.0, 0.05, 0.5]),
    turns=st.sampled_from([1, 16]),
    seed=st.integers(0, 10**6),
)
def test_an_id_changes_only_where_it_pays(family, mode, worth, shift, turns, seed):
    """A third of the items is new, a third has gone; every ID of the others that moved pays."""
    rng = np.random.default_rng(seed)
    x = catalogue(300, seed)
    cap = 2 if mode == "cap" else 1
    old = semantic_ids(x[:200], np.arange(200), unique=mode, cap=cap, **FAMILIES[family])
    now = x[100:] + shift * rng.normal(size=(200, 6)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hold, "MOST_TURNS", turns)
        result = old.refit(now, np.arange(100, 300), worth=worth)
    new = result.sids
    assert len(new) == 200
    assert new.need_model().fingerprint == new.fingerprint
    if mode in ("reassign", "cap", "suffix"):
        assert TupleSet(new.codes, new.sizes).counts.max() <= cap
    np.testing.assert_allclose(new.distortion, distortion_of(new, now), rtol=1e-3, atol=1e-4)
    levels = len(new.need_model().code_sizes())
    moved = np.flatnonzero((new.codes[:100, :levels] != old.codes[100:, :levels]).any(axis=1))
    published = SemanticIds(**{**vars(new), "codes": old.codes[100:]})
    before, after = distortion_of(published, now[:100]), distortion_of(new, now)[:100]
    assert (after[moved] < (1 - worth) * before[moved] + 1e-4).all()
    if worth == 1:
        assert new.fingerprint == old.fingerprint
        assert not len(moved)
    stayed = np.setdiff1d(np.arange(100), moved)
    if mode == "suffix":
        np.testing.assert_array_equal(new.codes[stayed], old.codes[100:][stayed])
    # The share that is told is the share that moved.
    changed = (new.codes[:100] != old.codes[100:]).any(axis=1)
    assert result.churn.items == pytest.approx(changed.mean())


def test_the_model_stays_unless_a_new_one_pays():
    x = catalogue(450, 0)
    ids = np.arange(450)
    old = semantic_ids(x, ids, **FAMILIES["dq"])
    again = old.refit(x, ids)
    assert again.sids.fingerprint == old.fingerprint
    np.testing.assert_array_equal(again.sids.codes, old.codes)
    assert (again.churn.items, again.churn.tokens) == (0, 0)
    # Vectors elsewhere: worth a new model, and new IDs.
    far = clustered(450, 6, seed=9, clusters=6)
    changed = old.refit(far, ids)
    assert changed.sids.fingerprint != old.fingerprint
    assert changed.churn.items > 0.5
    never = old.refit(far, ids, worth=1.0)
    assert never.sids.fingerprint == old.fingerprint
    assert never.churn.items == 0
    assert changed.churn.distortion < 0.5 * never.churn.distortion


def test_items_may_change_places():
    """Two that want each other's ID both move: neither waits for the other."""
    model = DQModel(2, 2).fit(clustered(100, 4))
    corners = model.decode(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]))
    old = semantic_ids(corners, [1, 2, 3, 4], model=model)
    now = corners[[1, 0, 2, 3]]
    source = open_vectors(now, ids=[1, 2, 3, 4])
    codes, distortion = encode(source, model, None, no_progress)
    made = SemanticIds(
        **{**vars(old), "codes": codes, "base_codes": codes, "distortion": distortion}
    )
    rows = np.arange(4)
    held = hold.hold_ids(old, made, (rows, rows), source, worth=0.5, report=no_progress)
    np.testing.assert_array_equal(held.codes, old.codes[[1, 0, 2, 3]])


def test_an_item_does_not_leave_its_prefix_for_a_gain():
    """Others may have filled it meanwhile: that is no reason to move, however near the rest is."""
    one = np.zeros((4, 2), dtype=np.uint8)
    made = SemanticIds(one, one, np.zeros(4, np.float32), [2, 3], unique="reassign", keep=1)
    before = np.array([[0, 1], [0, 1], [1, 1], [0, 1]], dtype=np.uint8)
    after = np.array([[1, 0], [0, 2], [1, 2], [0, 2]], dtype=np.uint8)
    there = np.array([True, True, True, False])
    held = hold.Held(before, one, np.full(4, -1), there, np.full(4, 10.0))
    cheap, dear = np.full(4, 1.0), np.full(4, 9.9)
    gains = hold._gains(after, cheap, made, held, 0.05)
    assert gains.tolist() == [False, True, True, True]
    # Only the new item moves where nothing pays.
    assert hold._gains(after, dear, made, held, 0.05).tolist() == [False, False, False, True]


def test_too_many_items_are_refused_before_anything_is_fitted(monkeypatch):
    x = clustered(70, 4)
    old = semantic_ids(x[:60], np.arange(60), n_subspaces=2, n_codewords=8)
    monkeypatch.setattr(refit, "_refit_model", lambda *_: pytest.fail("fitted"))
    with pytest.raises(InputError, match="70 items, but 8 x 8 codes make only 64 IDs"):
        old.refit(x, np.arange(70))


@pytest.mark.parametrize("worth", [-0.1, float("nan"), "x", None])
def test_what_is_no_share(worth):
    old = semantic_ids(clustered(60, 4), n_subspaces=2, n_codewords=8)
    with pytest.raises(InputError, match=r"worth is .*; it must be a finite number of at least 0"):
        old.refit(clustered(60, 4), worth=worth)


def test_the_command_tells_of_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(words):
        return CliRunner().invoke(cli, words.split(), catch_exceptions=False)

    np.save("v.npy", catalogue(400, 0))
    np.save("w.npy", catalogue(400, 9))
    assert call("sids extract v.npy -o s.parquet -L 3 -K 8").exit_code == 0
    done = call("sids refit s.parquet v.npy -o t.parquet")
    assert "The old model is kept: a new one would gain less than --worth" in done.stderr
    before, after = (SemanticIds.load(tmp_path / f"{name}.parquet") for name in "st")
    np.testing.assert_array_equal(after.codes, before.codes)
    np.testing.assert_array_equal(after.base_codes, before.base_codes)
    told = json.loads(call("sids refit s.parquet v.npy -o t.parquet --json").stdout)
    assert told["model_kept"] is True
    assert told["refit"]["items"] == 0
    told = json.loads(call("sids refit s.parquet w.npy -o t.parquet --worth 0 --json").stdout)
    assert told["model_kept"] is False
    assert told["refit"]["items"] > 0
    assert call("sids refit s.parquet w.npy -o t.parquet --worth 2").exit_code == 2


@pytest.mark.filterwarnings("ignore::dqindex.errors.DQWarning")  # few vectors for the fresh fit
@settings(max_examples=30, deadline=None)
@given(
    family=st.sampled_from(
        [
            {"n_subspaces": 2},
            {"n_subspaces": 2, "polish": 2},
            {"n_subspaces": 2, "max_share": 0.5},
            {"n_subspaces": 1, "coarse": (32,)},
            {"n_subspaces": 1, "coarse": (32,), "polish": 2, "beam": 4},
            {"method": "rq", "n_subspaces": 3},
        ]
    ),
    before=st.integers(1, 50),
    rotation=st.sampled_from(["keep", "new"]),
    shift=st.sampled_from([0.0, 3.0]),
    data=st.data(),
)
def test_a_catalogue_may_shrink_below_the_codewords(family, before, rotation, shift, data):
    rng = np.random.default_rng(before)
    x = rng.normal(size=(before, 4)).astype(np.float32)
    after = data.draw(st.integers(1, before))
    old = semantic_ids(x, np.arange(before), n_codewords=32, **family)
    now = x[:after] * np.float32(1 + shift)
    new = old.refit(now, np.arange(after), rotation=rotation, worth=0.0)
    assert new.churn.common == after
    assert len(np.unique(new.sids.codes, axis=0)) == after
    np.testing.assert_allclose(new.sids.distortion, distortion_of(new.sids, now), atol=1e-4)
    assert new.sids.need_model().code_sizes() == old.need_model().code_sizes()


@pytest.mark.filterwarnings("ignore::dqindex.errors.DQWarning")  # few vectors for the codewords
@settings(max_examples=50, deadline=None)
@given(
    family=st.sampled_from(
        [
            {"n_subspaces": 4, "n_codewords": 4},
            {"n_subspaces": 4, "n_codewords": 2, "coarse": (8, 2)},
            {"n_subspaces": 2, "n_codewords": 16, "polish": 2},
            {"n_subspaces": 1, "n_codewords": 16, "coarse": (16,), "polish": 2, "beam": 4},
            {"method": "rq", "n_subspaces": 3, "n_codewords": 8},
        ]
    ),
    mode=st.sampled_from(["reassign", "suffix", "none"]),
    n=st.integers(20, 200),
    worth=st.sampled_from([0.0, 0.01, 0.05]),
    rotation=st.sampled_from(["keep", "new"]),
    shift=st.sampled_from([0.0, 0.05, 0.5]),
    seed=st.integers(0, 10**6),
)
def test_a_refit_is_no_worse_than_the_old_model(family, mode, n, worth, rotation, shift, seed):
    """Judged by what is published; and vectors that have not changed move nothing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    old = semantic_ids(x, np.arange(n), unique=mode, **family)
    order = rng.permutation(n)
    now = (x + shift * rng.normal(size=x.shape).astype(np.float32))[order]
    new = old.refit(now, order, worth=worth, rotation=rotation)
    if not shift:
        assert (new.churn.items, new.churn.tokens) == (0, 0)
        assert new.sids.fingerprint == old.fingerprint
        np.testing.assert_array_equal(new.sids.codes, old.codes[order])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refit, "_unchanged", lambda *_: True)  # the old model stays
        kept = old.refit(now, order, worth=worth)
    assert kept.sids.fingerprint == old.fingerprint
    mine, its = distortion_of(new.sids, now).mean(), distortion_of(kept.sids, now).mean()
    assert mine <= its * (1 + 1e-5) + 1e-6
    if new.sids.fingerprint != old.fingerprint:
        assert mine <= its * (1 - worth) * (1 + 1e-5) + 1e-6
