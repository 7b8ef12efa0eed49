"""What the suites share: the switch to all cases, the counts, and children to try cases in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from reliability.children import Children
from reliability.counts import Tally


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
