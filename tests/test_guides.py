"""The code of two pages of `docs/guides` runs, block after block, and does what it says."""

from __future__ import annotations

import os
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import clustered
from reliability.children import Children, Ran, command

PAGES = Path(__file__).parent.parent / "docs" / "guides"
D = 32


def items(folder: Path, name: str, ids: np.ndarray, seed: int) -> None:
    x = clustered(6000, D, seed=0)[seed : seed + len(ids)]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), D)
    pq.write_table(pa.table({"item_id": ids, "vector": vectors}), folder / f"{name}.parquet")


def furnish(folder: Path) -> None:
    """What the page takes for given."""
    items(folder, "catalogue", np.arange(5500), 0)
    items(folder, "monday", np.arange(5500, 5800), 5500)
    items(folder, "changed", np.arange(20, 40), 100)
    items(folder, "east", np.arange(7000, 7100), 200)
    items(folder, "west", np.arange(8000, 8100), 400)
    np.save(folder / "queries.npy", clustered(6000, D, seed=0)[5800:5808])
    pq.write_table(pa.table({"item_id": np.arange(0, 5500, 50)}), folder / "in_stock.parquet")
    (folder / "sold_out.txt").write_text("1\n2\n3\n")
    (folder / "gone.txt").write_text("11\n12\n")


def run(folder: Path, line: str) -> Ran:
    """In a child: one command of the page."""
    os.chdir(folder)
    words = shlex.split(line, comments=True)
    assert words[0] == "dqindex", line
    return command(*words[1:])


def follow(page: str, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Run all of a page in a folder: what its Python leaves behind, and its commands."""
    space: dict[str, Any] = {}
    ran = []
    with Children() as server:
        text = (PAGES / page).read_text()
        for kind, block in re.findall(r"```(bash|python)\n(.*?)```", text, re.S):
            if kind == "python":
                with warnings.catch_warnings():
                    # The page's own files are closed when they are collected.
                    warnings.simplefilter("ignore", ResourceWarning)
                    exec(block, space)
                continue
            for line in block.splitlines():
                outcome = server.run(run, folder, line, memory=4 * 2**30)
                assert outcome.kind == "answer", f"{line}: {outcome.said}"
                assert outcome.value.code == 0, f"{line}: {outcome.value.err}"
                ran.append(" ".join(shlex.split(line)[1:3]))
    return space, ran


def test_the_page_of_a_production_index(tmp_path, monkeypatch):
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    space, ran = follow("production-index.md", tmp_path)
    verbs = {one.split()[0] for one in ran}
    assert verbs == {"build", "search", "add", "info", "update", "remove", "merge"}
    # What the last blocks say: ids of the catalogue from stock FAISS, a merge of both shards.
    assert set(space["ids"].ravel().tolist()) <= set(range(5500))
    assert len(space["both"]) == 200
    assert space["missing"] == 1
    assert 11 not in space["served"]
    assert np.isin(space["near"].ids, space["in_stock"]).sum() == 0 < len(space["near"].ids)


SHELVES, EACH, USERS = 20, 20, 500


def write_sequences(path: Path) -> None:
    """Users who have items of one shelf each, and ids with gaps."""
    rng = np.random.default_rng(0)
    lines = []
    for user in range(USERS):
        items = rng.permutation(EACH)[: rng.integers(6, 12)] + user % SHELVES * EACH
        lines.append(" ".join(map(str, [user + 1, *(3 * items + 5)])))
    path.write_text("\n".join(lines) + "\n")


def test_the_page_of_recommenders(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("implicit", reason="needs implicit")
    write_sequences(tmp_path / "sequences.txt")
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    space, ran = follow("recommenders.md", tmp_path)
    torch.set_num_threads(before)
    assert set(ran) == {"sids extract", "sids export", "sids neighbors"}
    items, users = np.array(space["items"]), np.array(space["users"])
    shelves = (items - 5) // 3 // EACH
    # Vectors of both kinds, and the towers that were trained, tell shelves apart.
    for left, right in (("user_vectors", "item_vectors"), ("svd_user_vectors", "svd_item_vectors")):
        best = (space[left] @ space[right].T).argmax(axis=1)
        assert (shelves[best] == (users - 1) % SHELVES).mean() > 0.95
    with torch.no_grad():
        rows = [torch.arange(len(some)) for some in (users, items)]
        scores = space["user_tower"](rows[0]) @ space["item_tower"](rows[1]).T
    assert (shelves[scores.argmax(dim=1)] == (users - 1) % SHELVES).mean() > 0.95
    source, target = space["edge_index"].numpy() - len(users)
    assert len(source) == len(space["edge_weight"])
    tokens = space["item_tower"].tokens.numpy()
    assert (source != target).all()
    assert (tokens[source] == tokens[target]).any(axis=1).all()
    heads = {"shop.item": len(items), "shop.kg": len(source), "shop.link": len(items)}
    for name, lines in heads.items():
        head, *rest = (tmp_path / name).read_text().splitlines()
        assert len(rest) == lines
        assert {line.count("\t") for line in rest} == {head.count("\t")}
