"""The layout of a model's file: tensors by name, settings as metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dqindex.codebooks import ProductCodebooks
from dqindex.errors import FileFormatError
from dqindex.store import Tensors, pack_tensors, versions
from dqindex.transform import DQTransform
from dqindex.vectors.convert import Float32

if TYPE_CHECKING:
    from dqindex.model import DQModel

FORMAT = "dqindex-model"
FORMAT_VERSION = 1

TRANSFORM_SETTINGS = ("n_subspaces", "n_components", "balance", "center")
CODEBOOK_SETTINGS = (
    "n_subspaces", "n_codewords", "seed", "n_iter", "n_redo", "init", "max_points_per_codeword",
)  # fmt: skip


def tensors_of(model: DQModel) -> Tensors:
    """All that was learned."""
    transform = model.transform_
    tensors: Tensors = {
        "mean": transform.mean_,
        "components": transform.components_,
        "variances": transform.variances_,
        "groups": np.repeat(
            np.arange(model.n_subspaces, dtype=np.int32),
            len(transform.components_) // model.n_subspaces,
        ),
        "unused_codewords": model.codebooks_.unused_codewords_,
    }
    for level, centroids in enumerate(model.coarse_):
        tensors[f"coarse.{level}"] = centroids
    for level, codebook in enumerate(model.codebooks_.codebooks_):
        tensors[f"codebook.{level}"] = codebook
    return tensors


def pack(model: DQModel) -> bytes:
    """The bytes of a model's file."""
    settings = model.get_params()
    settings["coarse"] = list(model.coarse)
    if not isinstance(model.n_codewords, int):
        settings["n_codewords"] = [int(size) for size in model.n_codewords]
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "settings": settings,
        "imbalance": model.transform_.imbalance_,
        "n_samples": model.transform_.n_samples_seen_,
        "versions": versions(),
    }
    return pack_tensors(tensors_of(model), metadata)


def unpack(
    tensors: Tensors, metadata: dict[str, Any], name: str
) -> tuple[dict[str, Any], DQTransform, ProductCodebooks, list[Float32]]:
    """Settings of the model, its transform, codebooks and coarse levels.

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
        settings = metadata["settings"]
        settings["coarse"] = tuple(settings["coarse"])
        levels = settings["n_subspaces"]
        transform = DQTransform(**{one: settings[one] for one in TRANSFORM_SETTINGS})
        transform.mean_ = tensors["mean"]
        transform.components_ = tensors["components"]
        transform.variances_ = tensors["variances"]
        transform.subspace_variances_ = tensors["variances"].reshape(levels, -1).sum(axis=1)
        transform.imbalance_ = metadata["imbalance"]
        transform.n_features_in_ = len(transform.mean_)
        transform.n_samples_seen_ = metadata["n_samples"]
        codebooks = ProductCodebooks(**{one: settings[one] for one in CODEBOOK_SETTINGS})
        codebooks.codebooks_ = [tensors[f"codebook.{level}"] for level in range(levels)]
        codebooks.unused_codewords_ = tensors["unused_codewords"]
        codebooks.n_features_in_ = len(transform.components_)
        coarse = [tensors[f"coarse.{level}"] for level in range(len(settings["coarse"]))]
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{name}: the model lacks or garbles {error}") from None
    return settings, transform, codebooks, coarse
