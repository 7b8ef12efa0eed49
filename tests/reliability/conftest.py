"""What the suites share: the switch to all cases, the counts, and children to try cases in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reliability import faults
from reliability.children import PARTIES, Children
from reliability.counts import Tally

# Seconds that a suite's test may take with all cases: what bounds the long run.
LONG_TEST = 900


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the suites' tests the time that all cases take."""
    if config.getoption("--long"):
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.timeout(LONG_TEST))


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """True if all cases are wanted (``pytest --long``), not only those of the gate."""
    return bool(request.config.getoption("--long"))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[[str], Tally]:
    """A counter of the suite's cases; see `Tally`."""
    return lambda suite: Tally(suite, request)


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    """A server that forks a child for each case; see `Children`."""
    with Children() as server:
        yield server


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """Children whose calls can be made to fail: see `faults.with_fault`."""
    with Children(faults.build_library(tmp_path_factory.mktemp("library"))) as server:
        yield server


@pytest.fixture(scope="module")
def parties() -> Iterator[list[Children]]:
    """Servers, one a party."""
    with ExitStack() as stack:
        yield [stack.enter_context(Children()) for _ in range(PARTIES)]
