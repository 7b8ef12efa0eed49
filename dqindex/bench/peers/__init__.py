"""The libraries that are measured, one small file each, imported when they are asked for."""

from __future__ import annotations

from importlib import import_module, metadata
from importlib.util import find_spec
from typing import NamedTuple

from dqindex.bench.peers.base import Peer
from dqindex.errors import MissingDependencyError, SpecError


class _Entry(NamedTuple):
    home: str
    module: str


# Name on the command line: our adapter, and the module that must be installed.
PEERS = {
    "dqindex": _Entry("ours.DQPeer", "dqindex"),
    "faiss": _Entry("faiss.FaissPeer", "faiss"),
    "hnswlib": _Entry("hnswlib.HnswlibPeer", "hnswlib"),
    "usearch": _Entry("usearch.UsearchPeer", "usearch"),
    "scann": _Entry("scann.ScannPeer", "scann"),
    "nanopq": _Entry("nanopq.NanopqPeer", "nanopq"),
    "voyager": _Entry("voyager.VoyagerPeer", "voyager"),
    "turbovec": _Entry("turbovec.TurbovecPeer", "turbovec"),
    "rabitqlib": _Entry("rabitqlib.RabitqlibPeer", "rabitqlib"),
    "glass": _Entry("glass.GlassPeer", "glass"),
    "svs": _Entry("svs.SvsPeer", "svs"),
}


def split(method: str) -> tuple[str, str]:
    """``NAME:ARGUMENT`` in two; the argument may be missing.

    Raises
    ------
    SpecError
        If there is no such peer.
    """
    name, _, argument = method.partition(":")
    if name not in PEERS:
        raise SpecError(f"no peer {name!r}; there are {', '.join(PEERS)}")
    return name, argument


def peer_class(name: str) -> type[Peer]:
    """The adapter of the peer `name`.

    Raises
    ------
    MissingDependencyError
        If its library is not installed, or another package has its name.
    """
    home, module = PEERS[name]
    if find_spec(module) is None:
        raise MissingDependencyError(f"{module} is not installed; pip install 'dqindex[bench]'")
    file, _, cls = home.partition(".")
    found: type[Peer] = getattr(import_module(f"dqindex.bench.peers.{file}"), cls)
    try:
        metadata.version(found.package)
    except metadata.PackageNotFoundError:
        # As of svs: on PyPI that is the name of another package.
        raise MissingDependencyError(
            f"{module} is not that of {found.package}; pip install 'dqindex[bench]'"
        ) from None
    return found


def package_versions(name: str) -> dict[str, str]:
    """Version of the library behind the peer `name`."""
    package = peer_class(name).package
    return {package: metadata.version(package)}
