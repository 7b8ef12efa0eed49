"""``dqindex info``."""

from __future__ import annotations

import json
from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.terminal import progress, table
from dqindex.index.folder import read_version, verified
from dqindex.places.missing import not_there
from dqindex.places.place import Place, place
from dqindex.quantizer.model import DQModel
from dqindex.quantizer.model_file import FORMAT
from dqindex.sids.map_file import metadata_of
from dqindex.sids.semantic_ids import SemanticIds
from dqindex.storage.tensors import load_tensors


@click.command("info")
@click.argument("path", type=options.PATH)
@options.compose(options.quiet, options.as_json)
def command(path: str, quiet: bool, as_json: bool) -> None:
    """Describe the model, index or SID map at PATH: sizes, variances, settings, versions."""
    there = place(path)
    if not there.exists():
        raise not_there(there, "give a model, an index or a map", "no such file or folder")
    with progress(quiet):
        if there.is_dir():
            found = _index(path)
        else:
            found = _map(path) if there.suffix == ".parquet" else _model(path)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print(str(there), found)


def _index(path: str) -> dict[str, Any]:
    """Everything in the manifest, after the files it names were verified."""

    def load(manifest: dict[str, Any], folder: Place) -> dict[str, Any]:
        for role in manifest["files"]:
            with verified(folder, manifest, role):
                pass
        return manifest

    return read_version(path, load)


def _model(path: str) -> dict[str, Any]:
    model = DQModel.load(path)
    record = load_tensors(path, FORMAT)[1]
    return {
        **record,
        "fingerprint": model.fingerprint,
        "d": model.n_features_in_,
        "code_sizes": model.code_sizes(),
        "unused_codewords": model.codebooks_.unused_codewords_.tolist(),
        "transform": model.transform_.summary(),
    }


def _map(path: str) -> dict[str, Any]:
    sids = SemanticIds.load(path)
    return {
        **metadata_of(sids),
        "n": len(sids),
        "unique_share": sids.unique_share(),
        "distortion": float(sids.distortion.mean()),
        "settings": {"unique": sids.unique, "cap": sids.cap},
    }


def _print(path: str, found: dict[str, Any]) -> None:
    names = (
        "spec metric n d bytes_per_vector search_parameters code_sizes "
        "unused_codewords unique_share fingerprint training format format_version"
    ).split()
    rows = [[name, found[name]] for name in names if found.get(name) is not None]
    rows += _life(found) if "spec" in found else _distortion(found)
    rows += [[name, value] for name, value in found["settings"].items()]
    rows += [[f"version of {name}", value] for name, value in found["versions"].items()]
    rows += [
        [f"{role} file", f"{entry['name']} ({entry['bytes']:,} bytes)"]
        for role, entry in found.get("files", {}).items()
    ]
    table(path, ["what", "value"], rows)
    _print_transform(found.get("transform"))


def _distortion(found: dict[str, Any]) -> list[list[Any]]:
    return [["distortion", found["distortion"]]] if "distortion" in found else []


def _life(manifest: dict[str, Any]) -> list[list[Any]]:
    """What became of an index since it was trained: what was added, and how well its codes fit."""
    counted, drift = manifest.get("counted"), manifest.get("distortion") or {}
    rows: list[list[Any]] = []
    if counted is not None:
        rows.append(["next id", counted["next"]])
    if manifest.get("embeds_ids"):
        rows.append(["ids in the lists", "yes: stock FAISS returns them"])
    if "trained" not in drift:
        return [*rows, ["drift", "not known: too few vectors a codeword or list to train on"]]
    rows.append(["distortion of the vectors trained on", f"{drift['trained']:.6g}"])
    if "added" in drift:
        rows.append(["vectors added since", f"{int(drift['added_rows']):,}"])
        rows.append(["distortion of those", f"{drift['added']:.6g}"])
        if drift["trained"]:
            rows.append(["drift, theirs by the first", f"{drift['added'] / drift['trained']:.3f}"])
    return rows


def _print_transform(transform: dict[str, Any] | None) -> None:
    if transform is None:
        return
    variances = transform["subspace_variances"]
    total = sum(variances) or 1.0
    table(
        f"{transform['n_subspaces']} subspaces of {transform['d_out']} axes, imbalance "
        f"{transform['imbalance']:.2%}",
        ["subspace", "variance", "share"],
        [[place, f"{one:.6g}", f"{one / total:.2%}"] for place, one in enumerate(variances)],
    )
