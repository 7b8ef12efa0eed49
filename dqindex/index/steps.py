"""`Steps`: what training is doing, told as it goes on, and how long each part of it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from dqindex._types import Progress


class Steps:
    """The parts of a training, by name.

    Attributes
    ----------
    seconds : dict
        What each part took, in the order in which they began.
    """

    def __init__(self, report: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._report = report

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[None]:
        """One part, of `total` vectors or subspaces; its time adds up under `name`."""
        self.tell(name, 0, total)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        self.tell(name, total, total)

    def tell(self, name: str, done: int, total: int) -> None:
        """Report how far the part `name` is."""
        self._report(f"train {name}", done, total)
