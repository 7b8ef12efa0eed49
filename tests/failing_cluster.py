"""A Spark cluster of processes of this machine, in which something goes wrong.

    python tests/failing_cluster.py FAILURE FOLDER

Makes a map of FOLDER/items under FOLDER/model.safetensors, and writes FOLDER/sids. FAILURE says
what happens on the way:

- ``lost``: an executor's JVM is killed by its own first task, and another one between two rounds,
- ``unkept``: one is killed between two rounds, and the session has no folder for checkpoints,
- ``slow``: a task does not end, and Spark does it again elsewhere (speculation). It does so on
  another host only: this cluster has two, by the addresses of their workers.

FOLDER/failed-... is there for each that happened.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
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
# A task is done again where it takes twice as long as half of the others.
SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.interval": "200ms",
    "spark.speculation.quantile": "0.5",
    "spark.speculation.multiplier": "2",
    "spark.executor.cores": "1",
    "spark.executor.memory": "1g",
}


def executor() -> int:
    """The process of the executor that this worker of Python belongs to."""
    pid = os.getpid()
    while "CoarseGrainedExecutorBackend" not in Path(f"/proc/{pid}/cmdline").read_text():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


def with_failure(frame, marker, fail):
    """The rows of `frame`; the first task that finds no `marker` does `fail`, and gives none."""

    def run(batches):
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            yield from batches
        else:
            fail()

    return frame.mapInArrow(run, frame.schema)


# What a task does in place of its work.
IN_A_TASK = {
    "lost": lambda: os.kill(executor(), signal.SIGKILL),
    "slow": lambda: time.sleep(3600),
}


@contextlib.contextmanager
def two_hosts(folder: Path) -> Iterator[str]:
    """A cluster of a master and two workers with addresses of their own; the master's."""
    home = Path(os.environ["SPARK_HOME"])
    address = f"spark://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    master = ["Master", "--host", "127.0.0.1", "--port", port, "--webui-port", "0"]
    size = ["--cores", "1", "--memory", "1g", "--webui-port", "0"]
    workers = [
        ["Worker", "--host", host, *size, "--work-dir", str(folder / host), address]
        for host in ("127.0.0.1", "127.0.0.2")
    ]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for name, *rest in (master, *workers):
            kind = f"org.apache.spark.deploy.{name.lower()}.{name}"
            nothing = subprocess.DEVNULL
            words = [home / "bin" / "spark-class", kind, *rest]
            started.append(subprocess.Popen(words, stdout=nothing, stderr=nothing))
        yield address
    finally:
        for one in reversed(started):
            one.terminate()
            one.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


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
    if failure == "slow":
        with two_hosts(folder) as address:
            make_map(failure, folder, address, SPECULATION)
    else:
        make_map(failure, folder, "local-cluster[2,1,1024]", {})


def make_map(failure: str, folder: Path, master: str, more: dict[str, str]) -> None:
    """Write the map, while something fails."""
    builder = SparkSession.builder.master(master)
    settings = {**SETTINGS, **more, "spark.local.dir": str(folder / "spark")}
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    if failure != "unkept":
        session.sparkContext.setCheckpointDir(str(folder / "checkpoints"))
    frame = session.read.parquet(str(folder / "items")).repartition(6)
    if failure in IN_A_TASK:
        frame = with_failure(frame, folder / "failed-task", IN_A_TASK[failure])

    def told(what, done, total):
        between = folder / "failed-between"
        if failure != "slow" and what == "round" and not between.exists():
            workers = session.sparkContext.parallelize(range(4), 4)
            os.kill(workers.map(lambda _: executor()).collect()[0], signal.SIGKILL)
            between.touch()

    model = DQModel.load(folder / "model.safetensors")
    made = engine.semantic_ids(frame, model=model, progress=told)
    made.write.parquet(str(folder / "sids"))
    session.stop()


if __name__ == "__main__":
    main()
