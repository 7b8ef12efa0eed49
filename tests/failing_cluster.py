"""A Spark cluster of processes of this machine, in which something goes wrong.

    python tests/failing_cluster.py FAILURE FOLDER

Makes a map of FOLDER/items under FOLDER/model.safetensors, and writes FOLDER/sids. FAILURE says
what happens on the way:

- ``lost``: an executor's JVM is killed by its own first task, and another one between two rounds,
- ``unkept``: one is killed between two rounds, and the session has no folder for checkpoints.

Speculation is not tried: Spark starts a task a second time on another host only, and this is one.

FOLDER/failed-... is there for each that happened.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession

from dqindex import DQModel
from dqindex import spark as engine

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "1g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "4",
    "spark.log.level": "OFF",
}


def executor() -> int:
    """The process of the executor that this worker of Python belongs to."""
    pid = os.getpid()
    while "CoarseGrainedExecutorBackend" not in Path(f"/proc/{pid}/cmdline").read_text():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


def lost(marker):
    """Rows as they are; the first task that finds no `marker` kills its executor."""

    def run(batches):
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            yield from batches
        else:
            os.kill(executor(), signal.SIGKILL)

    return run


def own_home(folder: Path) -> None:
    """Let the executors work in `folder`; else they do where Spark is installed."""
    home = folder / "home"
    home.mkdir()
    for name in ("bin", "jars"):
        (home / name).symlink_to(Path(pyspark.__file__).parent / name)
    os.environ["SPARK_HOME"] = str(home)


def main() -> None:
    failure, folder = sys.argv[1], Path(sys.argv[2])
    own_home(folder)
    builder = SparkSession.builder.master("local-cluster[2,1,1024]")
    for name, value in {**SETTINGS, "spark.local.dir": str(folder / "spark")}.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    if failure != "unkept":
        session.sparkContext.setCheckpointDir(str(folder / "checkpoints"))
    frame = session.read.parquet(str(folder / "items")).repartition(6)
    if failure == "lost":
        frame = frame.mapInArrow(lost(folder / "failed-task"), frame.schema)

    def told(what, done, total):
        between = folder / "failed-between"
        if what == "round" and not between.exists():
            workers = session.sparkContext.parallelize(range(4), 4)
            os.kill(workers.map(lambda _: executor()).collect()[0], signal.SIGKILL)
            between.touch()

    model = DQModel.load(folder / "model.safetensors")
    made = engine.semantic_ids(frame, model=model, progress=told)
    made.write.parquet(str(folder / "sids"))
    session.stop()


if __name__ == "__main__":
    main()
