"""Objects that are put whole, and never over what another process has put meanwhile."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import IO, Any

from dqindex.errors import BusyError, StorageError
from dqindex.places.place import RemotePath
from dqindex.places.refusals import told
from dqindex.places.systems import WEB, system_of

# What one request puts; a store takes at most 10,000 of them for an object.
PART = 64 * 2**20
MOST_PARTS = 10_000
# What S3 says where a condition does not hold, and where it knows none.
REFUSED = ("PreconditionFailed", "ConditionalRequestConflict")
# An object of this size is compared with what was put, where it is not known whether it was.
COMPARED = 16 * 2**20

# The version of each object that is held, None where there was none, in this thread.
_held: ContextVar[dict[RemotePath, str | None] | None] = ContextVar("held", default=None)


@contextmanager
def held(path: RemotePath) -> Iterator[None]:
    """Let `put` inside replace what is at `path` now, and nothing newer."""
    state = path.state()
    version = None if state is None else state.version
    token = _held.set({**(_held.get() or {}), path: version})
    try:
        yield
    finally:
        _held.reset(token)


def put(file: IO[bytes], size: int, path: RemotePath) -> None:
    """Make the content of `file` the object at `path`, whole or not at all.

    Raises
    ------
    BusyError
        If `path` is `held`, and another process has put or removed it since. Where the store
        offers no conditional write, this is looked at just before.
    StorageError
        If the store refuses.
    """
    check_scheme(path)
    known = _held.get() or {}
    if path not in known:
        _send(file, size, path, "overwrite")
        return
    state = path.state()
    if (None if state is None else state.version) != known[path]:
        raise _busy(path)
    version = known[path]
    try:
        if version is None:
            _send(file, size, path, "create")
        else:
            _send(file, size, path, "replace", version)
    except _Refused:
        # An answer that was lost on its way is asked for again, and then finds its own object.
        if not _is_there(file, size, path):
            raise _busy(path) from None
    state = path.state()
    known[path] = None if state is None else state.version


class _Refused(Exception):
    """The store says that the object is not the one that was to be replaced."""


def _busy(path: RemotePath) -> BusyError:
    return BusyError(
        f"{path}: another process has written it meanwhile, so nothing was published; start again "
        "from what is there now"
    )


def _is_there(file: IO[bytes], size: int, path: RemotePath) -> bool:
    if size > COMPARED:
        return False
    file.seek(0)
    with told(path, "be read"):
        return bool(system_of(path.scheme).cat_file(path.uri) == file.read())


def _send(file: IO[bytes], size: int, path: RemotePath, mode: str, version: str = "") -> None:
    file.seek(0)
    system = system_of(path.scheme)
    try:
        with told(path, "be written"):
            if path.scheme == "s3":
                _send_s3(system, file, size, path, mode, version)
            else:
                # By the name of its handle, as fsspec asks for a path.
                mode = "create" if mode == "create" else "overwrite"
                system.put_file(f"/dev/fd/{file.fileno()}", path.uri, mode=mode)
    except FileExistsError:
        raise _Refused from None
    except FileNotFoundError:
        if mode == "replace":
            raise _Refused from None
        bucket = path.parts[0]
        raise StorageError(f"{path}: cannot be written (there is no bucket {bucket!r})") from None


def _send_s3(
    system: Any, file: IO[bytes], size: int, path: RemotePath, mode: str, version: str
) -> None:
    conditions = {"create": {"IfNoneMatch": "*"}, "replace": {"IfMatch": version}}
    condition = conditions.get(mode, {})
    try:
        _put_s3(system, file, size, path, condition)
    except OSError as error:
        code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code", "")
        if code in REFUSED:
            raise FileExistsError(errno.EEXIST, "is there", str(path)) from None
        if not condition or code != "NotImplemented":
            raise
        # A server that knows no conditions.
        file.seek(0)
        _put_s3(system, file, size, path, {})


def _put_s3(
    system: Any, file: IO[bytes], size: int, path: RemotePath, condition: dict[str, str]
) -> None:
    bucket, key, _ = system.split_path(path.uri)
    to = {"Bucket": bucket, "Key": key}
    part = max(PART, -(-size // MOST_PARTS))
    if size <= part:
        system.call_s3("put_object", Body=file.read(), **to, **condition)
        return
    upload = {**to, "UploadId": system.call_s3("create_multipart_upload", **to)["UploadId"]}
    try:
        parts = []
        for number, body in enumerate(iter(lambda: file.read(part), b""), 1):
            done = system.call_s3("upload_part", Body=body, PartNumber=number, **upload)
            parts.append({"PartNumber": number, "ETag": done["ETag"]})
        whole = {"Parts": parts}
        system.call_s3("complete_multipart_upload", MultipartUpload=whole, **upload, **condition)
    except BaseException:
        # Else what was sent is kept, unseen, and paid for.
        with suppress(Exception):
            system.call_s3("abort_multipart_upload", **upload)
        raise


def check_put(path: RemotePath) -> None:
    """Fail now, not after an hour's work, if nothing can be put at `path`.

    On S3, by an upload that is begun and not finished; elsewhere only that the store can be asked.

    Raises
    ------
    StorageError
    """
    check_scheme(path)
    try:
        with told(path, "be written"):
            system = system_of(path.scheme)
            if path.scheme == "s3":
                bucket, key, _ = system.split_path(path.uri)
                to = {"Bucket": bucket, "Key": key}
                begun = system.call_s3("create_multipart_upload", **to)
                # Who may put may not always do this; the bucket's own rule ends it then.
                with suppress(Exception):
                    system.call_s3("abort_multipart_upload", UploadId=begun["UploadId"], **to)
            else:
                path.state()
    except FileNotFoundError:
        bucket = path.parts[0]
        raise StorageError(f"{path}: cannot be written (there is no bucket {bucket!r})") from None


def check_scheme(path: RemotePath) -> None:
    """Refuse what can only be read, and a bucket without a name in it.

    Raises
    ------
    StorageError
    """
    if path.scheme in WEB:
        raise StorageError(
            f"{path}: {path.scheme}:// can only be read; write to a path, or to s3://, gs:// or abfs://"
        )
    if not path.key or (path.scheme != "memory" and len(path.parts) < 2):
        raise StorageError(f"{path}: names a bucket and nothing in it; add a name")
