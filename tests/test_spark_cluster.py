"""Spark as processes of this machine: executors that are lost, two programs at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import without_coverage
from distributed import alike, assert_same_map

import dqindex
from dqindex import DQModel

pytest.importorskip("pyspark", reason="the extra 'spark' is not installed")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Spark needs Java, and there is none", allow_module_level=True)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def _long(request):
    if not request.config.getoption("--long"):
        pytest.skip("starts three to six JVMs, which takes minutes of 2 cores: pytest --long")


@pytest.fixture
def local(tmp_path):
    """What one machine makes of the items that lie in the folder."""
    table = alike(1500)
    model = DQModel(3, 16).fit(table)
    model.save(tmp_path / "model.safetensors")
    (tmp_path / "items").mkdir()
    pq.write_table(table, tmp_path / "items" / "part.parquet")
    return dqindex.semantic_ids(table, model=model)


def begun(words, folder):
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**without_coverage(), "PYSPARK_PYTHON": sys.executable},
    )


def rows_of(folder):
    return pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("*.parquet"))])


def failing(failure, folder):
    """Run the program; what happened in it, its exit code, and what it said."""
    program = Path(__file__).with_name("failing_cluster.py")
    process = begun([program, failure, folder], folder)
    _, said = process.communicate()
    happened = {one.name for one in folder.glob("failed-*")}
    return happened, process.returncode, said


def test_executors_that_are_lost(local, tmp_path):
    """In a task, and between two rounds: the map is whole and the same."""
    happened, code, said = failing("lost", tmp_path)
    assert happened == {"failed-task", "failed-between"}
    assert code == 0, said
    assert_same_map(rows_of(tmp_path / "sids"), local)


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address on Linux only")
def test_a_slow_task_is_done_again_elsewhere(local, tmp_path):
    """By Spark's speculation: the map is whole and the same. The slow task would take an hour."""
    happened, code, said = failing("slow", tmp_path)
    assert happened == {"failed-task"}
    assert code == 0, said
    assert_same_map(rows_of(tmp_path / "sids"), local)


def test_without_checkpoints_a_lost_executor_ends_the_job(local, tmp_path):
    """With a message that names the remedy, and no answer."""
    happened, code, said = failing("unkept", tmp_path)
    assert happened == {"failed-between"}
    assert code == 1
    assert "consider using `rdd.checkpoint()` instead" in said
    assert not (tmp_path / "sids" / "_SUCCESS").exists()


def test_two_commands_write_one_folder(local, tmp_path):
    """One writes the whole map; the other says that it could not."""
    words = ["-m", "dqindex", "spark", "extract", "items", "-o", "sids"]
    words += ["--model", "model.safetensors"]
    both = [begun(words, tmp_path) for _ in range(2)]
    told = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], told
    [lost] = [said for process, said in zip(both, told, strict=True) if process.returncode]
    [line] = [one for one in lost.splitlines() if one.startswith("error: ")]
    assert "another job wrote there meanwhile" in line or "is there already" in line
    assert "Traceback" not in lost
    assert_same_map(rows_of(tmp_path / "sids"), local)
    assert not list(tmp_path.glob("_*"))
