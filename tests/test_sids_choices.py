"""What a user may choose of a map: tokens that stay, from extract to append and refit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import clustered

from dqindex.cli import cli


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Commands of ``sids`` within this process, in a folder of their own: what they print."""
    monkeypatch.chdir(tmp_path)

    def call(words: str) -> Any:
        return CliRunner().invoke(cli, ["sids", *words.split()], catch_exceptions=False)

    return call


def test_what_was_kept_is_told(tmp_path, commands):
    x = clustered(400, 6, clusters=5)
    x[:40] = x[0]
    np.save(tmp_path / "v.npy", x)
    np.save(tmp_path / "all.npy", np.concatenate([x, x[:20]]))
    np.save(tmp_path / "new.npy", x[:20])
    shape = "-L 2 -K 12 --coarse 6"
    told = json.loads(commands(f"extract v.npy -o s.parquet {shape} --keep 2 --json").stdout)
    assert told["keep"] == 2
    # 12 tuples begin with the two tokens of 40 copies.
    assert told["widened"] >= 28
    origin = pq.read_schema(tmp_path / "s.parquet").metadata[b"dqindex"]
    assert json.loads(origin)["keep"] == 2
    assert json.loads(origin)["widened"] == told["widened"]
    added = json.loads(commands("append s.parquet new.npy -o t.parquet --json").stdout)
    assert (added["keep"], added["added"]["keep"], added["added"]["widened"]) == (2, 2, 20)
    assert added["widened"] == told["widened"] + 20
    refitted = json.loads(commands("refit t.parquet all.npy -o u.parquet --json").stdout)["map"]
    assert refitted["keep"] == 2
    assert refitted["items"] == 420
    said = commands(f"extract v.npy -o s.parquet {shape} --keep 2").stderr
    assert f"{told['widened']} items found all IDs behind their first 2 tokens taken" in said
    said = commands("append s.parquet new.npy -o t.parquet").stderr
    assert "20 items found all IDs behind their first 2 tokens taken" in said
    plain = commands(f"extract v.npy -o s.parquet {shape} --keep 0")
    assert "taken" not in plain.stderr
