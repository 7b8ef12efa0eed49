"""The library behind each kind of URI."""

from __future__ import annotations

import importlib
from typing import Any

from dqindex.errors import InputError, MissingDependencyError
from dqindex.places.refusals import told

# Scheme -> the package that fsspec asks for it.
SCHEMES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
}
# These can be read, file by file, and not listed.
WEB = ("http", "https")


def system_of(scheme: str) -> Any:
    """The fsspec file system of a scheme.

    Its settings come from the environment (``AWS_ENDPOINT_URL``, ``AWS_PROFILE``, …) or from
    fsspec's own (``FSSPEC_S3``, ``~/.config/fsspec``).

    Raises
    ------
    InputError
        If the scheme is none that is read.
    MissingDependencyError
        If its package is not installed.
    """
    if scheme not in SCHEMES:
        raise InputError(
            f"{scheme}://: is not a kind of URI that dqindex reads; use one of "
            f"{', '.join(f'{name}://' for name in SCHEMES)}, file:// or a path"
        )
    try:
        fsspec = importlib.import_module("fsspec")
        importlib.import_module(SCHEMES[scheme])
    except ImportError:
        raise MissingDependencyError(
            f"{scheme}://: needs the package {SCHEMES[scheme]}; pip install 'dqindex[cloud]'"
        ) from None
    with told(f"{scheme}://", "be opened"):
        # Another process may have written since something was listed.
        return fsspec.filesystem(scheme, use_listings_cache=False)
