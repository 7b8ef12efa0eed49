"""The layout of a model's file: tensors by name, settings as metadata."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqindex._parameters import Rule, size, text
from dqindex._types import Float64
from dqindex.errors import FileFormatError
from dqindex.quantizer.codebooks import ProductCodebooks
from dqindex.quantizer.parts import Parts
from dqindex.quantizer.transform import DQTransform
from dqindex.storage.files import versions
from dqindex.storage.records import Format, Named, Record, any_number, anything
from dqindex.storage.tensors import Tensors, pack_tensors

# Version 1 had no checksum of what is not a tensor.
FORMAT_VERSION = 2
FORMAT = Format(
    name="dqindex-model",
    version=FORMAT_VERSION,
    what="a dqindex model, as 'dqindex fit' makes one",
    short="model",
    remedy="make the model again",
    schema={
        "settings": Named(anything()),
        "imbalance": any_number(),
        "n_samples": size(0),
        "versions": Named(text()),
        "sha256": text(),
    },
)

# What every file has, whatever version wrote it.
OLDEST_SETTINGS = (
    "n_subspaces n_codewords coarse n_components balance center seed n_iter n_redo init "
    "max_points_per_codeword"
).split()

BLOCK_SETTINGS = ("block_widths", "block_scale")


def pack(settings: dict[str, Any], parts: Parts) -> bytes:
    """The bytes of a model's file."""
    # The fitted parts know best what they were fitted with.
    settings = {
        **settings,
        **parts.transform.get_params(),
        **parts.codebooks.get_params(),
        "coarse": [len(level) for level in parts.coarse],
    }
    # Files without blocks, or bounded shares, are as they were before there were any.
    unused = () if parts.scale is not None else BLOCK_SETTINGS
    if settings["max_share"] is None:
        unused = (*unused, "max_share")
    settings = {name: settings[name] for name in settings if name not in unused}
    record = {
        "settings": {name: _plain(value) for name, value in settings.items()},
        "imbalance": float(parts.transform.imbalance_),
        "n_samples": int(parts.transform.n_samples_seen_),
        "versions": versions(),
    }
    return pack_tensors(parts.tensors(), record, FORMAT)


def _plain(value: Any) -> Any:
    """A setting as JSON has it: Python's numbers and lists for numpy's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def unpack(
    tensors: Tensors, record: Record, rules: dict[str, Rule], name: str
) -> tuple[dict[str, Any], Parts]:
    """Settings and parts of the model in a file called `name` in messages.

    Parameters
    ----------
    tensors, record
        As `dqindex.storage.tensors.unpack_tensors` gives them.
    rules : dict
        What each setting of a model may be.

    Raises
    ------
    FileFormatError
        If a setting is none that this version knows, or the tensors are not those of the settings.
    """
    settings = _settings(record["settings"], rules, name)
    _check_tensors(tensors, settings, name)
    levels = settings["n_subspaces"]
    transform = DQTransform(**_own(DQTransform, settings))
    transform.mean_ = tensors["mean"]
    transform.components_ = tensors["components"]
    transform.variances_ = tensors["variances"]
    transform.subspace_variances_ = tensors["variances"].reshape(levels, -1).sum(axis=1)
    transform.imbalance_ = record["imbalance"]
    transform.n_features_in_ = len(transform.mean_)
    transform.n_samples_seen_ = record["n_samples"]
    codebooks = ProductCodebooks(**_own(ProductCodebooks, settings))
    codebooks.codebooks_ = [tensors[f"codebook.{level}"] for level in range(levels)]
    codebooks.unused_codewords_ = tensors["unused_codewords"]
    codebooks.n_features_in_ = len(transform.components_)
    coarse = [tensors[f"coarse.{level}"] for level in range(len(settings["coarse"]))]
    return settings, Parts(transform, codebooks, coarse, _scale(tensors, name))


def _settings(stored: dict[str, Any], rules: dict[str, Rule], name: str) -> dict[str, Any]:
    """The settings that a file has; those that came later than it have their defaults."""
    for setting, value in stored.items():
        if setting not in rules:
            raise FileFormatError(f"{name}: has an unknown setting {setting!r}; upgrade dqindex")
        if not rules[setting].holds(value):
            raise FileFormatError(
                f"{name}: its setting {setting} is {value!r}; it must be {rules[setting].text}; "
                f"{FORMAT.remedy}"
            )
    missing = [setting for setting in OLDEST_SETTINGS if setting not in stored]
    if missing:
        raise FileFormatError(f"{name}: its setting {missing[0]} is missing; {FORMAT.remedy}")
    return {
        **stored,
        "coarse": tuple(stored["coarse"]),
        "block_widths": tuple(stored.get("block_widths", ())),
    }


def _scale(tensors: Tensors, name: str) -> Float64 | None:
    found = tensors.get("scale")
    if found is not None and not (np.isfinite(found) & (found > 0)).all():
        raise FileFormatError(f"{name}: scale holds a value that is not a factor; {FORMAT.remedy}")
    return found


def _check_tensors(tensors: Tensors, settings: dict[str, Any], name: str) -> None:
    """Refuse tensors whose names, types or shapes are not those that the settings ask for."""
    coarse, levels, words = settings["coarse"], settings["n_subspaces"], settings["n_codewords"]
    sizes = [words] * levels if isinstance(words, int) and levels < len(tensors) else words
    scaled = len(settings["block_widths"]) > 0
    d = len(np.atleast_1d(tensors.get("mean", 0)))
    d_out = len(np.atleast_1d(tensors.get("components", 0)))
    if (
        isinstance(sizes, int)
        or len(sizes) != levels
        or len(tensors) != 5 + levels + len(coarse) + scaled
        or d_out % levels
    ):
        raise FileFormatError(
            f"{name}: {len(tensors)} tensors for {len(coarse)} coarse levels and {levels} "
            f"subspaces; its settings are not those of its tensors; {FORMAT.remedy}"
        )
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        "mean": ("<f8", (d,)),
        "components": ("<f8", (d_out, d)),
        "variances": ("<f8", (d_out,)),
        "groups": ("<i4", (d_out,)),
        "unused_codewords": ("<i8", (levels,)),
        **({"scale": ("<f8", (d,))} if scaled else {}),
        **{f"coarse.{place}": ("<f4", (size, d)) for place, size in enumerate(coarse)},
        **{
            f"codebook.{place}": ("<f4", (size, d_out // levels))
            for place, size in enumerate(sizes)
        },
    }
    for tensor, form in wanted.items():
        found = tensors.get(tensor)
        if found is None or (found.dtype.str, found.shape) != form:
            there = "missing" if found is None else f"{found.dtype.str} {found.shape}"
            raise FileFormatError(
                f"{name}: tensor {tensor} is {there}, its settings ask for {form[0]} {form[1]}; "
                f"{FORMAT.remedy}"
            )


def _own(
    part: type[DQTransform] | type[ProductCodebooks], settings: dict[str, Any]
) -> dict[str, Any]:
    """The model's settings that are the part's own."""
    return {name: settings[name] for name in part.parameter_names() if name in settings}
