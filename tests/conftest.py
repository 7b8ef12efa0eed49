"""Data that tests make for themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Test processes share the cores: idle OpenMP threads shall sleep, not spin. Before FAISS loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
from forks import Forks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from reliability.counts import add_options, summarise


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--long`` and ``--counts`` of the suites in ``reliability/``."""
    add_options(parser)


# Files that take longest, so that no worker is left with one of them at the end.
LONGEST = (
    "test_mutations.py",
    "test_spark.py",
    "test_concurrency.py",
    "test_input_mutations.py",
    "test_faults.py",
    "test_values.py",
    "test_ray.py",
    "test_bench.py",
    "test_cli.py",
    "test_notebooks.py",
    "test_printed.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; each file goes to a worker as a whole."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_terminal_summary(
    terminalreporter: object, exitstatus: int, config: pytest.Config
) -> None:
    """Print what the suites in ``reliability/`` counted."""
    summarise(terminalreporter, config)


def project() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())


def clustered(n: int, d: int, seed: int = 0, clusters: int = 50) -> np.ndarray:
    """Clusters with a decaying spectrum, as real embeddings have: (n, d) float32."""
    rng = np.random.default_rng(seed)
    scale = np.exp(-np.arange(d) / d * 3)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    centers = rng.normal(size=(clusters, d)) * scale * 2
    points = centers[rng.integers(clusters, size=n)] + rng.normal(size=(n, d)) * scale
    made: np.ndarray = (points @ rotation + rng.normal(size=d)).astype(np.float32)
    return made


@pytest.fixture(scope="session")
def vectors() -> np.ndarray:
    """4,000 vectors of width 24; not to be changed."""
    made = clustered(4000, 24)
    made.setflags(write=False)
    return made


def without_coverage() -> dict[str, str]:
    """The environment for a process that may not write: coverage would write there as well."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


FORKS = Forks()


@pytest.fixture(scope="session", autouse=True)
def forks() -> Iterator[None]:
    """The process that commands fork from ends with the tests."""
    yield
    FORKS.close()


def command_line(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line as a user has it: a process of its own, in `folder`.

    It is a fork of one that has the imports done, but for commands with options of a process:
    ``python`` are Python's flags, others are those of `subprocess.run`.
    """

    def call(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
        words = [*map(str, args)]
        if not options:
            code, out, err = FORKS.run(words, folder, {**os.environ, "OMP_NUM_THREADS": "1"})
            return subprocess.CompletedProcess(words, code, out, err)
        flags = options.pop("python", ())
        environment = without_coverage() if "preexec_fn" in options else os.environ
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [sys.executable, *flags, "-m", "dqindex", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**environment, "OMP_NUM_THREADS": "1"},
            check=False,
            **options,
        )
        return done

    return call


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`command_line` in an empty folder."""
    return command_line(tmp_path)


SECRET = "a-secret-that-nobody-may-read"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server in this process, with a bucket; the environment tells of it."""
    pytest.importorskip("s3fs", reason="the extra cloud is not installed")
    server = pytest.importorskip("moto.server", reason="moto, an S3 server, is not installed")
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    address = f"http://{host}:{port}"
    settings = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        # The machine that tests run on may be one of Amazon's.
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        import fsspec

        fsspec.filesystem("s3").mkdir("bucket")
        yield address
    running.stop()


@pytest.fixture
def s3(s3_server: str) -> str:
    """The URI of a new folder on the S3 server."""
    return f"s3://bucket/{uuid.uuid4().hex}"


def put_all(folder: Path, uri: str) -> None:
    """Copy a folder with all in it to a store."""
    import fsspec

    system, root = fsspec.core.url_to_fs(uri)
    for file in folder.rglob("*"):
        if file.is_file():
            system.pipe_file(f"{root}/{file.relative_to(folder)}", file.read_bytes())


def content_at(uri: str) -> dict[str, bytes]:
    """Name and content of all objects below a URI."""
    import fsspec

    system, root = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    return {name[len(root) + 1 :]: system.cat_file(name) for name in system.find(root)}
