"""`Peer`: what an index of any library must offer to be measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import numpy as np

from dqindex._types import Float32, Int64
from dqindex.errors import SpecError

Options = dict[str, int | float | str]

EF = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


class Unsupported(SpecError):
    """The library cannot do what was asked: this metric, this width."""


class Peer(ABC):
    """An index under measurement.

    Class attributes
    ----------------
    package : str
        Distribution whose version is recorded; the extra ``bench`` brings it.
    defaults : dict
        Options of ``NAME:option=value,…`` and their values.
    metrics : tuple
        Those that the library has.
    extra_parameters : tuple
        Search parameters that are swept only when they are asked for.
    rest : str
        What the bytes of the file are that `parts` does not name.
    loads : bool
        Whether `load` reads what `save` wrote.
    """

    package: ClassVar[str]
    defaults: ClassVar[Options] = {}
    metrics: ClassVar[tuple[str, ...]] = ("l2", "ip", "cosine")
    extra_parameters: ClassVar[tuple[str, ...]] = ()
    rest: ClassVar[str] = "overhead"
    loads: ClassVar[bool] = False

    def __init__(self, argument: str, metric: str, seed: int) -> None:
        if metric not in self.metrics:
            raise Unsupported(f"{self.package} has no metric {metric!r}")
        self.metric, self.seed = metric, seed
        self.options = self.parse(argument)
        self.seconds: dict[str, float] = {}
        self.threads = 1

    def parse(self, argument: str) -> Options:
        """``M=16,ef_construction=200`` as a dict over the defaults.

        Raises
        ------
        SpecError
            If an option is unknown or its value is not of the default's type.
        """
        options = dict(self.defaults)
        for word in filter(None, argument.split(",")):
            name, _, value = word.partition("=")
            if name not in options:
                raise SpecError(
                    f"{self.package} has no option {name!r} here; it has "
                    + ", ".join(f"{key}={default}" for key, default in self.defaults.items())
                )
            try:
                options[name] = type(options[name])(value)
            except ValueError:
                raise SpecError(
                    f"{self.package}: {name}={value} does not have the type of "
                    f"{name}={options[name]}"
                ) from None
        return options

    # What a library provides.

    @abstractmethod
    def build(self, x: Float32, threads: int) -> None:
        """Train on `x` and add it; steps are timed with `step`."""

    @abstractmethod
    def search(self, queries: Float32, k: int) -> Int64:
        """Positions of the neighbours, (q, k), -1 where there are fewer; on `self.threads`."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Serialise to files in `folder`."""

    def load(self, folder: Path, x: Float32) -> None:
        """The index of `x` that `save` wrote to `folder`, instead of `build`."""
        raise Unsupported(f"{self.package}: indexes are not kept on disk; each run builds its own")

    @abstractmethod
    def parts(self, n: int) -> dict[str, int]:
        """Bytes of ``codes``, ``ids`` and ``graph`` of `n` vectors, where known; see `rest`."""

    def grid(self) -> dict[str, list[float]]:
        """Search parameters and the values to sweep by default; after `build`."""
        return {}

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Set search parameters, those of `grid`; a scan of all codes has none."""
        if parameters:
            raise SpecError(f"{self.package} has no search parameters {sorted(parameters)}")

    def set_threads(self, threads: int) -> None:
        """Threads of `search`."""
        self.threads = threads

    def details(self, x: Float32) -> dict[str, Any]:
        """What the library tells of its codes: for the report."""
        return {}

    # What they share.

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step of the build."""
        began = perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - began

    def unit(self, x: Float32) -> Float32:
        """`x` with rows of length 1 where the metric is cosine, for libraries that lack it."""
        if self.metric != "cosine":
            return x
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        return np.asarray(x / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)


class GraphPeer(Peer):
    """A graph, searched by a beam whose width is called ``ef``."""

    rest = "graph"
    loads = True

    def grid(self) -> dict[str, list[float]]:
        """The width of the beam."""
        return {"ef": [float(ef) for ef in EF]}

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """The width of the beam."""
        self._ef = int(parameters["ef"])


def default_lists(n: int) -> int:
    """Inverted lists for `n` vectors: the power of two next to the square root."""
    return int(2 ** round(np.log2(max(n, 1)) / 2))


def probes(lists: int) -> list[float]:
    """Numbers of lists to probe: powers of two, up to half of them."""
    return [2.0**power for power in range(int(np.log2(max(lists, 2))))]


def pad(x: Float32, multiple: int) -> Float32:
    """Zeros on the right, so that a library's demand on the width is met; distances keep."""
    missing = -x.shape[1] % multiple
    return np.pad(x, ((0, 0), (0, missing))) if missing else x
