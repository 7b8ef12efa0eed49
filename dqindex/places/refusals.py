"""What a store refuses, said in our words, without credentials."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dqindex.errors import DQIndexError, StorageError

# What the libraries of stores raise where they find no credentials, or ones that are refused.
NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "ClientAuthenticationError",
    "LocalTokenNotFoundError",
)
# Variables whose values are secrets.
SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|SAS|CONNECTION_STRING|FSSPEC_", re.I)


@contextmanager
def told(name: object, action: str) -> Iterator[None]:
    """What a store refuses inside, as a `StorageError` that names it.

    That nothing is there stays `FileNotFoundError`, and that something is `FileExistsError`: their
    callers know what it means.

    Raises
    ------
    StorageError, FileNotFoundError, FileExistsError
    """
    try:
        yield
    except (DQIndexError, FileExistsError):
        raise
    # Each store's library has errors of its own, and none is installed for certain.
    except Exception as error:
        error = _behind(error)
        status = _status(error)
        if status == 412:
            raise FileExistsError(errno.EEXIST, "another is there", str(name)) from None
        if isinstance(error, FileNotFoundError) or status == 404:
            raise FileNotFoundError(errno.ENOENT, "no such object", str(name)) from None
        if type(error).__name__ in NO_CREDENTIALS:
            why, remedy = "no credentials", "; give them in the environment"
        elif isinstance(error, PermissionError) or status in (401, 403):
            why, remedy = "not permitted", "; check the credentials, and what they allow"
        elif getattr(error, "host", None) is not None:
            why, remedy = f"no connection to {error.host}", "; see that its server is up"
        else:
            why, remedy = scrubbed(error), ""
        raise StorageError(f"{name}: cannot {action} ({why}){remedy}") from None


def _behind(error: Exception) -> Any:
    """On the web fsspec says "not found" of all that goes wrong: the error behind it."""
    cause = error.__cause__
    hides = isinstance(error, FileNotFoundError) and type(cause).__module__.startswith("aiohttp")
    return cause if hides else error


def _status(error: Any) -> int | None:
    """The HTTP status that an error brings, under whichever name."""
    response = getattr(error, "response", None)
    for holder, name in ((error, "status"), (response, "status_code"), (error, "code")):
        found = getattr(holder, name, None)
        if isinstance(found, int):
            return found
    return None


def scrubbed(error: object) -> str:
    """The words of an error on one line, without what may be a secret.

    Examples
    --------
    >>> scrubbed(ValueError("no answer from https://me:word@host/file?Signature=abc"))
    'no answer from https://host/file?…'
    """
    words = " ".join(str(error).split()) or type(error).__name__
    for name, value in os.environ.items():
        if len(value) > 4 and SECRET.search(name):
            words = words.replace(value, "…")
    words = re.sub(r"://[^/@\s]*@", "://", words)
    return re.sub(r"\?[^\s'\"]+", "?…", words)[:300]
