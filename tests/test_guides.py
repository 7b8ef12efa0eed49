"""The code of `docs/guides/production-index.md` runs, block after block, and does what it says."""

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
from conftest import clustered
from reliability.children import Children, Ran, command

PAGE = Path(__file__).parent.parent / "docs" / "guides" / "production-index.md"
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


def test_the_page_of_a_production_index(tmp_path, monkeypatch):
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    ran = []
    with Children() as server:
        for kind, block in re.findall(r"```(bash|python)\n(.*?)```", PAGE.read_text(), re.S):
            if kind == "python":
                with warnings.catch_warnings():
                    # The page's own files are closed when they are collected.
                    warnings.simplefilter("ignore", ResourceWarning)
                    exec(block, space)
                continue
            for line in block.splitlines():
                outcome = server.run(run, tmp_path, line, memory=4 * 2**30)
                assert outcome.kind == "answer", f"{line}: {outcome.said}"
                assert outcome.value.code == 0, f"{line}: {outcome.value.err}"
                ran.append(line.split()[1])
    assert set(ran) == {"build", "search", "add", "info", "update", "remove", "merge"}
    # What the last blocks say: ids of the catalogue from stock FAISS, a merge of both shards.
    assert set(space["ids"].ravel().tolist()) <= set(range(5500))
    assert len(space["both"]) == 200
    assert space["missing"] == 1
    assert 11 not in space["served"]
    assert np.isin(space["near"].ids, space["in_stock"]).sum() == 0 < len(space["near"].ids)
