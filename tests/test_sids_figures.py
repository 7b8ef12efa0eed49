"""Figures of a map against counts by hand: who shares an ID and why, prefixes, conditions."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from conftest import clustered

from dqindex.errors import InputError
from dqindex.sids.conditions import NAMES, Condition, holding, parse
from dqindex.sids.quality import evaluate
from dqindex.sids.semantic_ids import SemanticIds, semantic_ids


def map_of(codes, sizes, ids=None) -> SemanticIds:
    codes = np.asarray(codes, dtype=np.int32)
    return SemanticIds(codes, codes, np.full(len(codes), np.nan, np.float32), list(sizes), ids)


@pytest.fixture(scope="module")
def crowded() -> SemanticIds:
    """Three hundred items with few IDs, named out of order."""
    rng = np.random.default_rng(4)
    names = pa.array([f"i{row}" for row in rng.permutation(300)])
    return map_of(rng.integers([3, 4, 5], size=(300, 3)) ** 2 // 4, [8, 8, 8], names)


def test_the_worst_groups_are_those_of_a_count(crowded):
    counted = Counter(map(tuple, crowded.codes.tolist()))
    found = crowded.evaluate()["after"]["worst_groups"]
    assert [one["items"] for one in found] == [
        count for _, count in counted.most_common(10) if count > 1
    ]
    for one in found:
        members = [
            name
            for name, row in zip(crowded.ids.to_pylist(), crowded.codes.tolist(), strict=True)
            if row == one["codes"]
        ]
        assert len(members) == one["items"]
        assert one["ids"] == members[:5]
    assert map_of([[0], [1]], [2]).evaluate()["after"]["worst_groups"] == []


def test_prefixes_are_counted_at_every_length(crowded):
    for length, one in enumerate(crowded.evaluate()["after"]["prefixes"], 1):
        counted = Counter(map(tuple, crowded.codes[:, :length].tolist()))
        assert one == {
            "length": length,
            "unique_share": len(counted) / 300,
            "largest_group": max(counted.values()),
        }


def test_collisions_of_the_same_vectors():
    # 0 to 3 share an ID: 0 and 1 one vector, 2 and 3 none. 4 and 5 an ID and -0.0 for 0.0. 6 and 7
    # share a vector and no ID.
    vectors = np.zeros((8, 3), np.float32)
    vectors[:, 0] = [1, 1, 2, 3, 0, -0.0, 9, 9]
    sids = map_of([[0], [0], [0], [0], [1], [1], [2], [3]], [4])
    figures = sids.evaluate(vectors)["after"]
    assert figures["collision_rate"] == 4 / 8
    assert figures["same_vector_share"] == 2 / 4
    order = [7, 3, 1, 0, 2, 6, 5, 4]
    sids.ids = pa.array([f"x{row}" for row in range(8)])
    named = pa.table({"id": [f"x{row}" for row in order], "v": list(vectors[order])})
    assert sids.evaluate(named)["after"]["same_vector_share"] == 2 / 4
    alone = map_of([[0], [1], [2], [3], [4], [5], [6], [7]], [8])
    assert alone.evaluate(vectors)["after"]["same_vector_share"] == 0
    assert "same_vector_share" not in alone.evaluate()["after"]


def test_both_entropies_are_what_they_are_said_to_be():
    """TorchEasyRec: in nats, over the log of the number of IDs that the codebooks allow."""
    figures = map_of([[0, 1], [0, 1], [0, 0], [2, 1]], [4, 2]).evaluate()["after"]
    entropy = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    assert figures["entropy_ratio"] == pytest.approx(entropy / math.log(4))
    assert figures["entropy_capacity_ratio"] == pytest.approx(entropy / math.log(4 * 2))
    one = map_of([[0], [0]], [1]).evaluate()["after"]
    assert (one["entropy_ratio"], one["entropy_capacity_ratio"]) == (0, 1)
    many = map_of(np.zeros((2, 64)), [2**20] * 64).evaluate()["after"]
    assert many["entropy_capacity_ratio"] == 0


def test_prefixes_that_no_published_item_has():
    published = map_of([[0, 0, 1], [0, 1, 1], [2, 2, 2]], [3, 3, 3])
    delta = map_of([[0, 0, 2], [0, 2, 1], [1, 0, 1], [2, 2, 2], [5, 5, 5]], [6, 6, 6])
    found = evaluate(delta, published=published)["after"]["prefixes"]
    assert [one["unseen_share"] for one in found] == [2 / 5, 3 / 5, 4 / 5]
    with pytest.raises(InputError, match="IDs of 1 tokens, this one of 3"):
        evaluate(delta, published=map_of([[0]], [1]))
    with pytest.raises(InputError, match="published is 7"):
        delta.evaluate(published=7)


def test_what_is_appended_is_held_against_what_was_published():
    x = clustered(900, 8)
    sids = semantic_ids(x[:600], method="rq", n_subspaces=3, n_codewords=16)
    whole, delta = sids.append(x[600:])
    shares = [one["unseen_share"] for one in delta.evaluate(published=sids)["after"]["prefixes"]]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0  # unique IDs
    known = {*map(tuple, sids.codes[:, :2].tolist())}
    assert shares[1] == np.mean([tuple(row) not in known for row in delta.codes[:, :2].tolist()])
    same = whole.evaluate(published=whole)["after"]["prefixes"]
    assert [one["unseen_share"] for one in same] == [0, 0, 0]


# Conditions.


def test_a_condition_reads_back():
    for text in ("collision_rate>0.01", " prefixes.2.largest_group <= 1e3", "before.gini!=0"):
        assert parse(str(parse(text))) == parse(text)
    assert parse("after.levels.0.dead>=2") == Condition("after.levels.0.dead", ">=", 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("collision_rate", "is not a condition"),
        ("collision_rate>", "is not a condition"),
        ("collision_rate=>1", "is not a condition"),
        ("collision_rate>x", "is not a condition"),
        ("collision_rate>nan", "is not a condition"),
        ("", "is not a condition"),
        ("colision_rate>1", r"'colision_rate' is not a figure; there are n, unique_share"),
        ("before>1", "is not a figure"),
        ("before.n>1", "is not a figure"),
    ],
)
def test_what_is_no_condition_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


def test_conditions_are_held_against_the_figures(crowded):
    figures = crowded.evaluate()
    rate = figures["after"]["collision_rate"]
    assert 0.5 < rate < 1

    def holds(text: str) -> bool:
        return bool(holding(figures, [parse(text)]))

    assert holds("collision_rate>0.5")
    assert holds("after.collision_rate>=0.5")
    assert not holds("collision_rate<0.5")
    assert holds("n==300")
    assert not holds("n!=300")
    largest = figures["after"]["prefixes"][1]["largest_group"]
    assert holds(f"prefixes.2.largest_group<={largest}")
    assert not holds(f"prefixes.2.largest_group<{largest}")
    assert holds(f"levels.0.dead=={figures['after']['levels'][0]['dead']}")
    both = [parse("n>1"), parse("n>999"), parse("collision_rate>0")]
    assert [(one.figure, value) for one, value in holding(figures, both)] == [
        ("n", 300),
        ("collision_rate", rate),
    ]
    with pytest.raises(InputError, match=r"'r_squared' is not known for this map; some need"):
        holds("r_squared<0.5")
    with pytest.raises(InputError, match=r"'levels\.9\.dead' is not known"):
        holds("levels.9.dead>0")
    with pytest.raises(InputError, match=r"'before\.gini' is not known"):
        holds("before.gini>0")


def test_every_figure_has_a_name(crowded):
    x = clustered(300, 6)
    figures = semantic_ids(x, n_subspaces=2, n_codewords=8, unique="none").evaluate(x)["after"]
    assert {*figures} - {"worst_groups"} == {*NAMES}


def test_command_line(run, tmp_path):
    (tmp_path / "m.csv").write_text("asin,a,b\nx,0,1\ny,2,0\nz,0,1\nw,1,1\n")
    (tmp_path / "old.csv").write_text("asin,a,b\nv,0,1\n")
    shown = run("sids", "evaluate", "m.csv", "--code-sizes", "4,2", "--published", "old.csv")
    assert shown.returncode == 0, shown.stderr
    assert "0 1\t2\tx z" in shown.stdout
    assert "never published" in shown.stdout
    assert "entropy_capacity_ratio" in shown.stdout
    base = ("sids", "evaluate", "m.csv", "--code-sizes", "4,2", "--json")
    done = run(*base, "--fail-if", "collision_rate>0.2", "--fail-if", "largest_group>5", "-q")
    assert done.returncode == 1
    assert done.stderr == "failed: collision_rate is 0.25, and so collision_rate>0.2\n"
    assert json.loads(done.stdout)["after"]["collision_rate"] == 0.25
    assert run(*base, "--fail-if", "collision_rate>0.3").returncode == 0
    for wrong in ("collision>0.1", "collision_rate", "r_squared<0.1"):
        done = run(*base, "--fail-if", wrong)
        assert (done.returncode, done.stdout) == (2, ""), wrong
        assert wrong.split(">")[0].split("<")[0] in done.stderr
