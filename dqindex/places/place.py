"""`place`: what a name stands for, a path of this machine or a `RemotePath` behind a URI."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, TypeAlias
from urllib.parse import unquote

from dqindex.errors import InputError
from dqindex.places.refusals import told
from dqindex.places.systems import SCHEMES, WEB, system_of

URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
# What stores call the version of an object, the surest first.
VERSIONS = ("ETag", "etag", "generation", "blob_id", "Content-MD5", "Last-Modified")
# What is left of a URI's scheme in a `pathlib.Path`.
_CUT = tuple(f"{scheme}:" for scheme in (*SCHEMES, "file"))
TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")


class State(NamedTuple):
    """What a store says of an object.

    Attributes
    ----------
    folder : bool
    size : int or None
        In bytes.
    version : str
        Changes when the object does.
    changed : datetime or None
    """

    folder: bool
    size: int | None
    version: str
    changed: datetime | None


class RemotePath:
    """An object of a store, or a folder of them: what is asked of a `pathlib.Path`, no more.

    Messages show it without its query, which may hold a signature.
    """

    def __init__(self, scheme: str, key: str, query: str = "") -> None:
        self.scheme = scheme
        self.key = key
        self._query = query

    # Names.

    @property
    def uri(self) -> str:
        """All of it, for the library that opens it."""
        return f"{self.scheme}://{self.key}{self._query}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}{'?…' if self._query else ''}"

    def __repr__(self) -> str:
        return f"<RemotePath {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self.uri == other.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.scheme, f"{self.key}/{name}")

    @property
    def parts(self) -> tuple[str, ...]:
        """The bucket, the folders and the name."""
        return tuple(self.key.split("/"))

    @property
    def name(self) -> str:
        """The last step."""
        return self.parts[-1]

    @property
    def stem(self) -> str:
        """The last step without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        """The folder that it lies in."""
        return RemotePath(self.scheme, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> RemotePath:
        """Another one in its folder."""
        return self.parent / name

    def as_posix(self) -> str:
        """The steps as one text."""
        return self.key

    def relative_to(self, root: RemotePath) -> PurePosixPath:
        """The steps below `root`."""
        return PurePosixPath(*self.parts[len(root.parts) :])

    def resolve(self) -> RemotePath:
        """Itself: there are no links."""
        return self

    def within(self, folder: RemotePath) -> bool:
        """Whether it lies below `folder`."""
        return self.scheme == folder.scheme and self.key.startswith(f"{folder.key}/")

    # What the store says.

    def _named(self, name: str) -> RemotePath:
        """What a listing calls `name`."""
        return RemotePath(self.scheme, name.partition("://")[2] or name.lstrip("/"))

    def state(self) -> State | None:
        """What is there now; None for nothing.

        Raises
        ------
        StorageError
            If the store can't be asked.
        """
        system = system_of(self.scheme)
        try:
            with told(self, "be read"):
                found = system.info(self.uri)
        except FileNotFoundError:
            return None
        version = next((str(found[name]) for name in VERSIONS if found.get(name)), "")
        changed = next((found[name] for name in TIMES if found.get(name)), None)
        return State(
            found.get("type") == "directory",
            found.get("size"),
            version or f"{found.get('size')} {changed}",
            changed if isinstance(changed, datetime) else None,
        )

    def exists(self) -> bool:
        """Whether there is an object, or a folder."""
        return self.state() is not None

    def is_file(self) -> bool:
        """Whether it is an object."""
        state = self.state()
        return state is not None and not state.folder

    def is_symlink(self) -> bool:
        """Never."""
        return False

    def is_dir(self) -> bool:
        """Whether it is a folder; what is on the web is none."""
        if self.scheme in WEB:
            return False
        state = self.state()
        return state is not None and state.folder

    def iterdir(self) -> Iterator[RemotePath]:
        """Objects and folders in it; none where there is no such folder."""
        system = system_of(self.scheme)
        try:
            with told(self, "be listed"):
                found = system.ls(self.uri, detail=False)
        except FileNotFoundError:
            return
        # Some stores have an object for the folder itself.
        yield from (one for one in map(self._named, found) if one.within(self))

    def files(self) -> list[RemotePath]:
        """All objects below it; none is the mark of a folder, of 0 bytes and called ``NAME/``."""
        with told(self, "be listed"):
            found = system_of(self.scheme).find(self.uri, detail=True)
        listed = [self._named(name) for name, about in found.items() if not _is_mark(name, about)]
        return [one for one in listed if one.within(self)]

    def matches(self) -> list[RemotePath]:
        """What fits it, taken for a pattern."""
        with told(self, "be listed"):
            found = system_of(self.scheme).glob(self.uri, detail=True)
        return [self._named(name) for name, about in found.items() if not _is_mark(name, about)]

    def read_bytes(self) -> bytes:
        """The object, in one piece.

        Raises
        ------
        StorageError, FileNotFoundError
        """
        with told(self, "be read"):
            content: bytes = system_of(self.scheme).cat_file(self.uri)
        return content

    def open(self, mode: str) -> IO[bytes]:
        """The object, read whole into memory."""
        return BytesIO(self.read_bytes())

    def unlink(self) -> None:
        """Remove the object.

        Raises
        ------
        StorageError, FileNotFoundError
        """
        with told(self, "be removed"):
            system_of(self.scheme).rm_file(self.uri)


def _is_mark(name: str, about: dict[str, Any]) -> bool:
    """Whether an object is only there to show a folder, as the consoles of stores make them."""
    return not about.get("size") and name.endswith("/") and about.get("type") != "directory"


Place: TypeAlias = Path | RemotePath


def is_uri(path: object) -> bool:
    """Whether it is text that stands for something elsewhere, ``file://`` included."""
    return isinstance(path, RemotePath) or (isinstance(path, str) and URI.match(path) is not None)


def place(path: str | Path | RemotePath) -> Place:
    """What `path` stands for.

    Raises
    ------
    InputError
        If it is a URI that holds a password, or a ``file://`` of another machine.

    Examples
    --------
    >>> place("s3://bucket/folder/codes.npy").name
    'codes.npy'
    >>> place("file:///tmp/a%20b.npy")
    PosixPath('/tmp/a b.npy')
    """
    found = URI.fullmatch(path) if isinstance(path, str) else None
    if found is None:
        if isinstance(path, Path) and path.parts and path.parts[0] in _CUT:
            raise InputError(
                f"{path}: a Path drops one of the slashes of a URI; give the URI as text"
            )
        return path if isinstance(path, RemotePath) else Path(path)
    scheme, rest = found[1].lower(), found[2]
    if re.match(r"[^/@]*:[^/@]*@", rest):
        raise InputError(
            f"{scheme}://: this URI holds a password, which would be shown and logged; give "
            "credentials in the environment"
        )
    if scheme == "file":
        # Not by `urlsplit`, which takes `?` and `#` for ends of the path and drops line ends.
        host, slash, path_there = rest.partition("/")
        if host not in ("", "localhost"):
            raise InputError(
                f"file://{rest}: is not on this machine; write file:///PATH, with three slashes"
            )
        return Path(unquote(slash + path_there))
    query = ""
    if scheme in WEB:
        rest, mark, query = rest.partition("?")
        query = mark + query
    return RemotePath(scheme, rest.rstrip("/") if scheme != "memory" else rest.strip("/"), query)


def shown(text: str) -> str:
    """A path, or an option with one, as it may be told: without what may be a secret.

    Examples
    --------
    >>> shown("--data=https://host/x.npy?Signature=abc"), shown("x?.npy")
    ('--data=https://host/x.npy?…', 'x?.npy')
    """
    return re.sub(r"(https?://[^\s?]*)\?\S*", r"\1?…", text, flags=re.IGNORECASE)


def is_glob(path: str | Path | RemotePath) -> bool:
    """Whether a path that is no file's is a pattern; nothing on the web is."""
    if not glob.has_magic(str(path)):
        return False
    found = place(path)
    return not (isinstance(found, RemotePath) and found.scheme in WEB) and not found.exists()


def matching(pattern: str | Path | RemotePath) -> list[Any]:
    """Files and folders that fit a pattern."""
    found = place(pattern)
    if isinstance(found, RemotePath):
        return found.matches()
    if "**" not in found.parts:
        return [Path(name) for name in glob.glob(str(found))]  # noqa: PTH207 (absolute too)
    # `glob` goes round where a link leads to a folder above it, for ever where there are two.
    plain = found.parts.index("**")
    steps = found.parts[plain:]
    roots = glob.glob(str(Path(*found.parts[:plain])))  # noqa: PTH207 (absolute too)
    return [
        path
        for root in map(Path, roots)
        if root.is_dir()
        for path in _walk(root)
        if _fits(path.relative_to(root).parts, steps)
        # Of folders that any fits, the files do as well.
        and not (steps[-1] == "**" and path.is_dir())
    ]


def _fits(names: tuple[str, ...], steps: tuple[str, ...]) -> bool:
    """Whether a path fits a pattern, `**` being any number of folders, that are not hidden."""
    if not steps:
        return not names
    if steps[0] == "**":
        deeper = bool(names) and not names[0].startswith(".") and _fits(names[1:], steps)
        return deeper or _fits(names, steps[1:])
    shown = bool(names) and (steps[0].startswith(".") or not names[0].startswith("."))
    return shown and fnmatch.fnmatchcase(names[0], steps[0]) and _fits(names[1:], steps[1:])


def files_below(folder: Any) -> list[Any]:
    """All files in a folder and in those in it, links to folders followed; each is given once."""
    if isinstance(folder, RemotePath):
        return folder.files()
    return [one for one in _walk(folder) if not one.is_dir()]


def _walk(folder: Path) -> list[Path]:
    """All files and folders in a folder, and in those in it."""
    found: list[Path] = []
    seen: set[str] = set()
    folders, links = [folder], deque[Path]()
    while folders or links:
        # Links come last: a folder is known by its own name where it has one here.
        one = folders.pop() if folders else links.popleft()
        real = os.path.realpath(one)
        if real in seen:
            continue
        seen.add(real)
        found.append(one)
        for inside in sorted(one.iterdir()):
            if not inside.is_dir():
                found.append(inside)
            elif inside.is_symlink():
                links.append(inside)
            else:
                folders.append(inside)
    return found
