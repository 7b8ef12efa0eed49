"""The layout of a model's file: tensors by name, settings as metadata."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dqindex._types import Float32
from dqindex.errors import FileFormatError
from dqindex.quantizer.codebooks import ProductCodebooks
from dqindex.quantizer.transform import DQTransform
from dqindex.storage.files import versions
from dqindex.storage.tensors import Tensors, pack_tensors

FORMAT = "dqindex-model"
FORMAT_VERSION = 1


class ModelParts(NamedTuple):
    """What a model's file holds: settings of the model, and its fitted parts."""

    settings: dict[str, Any]
    transform: DQTransform
    codebooks: ProductCodebooks
    coarse: list[Float32]

    def tensors(self) -> Tensors:
        """All that was learned, by the names that the file has for it."""
        transform = self.transform
        tensors: Tensors = {
            "mean": transform.mean_,
            "components": transform.components_,
            "variances": transform.variances_,
            "groups": np.repeat(
                np.arange(transform.n_subspaces, dtype=np.int32),
                len(transform.components_) // transform.n_subspaces,
            ),
            "unused_codewords": self.codebooks.unused_codewords_,
        }
        for level, centroids in enumerate(self.coarse):
            tensors[f"coarse.{level}"] = centroids
        for level, codebook in enumerate(self.codebooks.codebooks_):
            tensors[f"codebook.{level}"] = codebook
        return tensors


def pack(parts: ModelParts) -> bytes:
    """The bytes of a model's file."""
    settings = dict(parts.settings)
    settings["coarse"] = list(settings["coarse"])
    if not isinstance(settings["n_codewords"], int):
        settings["n_codewords"] = [int(size) for size in settings["n_codewords"]]
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "settings": settings,
        "imbalance": parts.transform.imbalance_,
        "n_samples": parts.transform.n_samples_seen_,
        "versions": versions(),
    }
    return pack_tensors(parts.tensors(), metadata)


def unpack(tensors: Tensors, metadata: dict[str, Any], name: str) -> ModelParts:
    """The parts of the model in a file called `name` in messages.

    Raises
    ------
    FileFormatError
        If the file is another thing, of another format version, or lacks a part.
    """
    if metadata.get("format") != FORMAT:
        raise FileFormatError(f"{name}: not a dqindex model")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise FileFormatError(
            f"{name}: model format {metadata.get('format_version')}, this dqindex reads "
            f"{FORMAT_VERSION}; upgrade dqindex"
        )
    try:
        settings = dict(metadata["settings"])
        settings["coarse"] = tuple(settings["coarse"])
        levels = settings["n_subspaces"]
        transform = DQTransform(**_own(DQTransform, settings))
        transform.mean_ = tensors["mean"]
        transform.components_ = tensors["components"]
        transform.variances_ = tensors["variances"]
        transform.subspace_variances_ = tensors["variances"].reshape(levels, -1).sum(axis=1)
        transform.imbalance_ = metadata["imbalance"]
        transform.n_features_in_ = len(transform.mean_)
        transform.n_samples_seen_ = metadata["n_samples"]
        codebooks = ProductCodebooks(**_own(ProductCodebooks, settings))
        codebooks.codebooks_ = [tensors[f"codebook.{level}"] for level in range(levels)]
        codebooks.unused_codewords_ = tensors["unused_codewords"]
        codebooks.n_features_in_ = len(transform.components_)
        coarse = [tensors[f"coarse.{level}"] for level in range(len(settings["coarse"]))]
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{name}: the model lacks or garbles {error}") from None
    return ModelParts(settings, transform, codebooks, coarse)


def _own(
    part: type[DQTransform] | type[ProductCodebooks], settings: dict[str, Any]
) -> dict[str, Any]:
    """The model's settings that are the part's own."""
    return {name: settings[name] for name in part.parameter_names()}
